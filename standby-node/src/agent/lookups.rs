//! Names on their way to addresses. The system's resolver may wait half a minute for a server that is gone, and
//! servers of names go with clusters: so each question has a thread of its own, as long as it takes, and whoever asks
//! for much keeps nobody else waiting.
//!
//! Clients name hosts before anybody knows who they are, so what they ask for is bounded in number and in time. What is
//! beyond is answered as a name that does not resolve.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::io;
use std::mem::Discriminant;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use consensus_tap::channel::HostPort;

use super::storage::Asker;
use super::throttle::Throttle;

/// Questions of one party that are under way at a time. Its others wait.
const UNDER_WAY_MAX: usize = 4;
/// Questions of one agent's clients that have no answer yet.
const OF_CLIENTS_MAX: usize = 1024;
/// A client's question waits so long for its turn: then Java's clients have given up, and others get theirs.
const CLIENT_WAIT_MAX_NS: u64 = 5_000_000_000;
/// No name of a host is longer.
const HOST_LENGTH_MAX: usize = 255;

/// Looks a name up, and may wait.
type Resolver = fn(&HostPort) -> io::Result<Vec<SocketAddr>>;

/// Looks names up.
#[derive(Debug)]
pub(super) struct Lookups {
    resolver: Resolver,
    shares: HashMap<Party, Share>,
    answers: Receiver<Answer>,
    /// For the threads.
    answer: Sender<Answer>,
    /// What is answered, and not told yet.
    known: VecDeque<(Asker, Option<SocketAddr>)>,
    failures: Throttle,
}

/// Whose questions wait for each other, and for nobody else's: what an agent itself needs, and what its clients brought.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
struct Party {
    agent: Discriminant<Asker>,
    is_of_clients: bool,
}

impl Party {
    fn of(asker: Asker) -> Self {
        Self { agent: std::mem::discriminant(&asker), is_of_clients: asker.is_of_client() }
    }
}

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
struct Name {
    endpoint: HostPort,
    wants_ipv6: bool,
}

#[derive(Debug)]
struct Answer {
    party: Party,
    name: Name,
    addresses: io::Result<Vec<SocketAddr>>,
}

/// What one party asks for.
#[derive(Debug, Default)]
struct Share {
    /// Oldest first, and since when.
    waiting: VecDeque<(Name, u64)>,
    under_way_count: usize,
    /// Who asks for a name that waits or is under way: it is not looked up twice.
    askers: HashMap<Name, Vec<Asker>>,
    asker_count: usize,
}

impl Share {
    fn add(&mut self, asker: Asker, name: Name, now_ns: u64) {
        self.asker_count += 1;
        match self.askers.entry(name) {
            Entry::Occupied(mut askers) => askers.get_mut().push(asker),
            Entry::Vacant(none) => {
                self.waiting.push_back((none.key().clone(), now_ns));
                none.insert(vec![asker]);
            }
        }
    }

    /// The next name that has waited since `since_ns` or longer.
    fn next_overdue(&mut self, since_ns: u64) -> Option<Name> {
        let (_, asked_ns) = self.waiting.front()?;
        if *asked_ns > since_ns {
            return None;
        }
        self.waiting.pop_front().map(|(name, _)| name)
    }

    /// The next name whose turn it is.
    fn next_to_start(&mut self) -> Option<Name> {
        if self.under_way_count >= UNDER_WAY_MAX {
            return None;
        }
        let (name, _) = self.waiting.pop_front()?;
        self.under_way_count += 1;
        Some(name)
    }

    fn take_askers(&mut self, name: &Name) -> Vec<Asker> {
        let askers = self.askers.remove(name).expect("somebody asked for it");
        self.asker_count -= askers.len();
        askers
    }
}

impl Lookups {
    pub(super) fn new() -> Self {
        Self::with(|endpoint| Ok((endpoint.host.as_str(), endpoint.port).to_socket_addrs()?.collect()))
    }

    fn with(resolver: Resolver) -> Self {
        let (answer, answers) = channel();
        Self {
            resolver,
            shares: HashMap::new(),
            answers,
            answer,
            known: VecDeque::new(),
            failures: Throttle::default(),
        }
    }

    /// Asks for the first address of one family. What is an address already needs no thread.
    pub(super) fn ask(&mut self, asker: Asker, endpoint: HostPort, wants_ipv6: bool, now_ns: u64) {
        if let Some(address) = endpoint.socket_addr() {
            self.known.push_back((asker, Some(address).filter(|address| address.is_ipv6() == wants_ipv6)));
            return;
        }
        let party = Party::of(asker);
        let share = self.shares.entry(party).or_default();
        let is_over_limit = party.is_of_clients && share.asker_count >= OF_CLIENTS_MAX;
        if is_over_limit || endpoint.host.len() > HOST_LENGTH_MAX {
            self.known.push_back((asker, None));
            if is_over_limit {
                self.warn_of_clients(now_ns);
            }
            return;
        }
        share.add(asker, Name { endpoint, wants_ipv6 }, now_ns);
    }

