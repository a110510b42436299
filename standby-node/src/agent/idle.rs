//! What a thread does when a duty cycle found no work, under Aeron's names.
//!
//! | text | between two empty cycles |
//! |---|---|
//! | `noop` | nothing |
//! | `spin` | one pause instruction |
//! | `yield` | gives the core away once |
//! | `backoff`, `backoff(10,20,1us,1ms)` | so many spins, then yields, then sleeps from the shorter to the longer |
//! | `sleep-ns`, `sleep-ms`, `sleep(250us)` | sleeps 1 us, 1 ms, as given |
//!
//! Where a thread has sockets, a datagram ends the sleep of `backoff` early: such a thread costs others next
//! to nothing, and answers as soon as the system wakes it. The sleeps of `sleep` are never cut short.
//!
//! While the log is far behind, latency is nothing to pay for: `backoff` then sleeps a while as soon as nothing waits,
//! and takes what has gathered in few system calls.

use std::fmt;
use std::hint;
use std::str::FromStr;
use std::thread;
use std::time::Duration;

use thiserror::Error;

/// How a thread idles.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum IdleStrategy {
    /// Polls again at once. Lowest latency; takes a whole core.
    Noop,
    /// Polls again after a pause instruction. Takes a whole core, leaves its sibling thread more of it.
    Spin,
    /// Lets other threads of the core run first.
    Yield,
    /// Spins, then yields, then sleeps longer and longer until there is work again.
    Backoff {
        /// Empty cycles to spin for.
        spin_count_max: u32,
        /// Empty cycles to yield for after that.
        yield_count_max: u32,
        /// The first sleep; each further one is twice as long.
        park_min: Duration,
        /// The longest sleep.
        park_max: Duration,
    },
    /// Sleeps. The system adds about 50 us to a short sleep.
    Sleep(Duration),
}

impl IdleStrategy {
    /// Backoff as Aeron's media driver sets it up.
    pub const BACKOFF: Self = Self::Backoff {
        spin_count_max: 10,
        yield_count_max: 20,
        park_min: Duration::from_micros(1),
        park_max: Duration::from_millis(1),
    };
}

impl fmt::Display for IdleStrategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Noop => write!(f, "noop"),
            Self::Spin => write!(f, "spin"),
            Self::Yield => write!(f, "yield"),
            Self::BACKOFF => write!(f, "backoff"),
            Self::Backoff { spin_count_max, yield_count_max, park_min, park_max } => {
                let (min, max) = (humantime::format_duration(park_min), humantime::format_duration(park_max));
                write!(f, "backoff({spin_count_max},{yield_count_max},{min},{max})")
            }
            Self::Sleep(duration) => write!(f, "sleep({})", humantime::format_duration(duration)),
        }
    }
}

/// The text names no idle strategy.
#[derive(Clone, Debug, Eq, PartialEq, Error)]
#[error(
    "\"{text}\" is no idle strategy: use noop, spin, yield, backoff, backoff(10,20,1us,1ms), sleep-ns, \
     sleep-ms or sleep(250us)"
)]
pub struct ParseIdleStrategyError {
    /// What was given.
    pub text: String,
}

impl FromStr for IdleStrategy {
    type Err = ParseIdleStrategyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text).ok_or_else(|| ParseIdleStrategyError { text: text.into() })
    }
}

fn parse(text: &str) -> Option<IdleStrategy> {
    match text {
        "noop" => return Some(IdleStrategy::Noop),
        "spin" => return Some(IdleStrategy::Spin),
        "yield" => return Some(IdleStrategy::Yield),
        "backoff" => return Some(IdleStrategy::BACKOFF),
        "sleep-ns" => return Some(IdleStrategy::Sleep(Duration::from_micros(1))),
        "sleep-ms" => return Some(IdleStrategy::Sleep(Duration::from_millis(1))),
        _ => {}
    }
    let (name, arguments) = text.strip_suffix(')')?.split_once('(')?;
    let arguments: Vec<&str> = arguments.split(',').map(str::trim).collect();
    match (name, arguments.as_slice()) {
        ("sleep", [duration]) => Some(IdleStrategy::Sleep(parse_sleep(duration)?)),
        ("backoff", [spins, yields, min, max]) => {
            let (park_min, park_max) = (parse_sleep(min)?, parse_sleep(max)?);
            let (spin_count_max, yield_count_max) = (spins.parse().ok()?, yields.parse().ok()?);
            (park_min <= park_max).then_some(IdleStrategy::Backoff {
                spin_count_max,
                yield_count_max,
                park_min,
                park_max,
            })
        }
        _ => None,
    }
}

