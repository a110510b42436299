//! What clients do wrong: in words for operators, while counters say how much of it there is; and that those
//! who are gone without leave keep nobody out.

use super::Leader;
use super::ingress::Offence;

/// What goes on is told of again after this long, in nanoseconds.
const INTERVAL_NS: u64 = 10_000_000_000;
/// A client that is there says so ten times in this long, in nanoseconds.
const SILENCE_NS: u64 = 1_000_000_000;

/// What has no one who could be named.
#[derive(Debug, Default)]
pub(super) struct Misuse {
    invalid_datagrams: Watched,
    streams_over_limit: Watched,
    connects_over_limit: Watched,
    /// SETUPs without room when room was made last.
    setups_without_room: u64,
}

/// A count that should not grow.
#[derive(Debug, Default)]
struct Watched {
    told_count: u64,
    due_ns: u64,
}

impl Watched {
    fn has_grown(&mut self, count: u64, now_ns: u64) -> bool {
        let is_news = count > self.told_count && now_ns >= self.due_ns;
        if is_news {
            self.told_count = count;
            self.due_ns = now_ns.saturating_add(INTERVAL_NS);
        }
        is_news
    }
}

impl Leader {
    /// Where clients find no more room, those that have no session and fell silent make it, long before they
    /// would time out.
    pub(super) fn make_room(&mut self, now_ns: u64) {
        let without_room = self.endpoint.counters().setups_over_limit;
        if without_room == self.misuse.setups_without_room {
            return;
        }
        self.misuse.setups_without_room = without_room;
        let Self { endpoint, sessions, connecting, .. } = self;
        endpoint.end_silent_images(SILENCE_NS, now_ns, |image| {
            sessions.iter().all(|session| session.ingress_image != Some(image))
                && connecting.iter().all(|session| session.image != image)
        });
    }

    /// Tells of what has come up since the last look.
    pub(super) fn tell_of_misuse(&mut self, now_ns: u64) {
        let Self { ingress, reports, misuse, endpoint, counters, .. } = self;
        while let Some((source, offence)) = ingress.poll_offence() {
            let report = || match offence {
                Offence::Invalid => {
                    format!("a client at {} sends what is no message of a client", source.ip())
                }
                Offence::Dropped => {
                    format!("a client at {} sends messages that are too long or broken off", source.ip())
                }
            };
            reports.push_of_client(report, now_ns);
        }
        let transport = endpoint.counters();
        if misuse.invalid_datagrams.has_grown(transport.invalid_total(), now_ns) {
            reports.push("datagrams that are no frames of Aeron's come to the ingress endpoint".to_owned());
        }
        let over_limit = transport.setups_over_limit + transport.elicitations_over_limit;
        if misuse.streams_over_limit.has_grown(over_limit, now_ns) {
            let text =
                "more streams come to the ingress endpoint than are taken: new clients wait until some end";
            reports.push(text.to_owned());
        }
        if misuse.connects_over_limit.has_grown(counters.connects_over_limit, now_ns) {
            let text = "more clients ask for a session than are answered: some are dropped without a word";
            reports.push(text.to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_on_is_told_again_after_a_while_and_only_if_it_goes_on() {
        let mut watched = Watched::default();
        assert!(!watched.has_grown(0, 5));
        assert!(watched.has_grown(3, 6));
        assert!(!watched.has_grown(9, 7), "it is known");
        assert!(watched.has_grown(9, 6 + INTERVAL_NS));
        assert!(!watched.has_grown(9, 6 + 3 * INTERVAL_NS), "it has ended");
    }
}
