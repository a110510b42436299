/// A session is asked for its SETUP again after this long, in nanoseconds.
const RETRY_NS: u64 = 1_000_000_000;

/// Unknown sessions that were asked for a SETUP.
#[derive(Debug)]
pub(super) struct PendingSetups {
    pending: Vec<Pending>,
    count_max: usize,
}

#[derive(Clone, Copy, Debug)]
struct Pending {
    stream_id: i32,
    session_id: i32,
    expires_ns: u64,
}

/// Whether to ask a session for its SETUP.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Ask {
    Now,
    /// It was asked within the last second.
    Asked,
    /// Too many others were asked within the last second.
    TooMany,
}

impl PendingSetups {
    pub(super) fn new(count_max: usize) -> Self {
        Self { pending: Vec::with_capacity(count_max), count_max }
    }

    pub(super) fn ask(&mut self, stream_id: i32, session_id: i32, now_ns: u64) -> Ask {
        let known = |pending: &Pending| (pending.stream_id, pending.session_id) == (stream_id, session_id);
        let asked = Pending { stream_id, session_id, expires_ns: now_ns.saturating_add(RETRY_NS) };
        match self.pending.iter_mut().find(|pending| known(pending)) {
            Some(pending) if now_ns < pending.expires_ns => return Ask::Asked,
            Some(pending) => *pending = asked,
            None => {
                if self.pending.len() == self.count_max {
                    self.pending.retain(|pending| now_ns < pending.expires_ns);
                }
                if self.pending.len() == self.count_max {
                    return Ask::TooMany;
                }
                self.pending.push(asked);
            }
        }
        Ask::Now
    }

    pub(super) fn remove(&mut self, stream_id: i32, session_id: i32) {
        self.pending.retain(|pending| (pending.stream_id, pending.session_id) != (stream_id, session_id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_asked_once_a_second() {
        let mut setups = PendingSetups::new(2);
        assert_eq!(setups.ask(1, 1, 0), Ask::Now);
        assert_eq!(setups.ask(1, 1, RETRY_NS - 1), Ask::Asked);
        assert_eq!(setups.ask(1, 1, RETRY_NS), Ask::Now);
        setups.remove(1, 1);
        assert_eq!(setups.ask(1, 1, RETRY_NS), Ask::Now);
    }

    #[test]
    fn no_more_than_so_many_sessions_are_asked_in_a_second() {
        let mut setups = PendingSetups::new(2);
        assert_eq!(
            [setups.ask(1, 1, 0), setups.ask(1, 2, 10), setups.ask(1, 3, 20)],
            [Ask::Now, Ask::Now, Ask::TooMany]
        );
        assert_eq!(setups.ask(1, 3, RETRY_NS), Ask::Now, "the first has expired");
        assert_eq!(setups.ask(1, 1, RETRY_NS), Ask::TooMany);
    }
}