/// No sleep may be so long that the thread would seem dead, nor 0, which `backoff` could never double.
fn parse_sleep(text: &str) -> Option<Duration> {
    let duration = humantime::parse_duration(text).ok()?;
    (!duration.is_zero() && duration <= SLEEP_MAX).then_some(duration)
}

/// Longest sleep that can be asked for.
const SLEEP_MAX: Duration = Duration::from_secs(1);

/// Runs an [`IdleStrategy`]: remembers how long there has been no work.
#[derive(Debug)]
pub struct Idler {
    strategy: IdleStrategy,
    empty_cycle_count: u32,
    park: Duration,
}

impl Idler {
    /// One that starts as if there had just been work.
    pub fn new(strategy: IdleStrategy) -> Self {
        Self { strategy, empty_cycle_count: 0, park: Duration::ZERO }
    }

    /// Called after every duty cycle with what it did. A sleeping thread wakes early when it is unparked.
    pub fn idle(&mut self, work_count: usize) {
        if work_count > 0 {
            self.empty_cycle_count = 0;
            self.park = Duration::ZERO;
            return;
        }
        let step = self.next();
        step.take(thread::park_timeout);
    }

    /// As [`idle`](Self::idle) after an empty cycle, of a thread that `nap` puts to sleep for a time or until
    /// something wakes it. `backoff` sleeps so; a strategy that does nothing but sleep sleeps through.
    pub fn idle_until_woken(&mut self, nap: impl FnOnce(Duration)) {
        let step = self.next();
        step.take(nap);
    }

    /// Called in place of [`idle`](Self::idle) after an empty cycle of an agent that is catching up. `backoff` then
    /// sleeps at once: to spin from one datagram to the next would take a whole core and a system call for each of
    /// them, and win nothing. The other strategies idle as ever.
    pub fn gather(&mut self) {
        let step = self.next_gathering();
        step.take(thread::park_timeout);
    }

    fn next(&mut self) -> Step {
        match self.strategy {
            IdleStrategy::Noop => Step::Nothing,
            IdleStrategy::Spin => Step::Spin,
            IdleStrategy::Yield => Step::Yield,
            IdleStrategy::Sleep(duration) => Step::Sleep(duration),
            IdleStrategy::Backoff { spin_count_max, yield_count_max, park_min, park_max } => {
                let count = self.empty_cycle_count;
                self.empty_cycle_count = count.saturating_add(1);
                if count < spin_count_max {
                    return Step::Spin;
                }
                let count = count - spin_count_max;
                if count < yield_count_max {
                    return Step::Yield;
                }
                let first = count == yield_count_max;
                self.park = if first { park_min } else { (self.park * 2).min(park_max) };
                Step::Nap(self.park)
            }
        }
    }

    fn next_gathering(&mut self) -> Step {
        let IdleStrategy::Backoff { park_max, .. } = self.strategy else { return self.next() };
        // A source that stands still is waited for longer and longer, as by an agent that is not behind.
        self.park = (self.park * 2).max(GATHER_TIME).min(park_max);
        Step::Sleep(self.park)
    }
}

/// How long an agent that is catching up sleeps while more arrives; the system adds some 50 us. In both a Java sender
/// sends some 50 KB and a network of 10 Gbit/s carries 375 KB, a small part of the receive window: no source waits.
const GATHER_TIME: Duration = Duration::from_micros(250);

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Step {
    Nothing,
    Spin,
    Yield,
    /// A sleep that what arrives may end.
    Nap(Duration),
    Sleep(Duration),
}

