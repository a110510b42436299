//! Keeps what is said again and again readable: at once the first time, then seldom and with a count.

/// A repeated text is let through this often.
const REPEAT_INTERVAL_NS: u64 = 10_000_000_000;
/// So many texts are told apart; beyond that the one that was heard of least recently is forgotten.
const TEXT_COUNT_MAX: usize = 64;

/// Lets each text through at once and then at most every ten seconds, for as long as it keeps coming.
#[derive(Debug, Default)]
pub struct Throttle {
    texts: Vec<Text>,
}

#[derive(Debug)]
struct Text {
    text: String,
    said_ns: u64,
    heard_ns: u64,
    withheld_count: u64,
}

impl Throttle {
    /// Whether to say `text` now: `Some` with how often it was kept back since it was said last.
    pub fn admit(&mut self, text: &str, now_ns: u64) -> Option<u64> {
        let Some(known) = self.texts.iter_mut().find(|known| known.text == text) else {
            self.remember(text, now_ns);
            return Some(0);
        };
        known.heard_ns = now_ns;
        if now_ns < known.said_ns.saturating_add(REPEAT_INTERVAL_NS) {
            known.withheld_count += 1;
            return None;
        }
        known.said_ns = now_ns;
        Some(std::mem::take(&mut known.withheld_count))
    }

    fn remember(&mut self, text: &str, now_ns: u64) {
        if self.texts.len() == TEXT_COUNT_MAX {
            let oldest = (0..self.texts.len()).min_by_key(|&index| self.texts[index].heard_ns);
            self.texts.swap_remove(oldest.expect("there are some"));
        }
        self.texts.push(Text { text: text.to_owned(), said_ns: now_ns, heard_ns: now_ns, withheld_count: 0 });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND_NS: u64 = 1_000_000_000;

    #[test]
    fn a_text_is_said_at_once_and_then_every_ten_seconds_with_a_count() {
        let mut throttle = Throttle::default();
        let said: Vec<(u64, u64)> = (0..25)
            .filter_map(|second| Some((second, throttle.admit("down", second * SECOND_NS)?)))
            .collect();
        assert_eq!(said, [(0, 0), (10, 9), (20, 9)]);
    }

    #[test]
    fn another_text_does_not_wait_for_the_first() {
        let mut throttle = Throttle::default();
        assert_eq!(throttle.admit("a: down", 0), Some(0));
        assert_eq!(throttle.admit("b: down", 1), Some(0));
        assert_eq!(throttle.admit("a: down", 2), None);
    }

    #[test]
    fn ever_new_texts_are_all_said_and_take_no_more_room() {
        let mut throttle = Throttle::default();
        for index in 0..1_000 {
            assert_eq!(throttle.admit(&index.to_string(), index), Some(0));
        }
        assert_eq!(throttle.texts.len(), TEXT_COUNT_MAX);
    }
}
