//! What real members make of our announcements, and whether we can tell.
//!
//! Where the announcer is driven over a socket of its own, sets can be announced that no archive holds: what a member
//! stores is what it was told. Its files say what it did.

use std::collections::BTreeMap;
use std::net::{SocketAddr, ToSocketAddrs, UdpSocket};
use std::time::Duration;

use consensus_tap::archive::Credentials;
use consensus_tap::endpoint::{Endpoint, EndpointEvent, NameLookups};
use consensus_tap::file::recording_log::{EntryKind, RecordingLog, SnapshotSet};
use consensus_tap::image::{FragmentAssembler, ImageKey, ImageSink, Refused};
use consensus_tap::serving::{
    AnnouncedMember, Announcement, AnnouncementOutcome, Announcer, AnnouncerConfig, MemberOutcome,
};
use consensus_tap::wire::data::frames;
use standby_node::sys::clock;

use crate::support::agreement::end_and_compare;
use crate::support::client::send;
use crate::support::cluster::{Cluster, ClusterConfig, Member, await_some};
use crate::support::standby::Standby;

const MINUTE: Duration = Duration::from_secs(60);
const SECOND_NS: u64 = 1_000_000_000;

/// An announcer on a socket.
struct Driven {
    socket: UdpSocket,
    endpoint: Endpoint,
    lookups: NameLookups,
    announcer: Announcer,
    messages: Messages,
}

#[derive(Default)]
struct Messages {
    assemblers: BTreeMap<ImageKey, FragmentAssembler>,
    messages: Vec<(ImageKey, Vec<u8>)>,
}

impl ImageSink for Messages {
    fn append(&mut self, key: ImageKey, position: i64, bytes: &[u8]) -> Result<(), Refused> {
        let assembler = self.assemblers.entry(key).or_insert_with(|| FragmentAssembler::new(64 * 1024));
        let mut position = position;
        for frame in frames(bytes).map(|frame| frame.expect("an endpoint checks frames")) {
            if let Some(message) = assembler.on_frame(&frame, position) {
                self.messages.push((key, message.bytes.to_vec()));
            }
            position += frame.aligned_length() as i64;
        }
        Ok(())
    }
}

impl Driven {
    fn new(credentials: Credentials) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
        socket.set_read_timeout(Some(Duration::from_millis(1))).expect("a timeout");
        let endpoint: SocketAddr = socket.local_addr().expect("an address");
        let announcer = Announcer::new(AnnouncerConfig {
            endpoint: endpoint.into(),
            credentials,
            seed: clock::monotonic_ns(),
            ..AnnouncerConfig::default()
        });
        let endpoint = Endpoint::new(clock::monotonic_ns() as i64);
        Self { socket, endpoint, lookups: NameLookups::default(), announcer, messages: Messages::default() }
    }

    fn announce(&mut self, cluster: &Cluster, log_position: i64) {
        let set = SnapshotSet {
            leadership_term_id: 0,
            term_base_log_position: 0,
            log_position,
            timestamp: clock::epoch_ms(),
            consensus_module: 1000,
            services: vec![1001],
        };
        let members = cluster.members().iter().enumerate().map(|(id, member)| AnnouncedMember {
            member_id: id as i32,
            consensus_endpoint: member.consensus_endpoint().parse().expect("host:port"),
        });
        self.announcer.announce(&Announcement::new(&set, members.collect()));
    }

    /// Runs until every announcement has its outcome; those of the last, by member.
    fn outcomes(&mut self) -> Vec<AnnouncementOutcome> {
        let mut outcomes = Vec::new();
        let mut datagram = vec![0; 65_536];
        let deadline_ns = clock::monotonic_ns() + 60 * SECOND_NS;
        while !self.announcer.is_idle() {
            let now_ns = clock::monotonic_ns();
            assert!(now_ns < deadline_ns, "an announcement has no outcome: {:?}", self.announcer);
            if let Ok((length, from)) = self.socket.recv_from(&mut datagram) {
                self.endpoint.on_datagram(&datagram[..length], from, now_ns, &mut self.messages);
            }
            for (key, message) in std::mem::take(&mut self.messages.messages) {
                self.announcer.on_message(key, &message, now_ns, &mut self.endpoint);
            }
            self.endpoint.on_timeout(now_ns);
            while let Some(event) = self.endpoint.poll_event() {
                if let EndpointEvent::ImageUnavailable { key, reason, .. } = event {
                    self.announcer.on_image_unavailable(key, reason, now_ns, &mut self.endpoint);
                }
            }
            while let Some((lookup, asked)) = self.lookups.poll() {
                let mut found =
                    (asked.host.as_str(), asked.port).to_socket_addrs().expect("localhost resolves");
                let address = found.find(SocketAddr::is_ipv4);
                self.announcer.on_resolved(lookup, address, now_ns, &mut self.endpoint);
            }
            self.announcer.on_timeout(now_ns, &mut self.endpoint, &mut self.lookups);
            let socket = &self.socket;
            self.endpoint.poll_transmit(now_ns, &mut |run| {
                for datagram in run.datagrams() {
                    // A member that is down has nobody at its port.
                    let _ = socket.send_to(datagram, run.to);
                }
            });
            outcomes.extend(std::iter::from_fn(|| self.announcer.poll_outcome()));
        }
        outcomes.sort_by_key(|outcome: &MemberOutcome| outcome.member_id);
        outcomes.into_iter().map(|outcome| outcome.outcome).collect()
    }
}