impl Step {
    fn take(self, nap: impl FnOnce(Duration)) {
        match self {
            Self::Nothing => {}
            Self::Spin => hint::spin_loop(),
            Self::Yield => thread::yield_now(),
            Self::Nap(duration) => nap(duration),
            Self::Sleep(duration) => thread::park_timeout(duration),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn backoff(spin_count_max: u32, yield_count_max: u32) -> IdleStrategy {
        let (park_min, park_max) = (Duration::from_micros(3), Duration::from_micros(10));
        IdleStrategy::Backoff { spin_count_max, yield_count_max, park_min, park_max }
    }

    #[test]
    fn backoff_spins_then_yields_then_sleeps_longer_up_to_the_longest() {
        let mut idler = Idler::new(backoff(2, 1));
        let park = |micros| Step::Nap(Duration::from_micros(micros));
        let steps: Vec<Step> = (0..7).map(|_| idler.next()).collect();
        assert_eq!(steps, [Step::Spin, Step::Spin, Step::Yield, park(3), park(6), park(10), park(10)]);
    }

    #[test]
    fn work_starts_the_backoff_over() {
        let mut idler = Idler::new(backoff(1, 0));
        assert_eq!((idler.next(), idler.next()), (Step::Spin, Step::Nap(Duration::from_micros(3))));
        idler.idle(1);
        assert_eq!((idler.next(), idler.next()), (Step::Spin, Step::Nap(Duration::from_micros(3))));
    }

    #[test]
    fn gathering_sleeps_at_once_and_longer_while_nothing_comes() {
        let mut idler = Idler::new(IdleStrategy::BACKOFF);
        let parks = |idler: &mut Idler| [(); 5].map(|()| idler.next_gathering());
        let expected =
            [250, 500, 1_000, 1_000, 1_000].map(|micros| Step::Sleep(Duration::from_micros(micros)));
        assert_eq!(parks(&mut idler), expected);
        idler.idle(1);
        assert_eq!(parks(&mut idler), expected);
    }

    #[test]
    fn gathering_never_sleeps_where_the_strategy_does_not_nor_longer_than_it_does() {
        assert_eq!(Idler::new(IdleStrategy::Spin).next_gathering(), Step::Spin);
        assert_eq!(Idler::new(IdleStrategy::Yield).next_gathering(), Step::Yield);
        let park_max = Duration::from_micros(10);
        assert_eq!(Idler::new(backoff(2, 1)).next_gathering(), Step::Sleep(park_max));
    }

    #[test]
    fn backoff_without_spins_and_yields_sleeps_at_once() {
        assert_eq!(Idler::new(backoff(0, 0)).next(), Step::Nap(Duration::from_micros(3)));
    }

    #[test]
    fn aerons_names_are_understood() {
        assert_eq!("backoff".parse(), Ok(IdleStrategy::BACKOFF));
        assert_eq!("sleep-ns".parse(), Ok(IdleStrategy::Sleep(Duration::from_micros(1))));
        assert_eq!("sleep-ms".parse(), Ok(IdleStrategy::Sleep(Duration::from_millis(1))));
        assert_eq!("backoff(10, 20, 1us, 1ms)".parse(), Ok(IdleStrategy::BACKOFF));
    }

    #[test]
    fn what_would_stall_or_mean_nothing_is_refused() {
        for text in
            ["", "busy", "sleep()", "sleep(0s)", "sleep(2s)", "backoff(1,1,2ms,1ms)", "backoff(-1,1,1us,1ms)"]
        {
            let error = text.parse::<IdleStrategy>().unwrap_err();
            assert_eq!(error.text, text);
        }
    }

    proptest! {
        #[test]
        fn every_strategy_survives_the_round_trip_through_text(
            kind in 0..5, spins in any::<u32>(), yields in any::<u32>(),
            min in 1u64..=1_000_000_000, max in 1u64..=1_000_000_000,
        ) {
            let (park_min, park_max) = (Duration::from_nanos(min.min(max)), Duration::from_nanos(min.max(max)));
            let strategy = match kind {
                0 => IdleStrategy::Noop,
                1 => IdleStrategy::Spin,
                2 => IdleStrategy::Yield,
                3 => IdleStrategy::Sleep(park_min),
                _ => IdleStrategy::Backoff { spin_count_max: spins, yield_count_max: yields, park_min, park_max },
            };
            prop_assert_eq!(strategy.to_string().parse(), Ok(strategy));
        }

        #[test]
        fn any_text_gives_an_answer(text in ".{0,40}") {
            let _ = text.parse::<IdleStrategy>();
        }
    }
}
