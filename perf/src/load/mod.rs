//! Load by our own cluster client: at a fixed rate, or as fast as replies allow.
//!
//! At a rate the load is open-loop: a message is stamped with the time at which it should have left, so a
//! cluster that stalls shows in the round trips of all that waited. Benches drive a [`Load`]; `perf load` is
//! one for scripts.

mod ledger;
mod message;
mod verb;

use std::collections::VecDeque;
use std::time::Duration;

use crate::error::BenchError;
use ledger::{Ledger, is_transient};
use message::MessageMaker;
use standby_node::agent::idle::{IdleStrategy, Idler};
use standby_node::cluster_client::{ClientState, ClusterClient, config};
use standby_node::sys::clock::monotonic_ns;

pub(crate) use ledger::NewLeader;
pub(crate) use verb::{is_asked_for, main};

/// How a load is made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LoadOptions {
    /// Bytes of the shortest and the longest message.
    pub(crate) lengths: (usize, usize),
    /// Most messages that wait for their replies.
    pub(crate) window: usize,
    /// Whether what a leader took along is sent again.
    pub(crate) resends: bool,
    pub(crate) idle: IdleStrategy,
}

/// A session, what it sends, and what came of it.
#[derive(Debug)]
pub(crate) struct Load {
    client: ClusterClient,
    options: LoadOptions,
    maker: MessageMaker,
    pub(crate) ledger: Ledger,
    idler: Idler,
    /// Stamps of messages to be sent again, before any new one.
    to_resend: VecDeque<u64>,
    pub(crate) resent: u64,
    last_stamp: u64,
    /// What was due when the leader changed has not been replied to yet.
    is_catching_up: bool,
    new_leader: Option<NewLeader>,
}

impl Load {
    pub(crate) fn new(client: ClusterClient, options: LoadOptions) -> Self {
        let (length_min, length_max) = options.lengths;
        Self {
            client,
            options,
            maker: MessageMaker::new(length_min, length_max),
            ledger: Ledger::new(),
            idler: Idler::new(options.idle),
            to_resend: VecDeque::new(),
            resent: 0,
            last_stamp: 0,
            is_catching_up: false,
            new_leader: None,
        }
    }

    /// A load on a session of its own.
    ///
    /// # Errors
    /// When there is no session.
    pub(crate) fn connect(ingress_endpoints: &str, options: LoadOptions) -> Result<Self, BenchError> {
        let config = config(ingress_endpoints, EGRESS_CHANNEL).map_err(BenchError::run)?;
        Ok(Self::new(ClusterClient::connect(config).map_err(BenchError::run)?, options))
    }

    pub(crate) fn client(&self) -> &ClusterClient {
        &self.client
    }

    /// Sends `count` messages, `rate` a second or, for 0, as fast as replies allow; `on_cycle` is called with
    /// every cycle and ends it with `false`.
    ///
    /// # Errors
    /// When the session ends.
    pub(crate) fn send(
        &mut self,
        count: u64,
        rate: u64,
        mut on_cycle: impl FnMut(&mut Self, u64) -> bool,
    ) -> Result<(), BenchError> {
        let start_ns = monotonic_ns();
        let mut done = 0;
        while done < count {
            let now_ns = monotonic_ns();
            let mut work = self.poll(now_ns)?;
            if !on_cycle(self, now_ns) {
                return Ok(());
            }
            let batch_end = (done + BATCH_COUNT_MAX).min(count);
            while done < batch_end && self.has_room() {
                let due_ns = match rate {
                    0 => now_ns,
                    _ => start_ns + due_after_ns(done, rate),
                };
                if due_ns > now_ns || !self.offer_next(due_ns)? {
                    break;
                }
                done += 1;
                work += 1;
            }
            self.idler.idle(work);
        }
        Ok(())
    }