/// Log positions of the standby snapshots in a member's recording log, one for each row.
fn stored(member: &Member) -> Vec<i64> {
    let path = member.dir().join("cluster/recording.log");
    let log = RecordingLog::parse(std::fs::read(path).expect("a recording log")).expect("a recording log");
    let is_standby = |kind: &EntryKind| matches!(kind, EntryKind::StandbySnapshot { .. });
    log.rows().iter().filter(|row| is_standby(&row.entry.kind)).map(|row| row.entry.log_position).collect()
}

#[test]
fn every_member_takes_a_set_once_and_we_know_it() {
    if crate::support::skip() {
        return;
    }
    let cluster =
        Cluster::start(ClusterConfig::new("announcements_taken", 3).flags(&["--accept-standby-snapshots"]));
    send(&cluster, 200);
    let position = cluster.await_quiet(MINUTE);
    let mut driven = Driven::new(Credentials::None);
    for log_position in [position - 64, position - 32, position] {
        driven.announce(&cluster, log_position);
    }
    // The same again: it must not be sent.
    driven.announce(&cluster, position);
    let outcomes = driven.outcomes();
    let taken = outcomes.iter().filter(|outcome| **outcome == AnnouncementOutcome::Taken).count();
    assert_eq!((taken, outcomes.len()), (9, 12), "{outcomes:?}");
    for member in cluster.members() {
        let expected = [position - 64, position - 32, position].map(|position| [position; 2]).concat();
        await_some("the rows", MINUTE, || (stored(member) == expected).then_some(()));
    }

    // A member in an election hears everything and stores nothing; one that is stopped is not even told.
    let left = cluster.follower().expect("a follower");
    let others: Vec<&Member> = cluster.members().iter().filter(|member| member.id() != left).collect();
    others.iter().for_each(|member| member.pause());
    await_some("an election", MINUTE, || cluster.member(left).role().is_none().then_some(()));
    driven.announce(&cluster, position + 32);
    let outcomes = driven.outcomes();
    others.iter().for_each(|member| member.resume());
    for (id, outcome) in outcomes.iter().enumerate() {
        let is_as_expected = match outcome {
            AnnouncementOutcome::Unknown { .. } => id == usize::from(left),
            AnnouncementOutcome::Unreachable { .. } => id != usize::from(left),
            _ => false,
        };
        assert!(is_as_expected, "member {id}, {left} is in an election: {outcome:?}");
    }
    cluster.await_leader(None, MINUTE);
    assert_eq!(stored(cluster.member(left)).len(), 6);
}

#[test]
fn a_member_that_is_not_configured_for_it_is_quoted_and_one_that_is_down_is_told_nothing() {
    if crate::support::skip() {
        return;
    }
    let cluster = Cluster::start(ClusterConfig::new("announcements_refused", 3));
    send(&cluster, 200);
    let position = cluster.await_quiet(MINUTE);
    let follower = cluster.follower().expect("a follower");
    cluster.member(follower).kill();
    let mut driven = Driven::new(Credentials::None);
    driven.announce(&cluster, position);
    for (id, outcome) in driven.outcomes().iter().enumerate() {
        match outcome {
            AnnouncementOutcome::Unreachable { .. } => assert_eq!(id, usize::from(follower)),
            AnnouncementOutcome::Refused { reason } => {
                assert_eq!(reason, "Not configured to accept StandbySnapshot");
            }
            other => panic!("member {id}: {other:?}"),
        }
    }
    assert!(cluster.members().iter().all(|member| stored(member).is_empty()));
}

/// The oldest members that we follow may not allow it, and then say so.
#[test]
fn members_of_older_versions_answer_in_the_same_way() {
    if crate::support::skip() {
        return;
    }
    for version in ["1.49.3", "1.47.4"] {
        let config = ClusterConfig::new(&format!("announcements_{version}"), 1).aeron_version(version);
        let cluster = Cluster::start(config.flags(&["--accept-standby-snapshots"]));
        let position = cluster.await_quiet(MINUTE);
        let mut driven = Driven::new(Credentials::None);
        driven.announce(&cluster, position);
        match &driven.outcomes()[..] {
            [AnnouncementOutcome::Taken] => {
                let rows = [position; 2];
                await_some("the rows", MINUTE, || (stored(cluster.member(0)) == rows).then_some(()));
            }
            [AnnouncementOutcome::Refused { reason }] => {
                assert!(version == "1.47.4" && reason.contains("Not authorised"), "{version}: {reason}");
                assert!(stored(cluster.member(0)).is_empty());
            }
            other => panic!("{version}: {other:?}"),
        }
        println!("{version}: {:?}", stored(cluster.member(0)));
    }
}

