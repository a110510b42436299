//! Names on their way to addresses. The system's resolver may wait half a minute for a server that is gone, and
//! servers of names go with clusters: so each question has a thread of its own, as long as it takes, and whoever asks
//! for much keeps nobody else waiting.

use std::collections::VecDeque;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use consensus_tap::channel::HostPort;

use super::storage::Asker;
use super::throttle::Throttle;

/// Questions of one agent that are under way at a time. Its others wait.
const UNDER_WAY_MAX: usize = 4;

/// Looks a name up, and may wait.
type Resolver = fn(&HostPort) -> io::Result<Vec<SocketAddr>>;

/// Looks names up.
#[derive(Debug)]
pub(super) struct Lookups {
    resolver: Resolver,
    waiting: VecDeque<Question>,
    under_way: Vec<Question>,
    answers: Receiver<Answer>,
    /// For the threads.
    answer: Sender<Answer>,
    /// What was answered at once.
    known: VecDeque<(Asker, Option<SocketAddr>)>,
    failures: Throttle,
}

#[derive(Clone, Debug)]
struct Question {
    asker: Asker,
    endpoint: HostPort,
    wants_ipv6: bool,
}

impl Question {
    fn is_same(&self, other: &Self) -> bool {
        self.endpoint == other.endpoint && self.wants_ipv6 == other.wants_ipv6
    }
}

#[derive(Debug)]
struct Answer {
    asker: Asker,
    addresses: io::Result<Vec<SocketAddr>>,
}

impl Lookups {
    pub(super) fn new() -> Self {
        Self::with(|endpoint| Ok((endpoint.host.as_str(), endpoint.port).to_socket_addrs()?.collect()))
    }

    fn with(resolver: Resolver) -> Self {
        let (answer, answers) = channel();
        Self {
            resolver,
            waiting: VecDeque::new(),
            under_way: Vec::new(),
            answers,
            answer,
            known: VecDeque::new(),
            failures: Throttle::default(),
        }
    }

    /// Asks for the first address of one family. What is an address already needs no thread.
    pub(super) fn ask(&mut self, asker: Asker, endpoint: HostPort, wants_ipv6: bool) {
        if let Some(address) = endpoint.socket_addr() {
            self.known.push_back((asker, Some(address).filter(|address| address.is_ipv6() == wants_ipv6)));
        } else {
            self.waiting.push_back(Question { asker, endpoint, wants_ipv6 });
        }
    }

    /// Who has an answer; `None` in it when the name does not resolve.
    pub(super) fn poll(&mut self, now_ns: u64) -> Option<(Asker, Option<SocketAddr>)> {
        if let Some(known) = self.known.pop_front() {
            return Some(known);
        }
        self.begin();
        let Answer { asker, addresses } = self.answers.try_recv().ok()?;
        let place = self.under_way.iter().position(|question| question.asker == asker);
        let question = self.under_way.swap_remove(place.expect("only what is under way is answered"));
        let address = match addresses {
            Ok(addresses) => addresses.into_iter().find(|address| address.is_ipv6() == question.wants_ipv6),
            Err(error) => {
                self.warn(&question.endpoint, &error, now_ns);
                None
            }
        };
        self.waiting.retain(|other| {
            let is_same = other.is_same(&question);
            if is_same {
                self.known.push_back((other.asker, address));
            }
            !is_same
        });
        Some((asker, address))
    }

    /// Starts what may start, in the order of the questions. What is being asked already is not asked twice.
    fn begin(&mut self) {
        let mut index = 0;
        while let Some(question) = self.waiting.get(index) {
            let of_agent = |other: &&Question| other.asker.is_same_agent(question.asker);
            let is_asked = self.under_way.iter().any(|other| other.is_same(question));
            if is_asked || self.under_way.iter().filter(of_agent).count() >= UNDER_WAY_MAX {
                index += 1;
                continue;
            }
            let question = self.waiting.remove(index).expect("it is there");
            self.start(question);
        }
    }

    fn start(&mut self, question: Question) {
        let Question { asker, endpoint, .. } = question.clone();
        self.under_way.push(question);
        let (resolver, answer) = (self.resolver, self.answer.clone());
        // Nobody waits for it: the resolver cannot be interrupted, and a node that ends need not know.
        let started = thread::Builder::new().name("lookup".to_owned()).spawn(move || {
            // When the node has ended, nobody listens.
            let _ = answer.send(Answer { asker, addresses: resolver(&endpoint) });
        });
        if let Err(error) = started {
            let _ = self.answer.send(Answer { asker, addresses: Err(error) });
        }
    }

