/// Names a value in a slab. A key of a removed value names nothing, even when its place is taken again.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct SlabKey {
    index: u32,
    generation: u32,
}

/// Values at small indexes, each place with a generation that tells its tenants apart.
#[derive(Debug)]
pub(crate) struct Slab<T> {
    places: Vec<Place<T>>,
}

#[derive(Debug)]
struct Place<T> {
    generation: u32,
    value: Option<T>,
}

impl<T> Slab<T> {
    pub(crate) fn new() -> Self {
        Self { places: Vec::new() }
    }

    pub(crate) fn insert(&mut self, value: T) -> SlabKey {
        let index = match self.places.iter().position(|place| place.value.is_none()) {
            Some(index) => index,
            None => {
                self.places.push(Place { generation: 0, value: None });
                self.places.len() - 1
            }
        };
        let place = &mut self.places[index];
        place.value = Some(value);
        let index = u32::try_from(index).expect("fewer than 2^32 values");
        SlabKey { index, generation: place.generation }
    }

    pub(crate) fn get(&self, key: SlabKey) -> Option<&T> {
        let place = self.places.get(key.index as usize)?;
        place.value.as_ref().filter(|_| place.generation == key.generation)
    }

    pub(crate) fn get_mut(&mut self, key: SlabKey) -> Option<&mut T> {
        let place = self.places.get_mut(key.index as usize)?;
        place.value.as_mut().filter(|_| place.generation == key.generation)
    }

    pub(crate) fn remove(&mut self, key: SlabKey) -> Option<T> {
        self.get(key)?;
        let place = &mut self.places[key.index as usize];
        place.generation = place.generation.wrapping_add(1);
        place.value.take()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (SlabKey, &T)> {
        self.places.iter().zip(0..).filter_map(|(place, index)| {
            let key = SlabKey { index, generation: place.generation };
            place.value.as_ref().map(|value| (key, value))
        })
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (SlabKey, &mut T)> {
        self.places.iter_mut().zip(0..).filter_map(|(place, index)| {
            let key = SlabKey { index, generation: place.generation };
            place.value.as_mut().map(|value| (key, value))
        })
    }

    /// Removes every value for which `keep` is false.
    pub(crate) fn retain(&mut self, mut keep: impl FnMut(&T) -> bool) {
        for place in &mut self.places {
            if place.value.as_ref().is_some_and(|value| !keep(value)) {
                place.value = None;
                place.generation = place.generation.wrapping_add(1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_key_never_names_the_next_tenant() {
        let mut slab = Slab::new();
        let first = slab.insert('a');
        let kept = slab.insert('b');
        assert_eq!(slab.remove(first), Some('a'));
        assert_eq!(slab.remove(first), None);
        let second = slab.insert('c');
        assert_eq!(second.index, first.index, "places are taken again");
        assert_eq!((slab.get(first), slab.get(second)), (None, Some(&'c')));
        slab.retain(|&value| value != 'c');
        assert_eq!(slab.get_mut(second), None);
        assert_eq!(slab.get_mut(kept), Some(&mut 'b'));
        assert_eq!(slab.iter().map(|(key, _)| key).collect::<Vec<_>>(), [kept]);
    }
}