    /// Who has an answer; `None` in it when the name does not resolve.
    pub(super) fn poll(&mut self, now_ns: u64) -> Option<(Asker, Option<SocketAddr>)> {
        if self.known.is_empty() {
            self.give_up_overdue(now_ns);
            self.begin();
            if let Ok(answer) = self.answers.try_recv() {
                self.on_answer(answer, now_ns);
            }
        }
        self.known.pop_front()
    }

    fn give_up_overdue(&mut self, now_ns: u64) {
        let Some(since_ns) = now_ns.checked_sub(CLIENT_WAIT_MAX_NS) else { return };
        for share in self.shares.iter_mut().filter_map(|(party, share)| party.is_of_clients.then_some(share))
        {
            while let Some(name) = share.next_overdue(since_ns) {
                self.known.extend(share.take_askers(&name).into_iter().map(|asker| (asker, None)));
            }
        }
        if !self.known.is_empty() {
            self.warn_of_clients(now_ns);
        }
    }

    /// Starts what may start, in the order of each party's questions.
    fn begin(&mut self) {
        for (party, share) in &mut self.shares {
            while let Some(name) = share.next_to_start() {
                start(self.resolver, *party, name, self.answer.clone());
            }
        }
    }

    fn on_answer(&mut self, Answer { party, name, addresses }: Answer, now_ns: u64) {
        let address = match addresses {
            Ok(addresses) => addresses.into_iter().find(|address| address.is_ipv6() == name.wants_ipv6),
            Err(error) => {
                self.warn(party, &name.endpoint, &error, now_ns);
                None
            }
        };
        let share = self.shares.get_mut(&party).expect("who asks has a share");
        share.under_way_count -= 1;
        self.known.extend(share.take_askers(&name).into_iter().map(|asker| (asker, address)));
    }

    fn warn(&mut self, party: Party, endpoint: &HostPort, error: &io::Error, now_ns: u64) {
        // Clients could make up ever new names, and each would be news.
        let text =
            if party.is_of_clients { "a client's name".to_owned() } else { format!("{endpoint}: {error}") };
        if let Some(repeated) = self.failures.admit(&text, now_ns) {
            tracing::warn!(%endpoint, %error, repeated, "cannot look up");
        }
    }

    fn warn_of_clients(&mut self, now_ns: u64) {
        let text =
            "clients name more hosts than can be looked up: the rest count as names that do not resolve";
        if let Some(repeated) = self.failures.admit(text, now_ns) {
            tracing::warn!(repeated, "{text}");
        }
    }
}

