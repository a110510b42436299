//! A client that sends at a steady rate, on a thread of its own, and keeps account of what came of each
//! message.

#![allow(dead_code, reason = "each test program uses its own part of this")]

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use standby_node::agent::idle::{IdleStrategy, Idler};
use standby_node::cluster_client::{ClusterClient, EgressListener, OfferError};

use super::node::TIMEOUT;

/// Bytes of an `audit`'s reply: the message's first 16, its hash, its count.
const REPLY_LENGTH: usize = 32;
/// Bytes of a message that asks for a timer or a service message.
const MESSAGE_LENGTH_MIN: usize = 32;

/// What a client sends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rate {
    /// Messages a second.
    pub(crate) per_second: u64,
    /// The longest of them, bytes.
    pub(crate) length_max: usize,
    /// Whether one in twenty has the service set a timer or offer a message.
    pub(crate) commands: bool,
}

/// A reply.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reply {
    /// Of the message: 1 for the first that its client sent, and so on.
    pub(crate) number: u64,
    /// Of the service, when it had applied the message.
    pub(crate) hash: u64,
    /// Messages and timers that the service had applied.
    pub(crate) count: i64,
    /// The term that the client was in.
    pub(crate) leadership_term_id: i64,
}

/// What was sent, and what came of it.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// Numbers of messages without a reply, oldest first.
    open: VecDeque<u64>,
    /// How many messages were sent.
    pub(crate) sent: u64,
    /// In the order in which they came.
    pub(crate) replies: Vec<Reply>,
    /// Messages that were open when another leader called: it does not reply to them.
    pub(crate) orphaned: u64,
    /// What must not be, in words.
    pub(crate) faults: Vec<String>,
    leadership_term_id: i64,
    new_leaders: u32,
}

impl Ledger {
    /// Every message has its reply, in order and with rising counts.
    pub(crate) fn expect_all_replied(&self) {
        self.expect_no_faults();
        assert_eq!((self.replies.len() as u64, self.orphaned), (self.sent, 0), "replies to all messages");
    }

    /// Nothing came twice, or out of order.
    pub(crate) fn expect_no_faults(&self) {
        assert!(self.faults.is_empty(), "{} faults: {:?}", self.faults.len(), &self.faults[0]);
    }
}

impl EgressListener for Ledger {
    fn on_message(&mut self, _timestamp: i64, reply: &[u8]) {
        if reply.len() != REPLY_LENGTH {
            self.faults.push(format!("a reply of {} bytes", reply.len()));
            return;
        }
        let word = |at: usize| u64::from_le_bytes(reply[at..at + 8].try_into().expect("8 bytes"));
        let (number, hash, count) = (word(8), word(16), word(24) as i64);
        let expected = self.open.pop_front();
        if expected != Some(number) {
            self.faults.push(format!("a reply to {number} where one to {expected:?} is due"));
        }
        let leadership_term_id = self.leadership_term_id;
        let last = self.replies.last().filter(|last| last.leadership_term_id == leadership_term_id);
        if last.is_some_and(|last| count <= last.count) {
            self.faults.push(format!("count {count} behind {last:?}"));
        }
        self.replies.push(Reply { number, hash, count, leadership_term_id });
    }

    fn on_new_leader(&mut self, leadership_term_id: i64, _leader_member_id: i32, _ingress_endpoints: &str) {
        self.orphaned += self.open.len() as u64;
        self.open.clear();
        self.leadership_term_id = leadership_term_id;
        self.new_leaders += 1;
    }
}

/// A client under load.
#[derive(Debug)]
pub(crate) struct Load {
    shared: Arc<Shared>,
    thread: JoinHandle<Ledger>,
}

#[derive(Debug, Default)]
struct Shared {
    is_stopped: AtomicBool,
    replied: AtomicU64,
    new_leaders: AtomicU32,
    longest_gap_ns: AtomicU64,
}

impl Load {
    /// Sends from now on.
    pub(crate) fn start(client: ClusterClient, rate: Rate) -> Self {
        let shared = Arc::new(Shared::default());
        let theirs = Arc::clone(&shared);
        let name = format!("load-{}", client.cluster_session_id());
        let thread = std::thread::Builder::new().name(name).spawn(move || send(client, rate, &theirs));
        Self { shared, thread: thread.expect("a thread") }
    }