    /// Waits for the replies that are still due; false when they do not come in time.
    ///
    /// # Errors
    /// When the session ends.
    pub(crate) fn drain(&mut self, timeout: Duration) -> Result<bool, BenchError> {
        let deadline_ns = monotonic_ns() + timeout.as_nanos() as u64;
        while self.ledger.open_count() > 0 || !self.to_resend.is_empty() {
            let now_ns = monotonic_ns();
            if now_ns > deadline_ns {
                return Ok(false);
            }
            let work = self.poll(now_ns)?;
            self.idler.idle(work);
        }
        Ok(true)
    }

    /// Ends the session.
    ///
    /// # Errors
    /// When the socket fails.
    pub(crate) fn close(self) -> Result<(), BenchError> {
        self.client.close(CLOSE_TIMEOUT).map_err(BenchError::run)
    }

    fn has_room(&self) -> bool {
        self.ledger.open_count() < self.options.window && self.to_resend.is_empty()
    }

    fn poll(&mut self, now_ns: u64) -> Result<usize, BenchError> {
        self.ledger.set_now(now_ns);
        let mut work = self.client.poll(&mut self.ledger).map_err(BenchError::run)?;
        if let Some(news) = self.ledger.take_new_leader() {
            self.on_new_leader(news);
        }
        while let Some(&stamp) = self.to_resend.front() {
            if !self.offer(stamp, false)? {
                break;
            }
            self.to_resend.pop_front();
            self.resent += 1;
            work += 1;
        }
        if self.is_catching_up && self.ledger.open_count() < self.calm_count() && self.to_resend.is_empty() {
            self.is_catching_up = false;
            self.ledger.calm_from(now_ns);
        }
        Ok(work)
    }

    /// What is under way when nothing is wrong.
    fn calm_count(&self) -> usize {
        CALM_COUNT_MAX.min(self.options.window)
    }

    /// The news of a new leader, once.
    pub(crate) fn take_new_leader(&mut self) -> Option<NewLeader> {
        self.new_leader.take()
    }

    /// What has no reply is lost, or to be sent again.
    fn on_new_leader(&mut self, news: NewLeader) {
        self.new_leader = Some(news);
        let open = self.ledger.on_leader_lost();
        if self.options.resends {
            self.to_resend.extend(open);
        }
        self.is_catching_up = true;
    }

    fn offer_next(&mut self, due_ns: u64) -> Result<bool, BenchError> {
        // Stamps name messages, so no two may be equal.
        let stamp = due_ns.max(self.last_stamp + 1);
        let is_taken = self.offer(stamp, true)?;
        if is_taken {
            self.last_stamp = stamp;
        }
        Ok(is_taken)
    }

    fn offer(&mut self, stamp: u64, is_new: bool) -> Result<bool, BenchError> {
        if self.client.state() == ClientState::AwaitNewLeader {
            return Ok(false);
        }
        match self.client.offer(self.maker.make(stamp)) {
            Ok(_) => {
                self.ledger.on_sent(stamp, is_new);
                Ok(true)
            }
            Err(error) if is_transient(error) => Ok(false),
            Err(error) => Err(BenchError::run(error)),
        }
    }
}

/// When message `index` is due, from the first on.
fn due_after_ns(index: u64, rate: u64) -> u64 {
    (u128::from(index) * 1_000_000_000 / u128::from(rate)) as u64
}

/// With terms that stay in the processor's caches.
const EGRESS_CHANNEL: &str = "aeron:udp?endpoint=localhost:0|term-length=1m";
/// Replies are looked for at least this often, in messages.
const BATCH_COUNT_MAX: u64 = 64;
/// More messages without a reply are a backlog.
const CALM_COUNT_MAX: usize = 64;
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_due_evenly_and_without_drift() {
        assert_eq!([0, 1, 3].map(|index| due_after_ns(index, 3)), [0, 333_333_333, 1_000_000_000]);
        assert_eq!(due_after_ns(u64::MAX / 2, 1_000_000_000), u64::MAX / 2);
    }
}