fn start(resolver: Resolver, party: Party, name: Name, answer: Sender<Answer>) {
    let (failed, asked) = (answer.clone(), name.clone());
    // Nobody waits for it: the resolver cannot be interrupted, and a node that ends need not know.
    let started = thread::Builder::new().name("lookup".to_owned()).spawn(move || {
        let addresses = resolver(&asked.endpoint);
        // When the node has ended, nobody listens.
        let _ = answer.send(Answer { party, name: asked, addresses });
    });
    if let Err(error) = started {
        let _ = failed.send(Answer { party, name, addresses: Err(error) });
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

    fn archive(id: u64, is_of_client: bool) -> Asker {
        Asker::Archive(LookupToken { id, is_of_client })
    }

    /// How many names of a party wait, and are under way.
    fn counts(lookups: &Lookups, asker: Asker) -> (usize, usize) {
        let share = &lookups.shares[&Party::of(asker)];
        (share.waiting.len(), share.under_way_count)
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
        lookups.ask(Asker::Receiver(1), endpoint("127.0.0.2", 9), false, 0);
        lookups.ask(Asker::Receiver(2), endpoint("127.0.0.2", 9), true, 0);
        assert_eq!(lookups.poll(0), Some((Asker::Receiver(1), Some(([127, 0, 0, 2], 9).into()))));
        assert_eq!(lookups.poll(0), Some((Asker::Receiver(2), None)));
        lookups.ask(Asker::Receiver(3), endpoint("here", 9), false, 0);
        assert_eq!(next(&mut lookups), (Asker::Receiver(3), Some(([127, 0, 0, 1], 9).into())));
        lookups.ask(Asker::Receiver(4), endpoint("here", 9), true, 0);
        assert_eq!(next(&mut lookups), (Asker::Receiver(4), Some(([0; 16], 9).into())));
        lookups.ask(Asker::Receiver(5), endpoint("elsewhere", 9), false, 0);
        assert_eq!(next(&mut lookups), (Asker::Receiver(5), None));
    }

    #[test]
    fn names_that_nobody_answers_for_keep_only_the_names_of_the_same_party_waiting() {
        let mut lookups = Lookups::with(resolve);
        for port in 1..UNDER_WAY_MAX as u16 {
            lookups.ask(Asker::Receiver(0), endpoint("nowhere", port), false, 0);
        }
        lookups.ask(Asker::Receiver(1), endpoint("here", 9), false, 0);
        assert_eq!(next(&mut lookups).0, Asker::Receiver(1), "there is room for one more");
        lookups.ask(Asker::Receiver(2), endpoint("nowhere", 9), false, 0);
        lookups.ask(Asker::Receiver(3), endpoint("here", 9), false, 0);
        assert_eq!(lookups.poll(0), None);
        lookups.ask(Asker::Receiver(4), endpoint("127.0.0.1", 9), false, 0);
        assert_eq!(next(&mut lookups).0, Asker::Receiver(4));
        lookups.ask(archive(0, false), endpoint("here", 8), false, 0);
        assert_eq!(next(&mut lookups).0, archive(0, false));
        assert_eq!(counts(&lookups, Asker::Receiver(0)), (1, UNDER_WAY_MAX));
    }

    #[test]
    fn one_look_up_answers_all_who_ask_for_the_same_meanwhile() {
        let mut lookups = Lookups::with(resolve);
        (0..3).for_each(|token| lookups.ask(Asker::Receiver(token), endpoint("here", 9), false, 0));
        lookups.begin();
        assert_eq!(counts(&lookups, Asker::Receiver(0)), (0, 1));
        assert_eq!([(); 3].map(|()| next(&mut lookups).0), [0, 1, 2].map(Asker::Receiver));
    }

    #[test]
    fn what_clients_ask_for_is_bounded_and_keeps_nothing_that_the_node_needs_waiting() {
        let mut lookups = Lookups::with(resolve);
        for id in 0..OF_CLIENTS_MAX as u64 {
            lookups.ask(archive(id, true), endpoint("nowhere", id as u16), false, 0);
        }
        assert_eq!(lookups.poll(0), None);
        assert_eq!(counts(&lookups, archive(0, true)), (OF_CLIENTS_MAX - UNDER_WAY_MAX, UNDER_WAY_MAX));
        lookups.ask(archive(9_000, true), endpoint("here", 9), false, 1);
        assert_eq!(lookups.poll(1), Some((archive(9_000, true), None)), "one too many");
        lookups.ask(archive(9_001, true), endpoint("127.0.0.1", 9), false, 1);
        assert_eq!(lookups.poll(1), Some((archive(9_001, true), Some(([127, 0, 0, 1], 9).into()))));
        lookups.ask(archive(9_002, false), endpoint("here", 9), false, 1);
        assert_eq!(next(&mut lookups), (archive(9_002, false), Some(([127, 0, 0, 1], 9).into())));

        // None of them is kept for longer than its client waits.
        for id in UNDER_WAY_MAX as u64..OF_CLIENTS_MAX as u64 {
            assert_eq!(lookups.poll(CLIENT_WAIT_MAX_NS), Some((archive(id, true), None)));
        }
        assert_eq!(lookups.poll(CLIENT_WAIT_MAX_NS), None);
        assert_eq!(counts(&lookups, archive(0, true)), (0, UNDER_WAY_MAX));
        assert_eq!(lookups.shares[&Party::of(archive(0, true))].asker_count, UNDER_WAY_MAX);
    }

    #[test]
    fn what_the_node_needs_is_waited_for_however_long_it_takes() {
        let mut lookups = Lookups::with(resolve);
        for id in 0..OF_CLIENTS_MAX as u64 + 9 {
            lookups.ask(Asker::Receiver(id), endpoint("nowhere", id as u16), false, 0);
        }
        assert_eq!(lookups.poll(100 * CLIENT_WAIT_MAX_NS), None);
        assert_eq!(counts(&lookups, Asker::Receiver(0)).0, OF_CLIENTS_MAX + 9 - UNDER_WAY_MAX);
    }

    #[test]
    fn what_is_too_long_for_a_name_is_not_kept() {
        let mut lookups = Lookups::with(resolve);
        lookups.ask(archive(0, true), endpoint(&"a".repeat(HOST_LENGTH_MAX + 1), 9), false, 0);
        assert_eq!(lookups.poll(0), Some((archive(0, true), None)));
        assert_eq!(counts(&lookups, archive(0, true)), (0, 0));
    }
}
