use super::RECEIVER_LIVENESS_TIMEOUT_NS;

/// Who answered lately. A unicast publication has one receiver, and more only while one follows another.
#[derive(Debug, Default)]
pub(super) struct Receivers {
    places: [Option<Receiver>; Self::COUNT_MAX],
}

#[derive(Clone, Copy, Debug)]
struct Receiver {
    id: i64,
    heard_ns: u64,
}

impl Receivers {
    const COUNT_MAX: usize = 8;

    pub(super) fn is_empty(&self) -> bool {
        self.places.iter().all(Option::is_none)
    }

    /// Notes that a receiver answered; a ninth one takes the place of the most silent.
    pub(super) fn heard_from(&mut self, id: i64, now_ns: u64) {
        let known = self.places.iter().position(|place| place.is_some_and(|receiver| receiver.id == id));
        let place = match known {
            Some(index) => &mut self.places[index],
            // An empty place sorts before any receiver.
            None => self
                .places
                .iter_mut()
                .min_by_key(|place| place.map(|receiver| receiver.heard_ns))
                .expect("the array is not empty"),
        };
        *place = Some(Receiver { id, heard_ns: now_ns });
    }

    pub(super) fn remove(&mut self, id: i64) {
        self.retain(|receiver| receiver.id != id);
    }

    pub(super) fn forget_silent(&mut self, now_ns: u64) {
        self.retain(|receiver| now_ns.saturating_sub(receiver.heard_ns) < RECEIVER_LIVENESS_TIMEOUT_NS);
    }

    /// When [`Self::forget_silent`] would next forget one.
    pub(super) fn due_ns(&self) -> u64 {
        let silent_since = self.places.iter().flatten().map(|receiver| receiver.heard_ns).min();
        silent_since.map_or(u64::MAX, |heard_ns| heard_ns.saturating_add(RECEIVER_LIVENESS_TIMEOUT_NS))
    }

    fn retain(&mut self, keep: impl Fn(&Receiver) -> bool) {
        for place in &mut self.places {
            *place = place.filter(|receiver| keep(receiver));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receiver_is_forgotten_after_five_silent_seconds() {
        let mut receivers = Receivers::default();
        receivers.heard_from(1, 0);
        receivers.heard_from(2, 10);
        receivers.heard_from(1, 20);
        assert_eq!(receivers.due_ns(), RECEIVER_LIVENESS_TIMEOUT_NS + 10);
        receivers.forget_silent(RECEIVER_LIVENESS_TIMEOUT_NS + 10);
        assert!(!receivers.is_empty());
        receivers.remove(1);
        assert!(receivers.is_empty(), "receiver 2 was forgotten");
        assert_eq!(receivers.due_ns(), u64::MAX);
    }

    #[test]
    fn a_newcomer_takes_the_place_of_the_most_silent() {
        let mut receivers = Receivers::default();
        for id in 0..9 {
            receivers.heard_from(id, 100 + id.unsigned_abs());
        }
        assert_eq!(receivers.due_ns(), RECEIVER_LIVENESS_TIMEOUT_NS + 101);
        (1..9).for_each(|id| receivers.remove(id));
        assert!(receivers.is_empty(), "receiver 0 made room");
    }
}