#[test]
fn a_challenge_is_answered_and_what_a_member_cannot_believe_is_refused() {
    if crate::support::skip() {
        return;
    }
    let gates = ["--credentials", "user:1", "--challenge", "answer", "--accept-standby-snapshots"];
    let cluster = Cluster::start(ClusterConfig::new("announcements_challenged", 1).flags(&gates));
    let position = cluster.await_quiet(MINUTE);
    let with = |answer: &[u8]| Credentials::ChallengeResponse {
        initial: b"user:1".to_vec(),
        answer: answer.to_vec(),
    };
    let mut driven = Driven::new(with(b"guess"));
    driven.announce(&cluster, position - 32);
    let outcomes = driven.outcomes();
    assert!(matches!(outcomes[..], [AnnouncementOutcome::Refused { .. }]), "{outcomes:?}");
    let mut driven = Driven::new(with(b"answer"));
    driven.announce(&cluster, position);
    assert_eq!(driven.outcomes(), [AnnouncementOutcome::Taken]);
    await_some("the rows", MINUTE, || (stored(cluster.member(0)) == [position; 2]).then_some(()));
}

/// Log positions of the snapshots that a member has in its own archive, newest first.
fn own_snapshots(member: &Member) -> Vec<i64> {
    let path = member.dir().join("cluster/recording.log");
    let log = RecordingLog::parse(std::fs::read(path).expect("a recording log")).expect("a recording log");
    log.snapshot_sets(1).iter().map(|set| set.log_position).collect()
}

/// Waits until the status says of each member what became of the newest set.
fn await_outcome(standby: &Standby, members: usize, log_position: i64, outcome: &str) {
    standby.await_status(&format!("{outcome} at {log_position} by all"), MINUTE, |status| {
        let records = status["standby_snapshots"].as_array();
        records.is_some_and(|records| {
            let is_so = |record: &serde_json::Value| {
                record["log_position"] == log_position && record["outcome"] == outcome
            };
            records.len() == members && records.iter().all(is_so)
        })
    });
}

#[test]
fn members_fetch_the_set_that_a_standby_took_and_announced() {
    if crate::support::skip() {
        return;
    }
    let cluster =
        Cluster::start(ClusterConfig::new("announcements_fetched", 3).flags(&["--accept-standby-snapshots"]));
    let mut standby = Standby::follow(&cluster, "standby", &[]);
    send(&cluster, 500);
    let position = cluster.await_quiet(MINUTE);
    standby.await_applied(position, MINUTE);
    assert_eq!(standby.take_snapshot(), position);
    await_outcome(&standby, 3, position, "taken");
    for member in cluster.members() {
        await_some("the rows", MINUTE, || (stored(member) == [position; 2]).then_some(()));
        assert!(own_snapshots(member).is_empty());
        cluster.node_control(member.id(), "REPLICATE_STANDBY_SNAPSHOT");
        await_some("our set", MINUTE, || (own_snapshots(member) == [position]).then_some(()));
    }

    // What was said is remembered, and the same set is not announced again.
    standby.stop();
    standby.restart();
    standby.await_state("FOLLOWING", MINUTE);
    await_outcome(&standby, 3, position, "taken");
    send(&cluster, 500);
    let newer = cluster.await_quiet(MINUTE);
    standby.await_applied(newer, MINUTE);
    assert_eq!(standby.take_snapshot(), newer);
    await_outcome(&standby, 3, newer, "taken");
    for member in cluster.members() {
        let rows = [[position; 2], [newer; 2]].concat();
        await_some("the rows", MINUTE, || (stored(member) == rows).then_some(()));
    }

    // A member that starts again fetches the newest set and goes on from there.
    let follower = cluster.follower().expect("a follower");
    cluster.member(follower).stop();
    cluster.member(follower).restart();
    let own =
        await_some("our newest set", MINUTE, || own_snapshots(cluster.member(follower)).first().copied());
    assert_eq!(own, newer);
    // It may have been the standby's source, which has another one before the cluster ends.
    send(&cluster, 10);
    standby.await_applied(cluster.await_quiet(MINUTE), MINUTE);
    end_and_compare(&cluster, &[&standby]);
}

#[test]
fn a_member_that_does_not_want_our_snapshots_is_quoted_in_the_status() {
    if crate::support::skip() {
        return;
    }
    let cluster = Cluster::start(ClusterConfig::new("announcements_unwanted", 1));
    let standby = Standby::follow(&cluster, "standby", &[]);
    send(&cluster, 100);
    standby.await_applied(cluster.await_quiet(MINUTE), MINUTE);
    let position = standby.take_snapshot();
    await_outcome(&standby, 1, position, "refused");
    let words = "Not configured to accept StandbySnapshot";
    assert_eq!(standby.status().expect("a status")["standby_snapshots"][0]["detail"], words);
    assert!(standby.output().contains("aeron.cluster.accept.standby.snapshots"), "{}", standby.output());
    end_and_compare(&cluster, &[&standby]);
}