    fn warn(&mut self, endpoint: &HostPort, error: &io::Error, now_ns: u64) {
        if let Some(repeated) = self.failures.admit(&format!("{endpoint}: {error}"), now_ns) {
            tracing::warn!(%endpoint, %error, repeated, "cannot look up");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use consensus_tap::endpoint::LookupToken;

    use super::*;

    /// Knows `here`, never answers for `nowhere`, and refuses all else.
    fn resolve(endpoint: &HostPort) -> io::Result<Vec<SocketAddr>> {
        match endpoint.host.as_str() {
            "here" => Ok(vec![([0; 16], endpoint.port).into(), ([127, 0, 0, 1], endpoint.port).into()]),
            "nowhere" => loop {
                thread::park();
            },
            _ => Err(io::Error::other("no such name")),
        }
    }

    fn endpoint(host: &str, port: u16) -> HostPort {
        HostPort { host: host.to_owned(), port }
    }

    fn next(lookups: &mut Lookups) -> (Asker, Option<SocketAddr>) {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            if let Some(answer) = lookups.poll(0) {
                return answer;
            }
            assert!(Instant::now() < deadline, "no answer: {lookups:?}");
            thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn an_address_needs_no_look_up_and_a_name_has_the_first_of_the_wanted_family() {
        let mut lookups = Lookups::with(resolve);
        lookups.ask(Asker::Receiver(1), endpoint("127.0.0.2", 9), false);
        lookups.ask(Asker::Receiver(2), endpoint("127.0.0.2", 9), true);
        assert_eq!(lookups.poll(0), Some((Asker::Receiver(1), Some(([127, 0, 0, 2], 9).into()))));
        assert_eq!(lookups.poll(0), Some((Asker::Receiver(2), None)));
        lookups.ask(Asker::Receiver(3), endpoint("here", 9), false);
        assert_eq!(next(&mut lookups), (Asker::Receiver(3), Some(([127, 0, 0, 1], 9).into())));
        lookups.ask(Asker::Receiver(4), endpoint("here", 9), true);
        assert_eq!(next(&mut lookups), (Asker::Receiver(4), Some(([0; 16], 9).into())));
        lookups.ask(Asker::Receiver(5), endpoint("elsewhere", 9), false);
        assert_eq!(next(&mut lookups), (Asker::Receiver(5), None));
    }

    #[test]
    fn names_that_nobody_answers_for_keep_only_the_names_of_the_same_agent_waiting() {
        let mut lookups = Lookups::with(resolve);
        for port in 1..UNDER_WAY_MAX as u16 {
            lookups.ask(Asker::Receiver(0), endpoint("nowhere", port), false);
        }
        lookups.ask(Asker::Receiver(1), endpoint("here", 9), false);
        assert_eq!(next(&mut lookups).0, Asker::Receiver(1), "there is room for one more");
        lookups.ask(Asker::Receiver(2), endpoint("nowhere", 9), false);
        lookups.ask(Asker::Receiver(3), endpoint("here", 9), false);
        assert_eq!(lookups.poll(0), None);
        lookups.ask(Asker::Receiver(4), endpoint("127.0.0.1", 9), false);
        assert_eq!(next(&mut lookups).0, Asker::Receiver(4));
        lookups.ask(Asker::Archive(LookupToken(0)), endpoint("here", 8), false);
        assert_eq!(next(&mut lookups).0, Asker::Archive(LookupToken(0)));
        assert_eq!((lookups.waiting.len(), lookups.under_way.len()), (1, UNDER_WAY_MAX));
    }

    #[test]
    fn one_look_up_answers_all_who_ask_for_the_same_meanwhile() {
        let mut lookups = Lookups::with(resolve);
        (0..3).for_each(|token| lookups.ask(Asker::Receiver(token), endpoint("here", 9), false));
        lookups.ask(Asker::Archive(LookupToken(0)), endpoint("here", 9), false);
        lookups.begin();
        assert_eq!(lookups.under_way.len(), 1);
        let askers = [(); 4].map(|()| next(&mut lookups).0);
        let expected = [0, 1, 2].map(Asker::Receiver);
        assert_eq!(askers[..3], expected);
        assert_eq!(askers[3], Asker::Archive(LookupToken(0)));
    }
}