    /// Waits for so many more replies.
    pub(crate) fn await_replies(&self, count: u64) {
        let replied = || self.shared.replied.load(Ordering::Acquire);
        let target = replied() + count;
        self.wait("replies", || replied() >= target);
    }

    /// Waits until the client has heard of so many new leaders.
    pub(crate) fn await_new_leaders(&self, count: u32) {
        self.wait("a new leader", || self.shared.new_leaders.load(Ordering::Acquire) >= count);
    }

    /// The longest time in which a reply was due and none came, since this was last asked.
    pub(crate) fn take_longest_gap(&self) -> Duration {
        Duration::from_nanos(self.shared.longest_gap_ns.swap(0, Ordering::AcqRel))
    }

    /// Sends nothing more, waits for the replies that are due, and closes the session.
    pub(crate) fn stop(self) -> Ledger {
        self.shared.is_stopped.store(true, Ordering::Release);
        self.thread.join().expect("the client does not panic")
    }

    fn wait(&self, what: &str, is_there: impl Fn() -> bool) {
        let deadline = Instant::now() + TIMEOUT;
        while !is_there() {
            assert!(!self.thread.is_finished(), "the client has ended while {what} was awaited");
            assert!(Instant::now() < deadline, "{what} did not come");
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

fn send(mut client: ClusterClient, rate: Rate, shared: &Shared) -> Ledger {
    let mut ledger = Ledger { leadership_term_id: client.leadership_term_id(), ..Ledger::default() };
    let interval = Duration::from_secs(1) / rate.per_second as u32;
    let mut idler = Idler::new(IdleStrategy::BACKOFF);
    let mut due = Instant::now();
    let mut last_progress = due;
    let mut stop_deadline = None;
    loop {
        let now = Instant::now();
        let is_stopped = shared.is_stopped.load(Ordering::Acquire);
        if is_stopped && (ledger.open.is_empty() || now > *stop_deadline.get_or_insert(now + TIMEOUT)) {
            break;
        }
        let mut work = 0;
        if !is_stopped && now >= due {
            let number = ledger.sent + 1;
            match client.offer(&rate.message(number)) {
                Ok(_) => {
                    if ledger.open.is_empty() {
                        last_progress = now;
                    }
                    ledger.sent = number;
                    ledger.open.push_back(number);
                    due += interval;
                    work += 1;
                }
                // Without a leader nothing is due.
                Err(OfferError::NotConnected) => due = now,
                Err(OfferError::BackPressured) => {}
                Err(error) => ledger.faults.push(format!("message {number}: {error}")),
            }
        }
        let replied = ledger.replies.len();
        match client.poll(&mut ledger) {
            Ok(polled) => work += polled,
            Err(error) => {
                ledger.faults.push(error.to_string());
                return ledger;
            }
        }
        if !ledger.open.is_empty() || ledger.replies.len() > replied {
            let gap = now.duration_since(last_progress);
            shared.longest_gap_ns.fetch_max(gap.as_nanos() as u64, Ordering::AcqRel);
        }
        if ledger.replies.len() > replied {
            last_progress = now;
            shared.replied.store(ledger.replies.len() as u64, Ordering::Release);
        }
        shared.new_leaders.store(ledger.new_leaders, Ordering::Release);
        idler.idle(work);
    }
    if let Err(error) = client.close(Duration::from_secs(1)) {
        ledger.faults.push(error.to_string());
    }
    ledger
}

impl Rate {
    /// A message that `audit` interprets: command and number, then a payload of its own.
    fn message(&self, number: u64) -> Vec<u8> {
        let command = if self.commands && number % 20 == 3 { number / 20 % 3 } else { 0 };
        // One in eight takes several frames, if it may be so long.
        let length_max = if number.is_multiple_of(8) { self.length_max } else { self.length_max.min(256) };
        message(command, number, number as usize * 37 % length_max)
    }
}

/// A message that `audit` interprets: command and number, then a timer's id and delay, then what fills it up.
pub(crate) fn message(command: u64, number: u64, length: usize) -> Vec<u8> {
    let mut message = command.to_le_bytes().to_vec();
    message.extend_from_slice(&number.to_le_bytes());
    message.extend_from_slice(&number.wrapping_mul(31).to_le_bytes());
    message.extend_from_slice(&5u64.to_le_bytes());
    message.resize(length.max(MESSAGE_LENGTH_MIN), number as u8 | 1);
    message
}
