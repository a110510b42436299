use std::sync::{Arc, Mutex};

use super::*;
use crate::host::{EgressHeader, Emission, Request};
use crate::{Claim, MemorySnapshot};

/// Hands every callback to a closure.
struct Probe<F>(F);

enum Call<'a> {
    Start,
    Open(ClientSession<'a>),
    Message(Option<ClientSession<'a>>, &'a [u8]),
    Close(ClientSession<'a>, CloseReason),
    Timer(i64),
    Snapshot,
    Freeze,
    Role(Role),
    Term(NewLeadershipTerm),
    Terminate,
    Background,
}

impl<F: FnMut(&Cluster<'_>, Call<'_>) + Send> ClusteredService for Probe<F> {
    fn on_start(
        &mut self,
        cluster: &Cluster<'_>,
        snapshot: Option<&mut dyn SnapshotReader>,
    ) -> Result<(), ServiceError> {
        (self.0)(cluster, Call::Start);
        match snapshot {
            Some(snapshot) => match snapshot.read()? {
                Some(b"good") => Ok(()),
                _ => Err("bad snapshot".into()),
            },
            None => Ok(()),
        }
    }

    fn on_session_open(&mut self, cluster: &Cluster<'_>, session: ClientSession<'_>, _timestamp: i64) {
        (self.0)(cluster, Call::Open(session));
    }

    fn on_session_message(
        &mut self,
        cluster: &Cluster<'_>,
        session: Option<ClientSession<'_>>,
        _timestamp: i64,
        payload: &[u8],
    ) {
        (self.0)(cluster, Call::Message(session, payload));
    }

    fn on_session_close(
        &mut self,
        cluster: &Cluster<'_>,
        session: ClientSession<'_>,
        _timestamp: i64,
        reason: CloseReason,
    ) {
        (self.0)(cluster, Call::Close(session, reason));
    }

    fn on_timer_event(&mut self, cluster: &Cluster<'_>, correlation_id: i64, _timestamp: i64) {
        (self.0)(cluster, Call::Timer(correlation_id));
    }

    fn on_take_snapshot(
        &mut self,
        cluster: &Cluster<'_>,
        snapshot: &mut dyn SnapshotWriter,
    ) -> Result<(), ServiceError> {
        (self.0)(cluster, Call::Snapshot);
        snapshot.write(b"good")
    }

    fn freeze(&mut self, cluster: &Cluster<'_>) -> Option<Box<dyn FrozenState>> {
        (self.0)(cluster, Call::Freeze);
        Some(Box::new(Frozen(b"good")))
    }

    fn on_role_change(&mut self, cluster: &Cluster<'_>, role: Role) {
        (self.0)(cluster, Call::Role(role));
    }

    fn on_new_leadership_term_event(&mut self, cluster: &Cluster<'_>, term: &NewLeadershipTerm) {
        (self.0)(cluster, Call::Term(*term));
    }

    fn on_terminate(&mut self, cluster: &Cluster<'_>) {
        (self.0)(cluster, Call::Terminate);
    }

    fn do_background_work(&mut self, cluster: &Cluster<'_>, _now_ns: u64) -> usize {
        (self.0)(cluster, Call::Background);
        3
    }
}

struct Frozen(&'static [u8]);

impl FrozenState for Frozen {
    fn write(self: Box<Self>, snapshot: &mut dyn SnapshotWriter) -> Result<(), ServiceError> {
        snapshot.write(self.0)
    }
}

type Lines = Arc<Mutex<Vec<String>>>;

/// Writes down what it is asked.
#[derive(Default)]
struct Journal {
    lines: Lines,
    claim: Vec<u8>,
}

impl Journal {
    fn note(&self, line: String) {
        self.lines.lock().unwrap().push(line);
    }
}

impl Egress for Journal {
    fn connect(&mut self, session: &Session) {
        self.note(format!("connect {}", session.id()));
    }

    fn disconnect(&mut self, id: ClusterSessionId) {
        self.note(format!("disconnect {id}"));
    }

    fn offer(&mut self, header: &EgressHeader, payload: &[u8]) -> Result<(), OfferError> {
        self.note(format!(
            "offer term={} session={} time={} {payload:?}",
            header.leadership_term_id, header.cluster_session_id, header.timestamp
        ));
        Ok(())
    }

    fn try_claim(&mut self, _header: &EgressHeader, length: usize) -> Result<(), OfferError> {
        self.claim = vec![0; length];
        Ok(())
    }

    fn claimed(&self) -> &[u8] {
        &self.claim
    }

    fn claimed_mut(&mut self) -> &mut [u8] {
        &mut self.claim
    }

    fn commit(&mut self) -> Result<(), OfferError> {
        self.note(format!("commit {:?}", self.claim));
        Ok(())
    }

    fn abort(&mut self) {
        self.note("abort".to_owned());
    }
}

fn driver<F: FnMut(&Cluster<'_>, Call<'_>) + Send>(calls: F) -> (ServiceDriver<Probe<F>, Journal>, Lines) {
    let journal = Journal::default();
    let lines = Arc::clone(&journal.lines);
    (ServiceDriver::new(Probe(calls), journal, MemberId(4), ServiceId(2)), lines)
}

fn started<F: FnMut(&Cluster<'_>, Call<'_>) + Send>(calls: F) -> (ServiceDriver<Probe<F>, Journal>, Lines) {
    let (mut driver, lines) = driver(calls);
    driver.start(StartPoint::FRESH, None).unwrap();
    (driver, lines)
}

fn open<S: ClusteredService, E: Egress + 'static>(
    driver: &mut ServiceDriver<S, E>,
    position: i64,
    id: i64,
) -> Result<(), ServiceError> {
    driver.on_session_open(LogPosition(position), 5, ClusterSessionId(id), 102, "aeron:ipc", b"who")
}

fn message<S: ClusteredService, E: Egress + 'static>(
    driver: &mut ServiceDriver<S, E>,
    position: i64,
    id: i64,
) -> Result<(), ServiceError> {
    driver.on_session_message(LogPosition(position), 6, ClusterSessionId(id), b"payload")
}

const TERM: NewLeadershipTerm = NewLeadershipTerm {
    leadership_term_id: LeadershipTermId(3),
    log_position: LogPosition(96),
    timestamp: 77,
    term_base_log_position: LogPosition(0),
    leader_member_id: MemberId(1),
    log_session_id: 9,
    time_unit: ClusterTimeUnit::Nanos,
    app_version: 1,
};

#[test]
fn requests_are_refused_in_callbacks_that_no_event_caused() {
    let refusals = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&refusals);
    let (mut driver, lines) = driver(move |cluster, _| {
        let session = cluster.session(ClusterSessionId(1)).unwrap();
        let Err(ClusterError::NotAllowed(callback)) = cluster.offer(b"x") else { panic!("offer was taken") };
        let refusal = ClusterError::NotAllowed(callback);
        assert_eq!(cluster.schedule_timer(1, 1), Err(refusal));
        assert_eq!(cluster.cancel_timer(1), Err(refusal));
        assert_eq!(cluster.close_session(session.id()), Err(refusal));
        assert_eq!(session.close(), Err(refusal));
        assert_eq!(session.offer(b"x"), Err(OfferError::NotAllowed(callback)));
        assert_eq!(session.try_claim(1).err(), Some(OfferError::NotAllowed(callback)));
        seen.lock().unwrap().push(callback);
    });
    driver.restore_session(ClusterSessionId(1), 102, "aeron:ipc", b"").unwrap();
    driver.start(StartPoint::FRESH, None).unwrap();
    driver.take_snapshot(&mut MemorySnapshot::default()).unwrap();
    assert!(driver.freeze().is_some());
    driver.on_role_change(Role::Leader);
    assert_eq!(driver.do_background_work(1), 3);
    driver.terminate();
    assert!(driver.emissions().is_empty());
    assert_eq!(*lines.lock().unwrap(), ["connect 1"]);
    assert_eq!(
        *refusals.lock().unwrap(),
        [
            Callback::Start,
            Callback::TakeSnapshot,
            Callback::TakeSnapshot,
            Callback::RoleChange,
            Callback::BackgroundWork,
            Callback::Terminate
        ]
    );
}

#[test]
fn requests_are_allowed_in_every_callback_that_an_event_caused_even_after_a_lifecycle_one() {
    let (mut driver, _) = driver(|cluster, call| match call {
        Call::Start | Call::Background => {}
        Call::Timer(id) => cluster.cancel_timer(id).unwrap(),
        Call::Message(..) => cluster.schedule_timer(-1, 10).unwrap(),
        _ => cluster.offer(b"x").unwrap(),
    });
    driver.start(StartPoint::FRESH, None).unwrap();
    driver.do_background_work(0);
    driver.on_new_leadership_term(&TERM).unwrap();
    open(&mut driver, 128, 1).unwrap();
    message(&mut driver, 160, 1).unwrap();
    driver.on_timer_event(LogPosition(192), 8, 44).unwrap();
    driver.on_session_close(LogPosition(224), 9, ClusterSessionId(1), CloseReason::Timeout).unwrap();

    let mut taken = Emissions::new();
    driver.swap_emissions(&mut taken);
    let at = |position, request| Emission { position: LogPosition(position), request };
    assert_eq!(
        taken.iter().collect::<Vec<_>>(),
        [
            at(96, Request::Offer { payload: b"x" }),
            at(128, Request::Offer { payload: b"x" }),
            at(160, Request::ScheduleTimer { correlation_id: -1, deadline: 10 }),
            at(192, Request::CancelTimer { correlation_id: 44 }),
            at(224, Request::Offer { payload: b"x" }),
        ]
    );
    assert!(driver.emissions().is_empty());
    driver.swap_emissions(&mut taken);
    assert!(taken.is_empty() && driver.emissions().is_empty());
}

#[test]
fn a_message_of_a_service_or_of_a_stranger_comes_without_a_session() {
    let ids = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&ids);
    let (mut driver, _) = started(move |_, call| {
        if let Call::Message(session, payload) = call {
            assert_eq!(payload, b"payload");
            seen.lock().unwrap().push(session.map(|session| session.id().0));
        }
    });
    open(&mut driver, 32, 1).unwrap();
    for id in [1, i64::MIN + 1, 2, 1] {
        message(&mut driver, 64, id).unwrap();
    }
    assert_eq!(*ids.lock().unwrap(), [Some(1), None, None, Some(1)]);
}

#[test]
fn the_handle_shows_what_the_log_says() {
    let (mut driver, _) = started(|cluster, call| match call {
        Call::Term(term) => {
            assert_eq!(term, TERM);
            assert_eq!((cluster.time(), cluster.log_position()), (77, LogPosition(96)));
            assert_eq!(cluster.leadership_term_id(), LeadershipTermId(3));
            assert_eq!(cluster.time_unit(), ClusterTimeUnit::Nanos);
            assert_eq!((cluster.member_id(), cluster.service_id()), (MemberId(4), ServiceId(2)));
        }
        Call::Open(session) => {
            assert_eq!((session.response_stream_id(), session.response_channel()), (102, "aeron:ipc"));
            assert_eq!(session.principal(), b"who");
            assert_eq!(cluster.sessions().last().map(|last| last.id()), Some(session.id()));
        }
        _ => {}
    });
    driver.on_new_leadership_term(&TERM).unwrap();
    open(&mut driver, 128, 1).unwrap();
    open(&mut driver, 160, 2).unwrap();
    driver.on_cluster_action(LogPosition(192), 99);
    assert_eq!((driver.log_position(), driver.time()), (LogPosition(192), 99));
    assert_eq!(driver.sessions().map(|session| session.id().0).collect::<Vec<_>>(), [1, 2]);
}

#[test]
fn a_service_that_ignores_full_emissions_is_stopped() {
    let (mut driver, _) = started(|cluster, _| {
        let _ = cluster.offer(&[0; 100]);
    });
    driver.swap_emissions(&mut Emissions::with_length_max(200));
    message(&mut driver, 32, 1).unwrap();
    let error = message(&mut driver, 64, 1).unwrap_err();
    assert!(error.message().starts_with("service 2 at 64:"), "{error}");
    driver.swap_emissions(&mut Emissions::new());
    assert!(message(&mut driver, 96, 1).is_err(), "the lost request is not forgotten");
}

#[test]
fn what_no_log_takes_is_refused_and_the_service_goes_on() {
    let (mut driver, _) = started(|cluster, call| {
        if let Call::Message(..) = call {
            assert_eq!(cluster.offer(&[0; 101]), Err(ClusterError::TooLong { length: 101, length_max: 100 }));
            assert_eq!(cluster.offer(&[0; 100]), Ok(()));
        }
    });
    driver.limit_offers(100);
    message(&mut driver, 32, 1).unwrap();
    message(&mut driver, 64, 1).unwrap();
    assert_eq!(driver.emissions().count(), 2);
}

#[test]
fn replies_of_a_follower_succeed_and_go_nowhere() {
    let (mut driver, lines) = started(|cluster, call| {
        if let Call::Message(Some(session), _) = call {
            assert_eq!(cluster.role(), Role::Follower);
            assert_eq!(session.offer(b"reply"), Ok(()));
            let mut claim = session.try_claim(MOCKED_MAX).unwrap();
            claim.fill(7);
            assert_eq!(claim.len(), MOCKED_MAX);
            assert_eq!(claim.commit(), Ok(()));
            let length_max = MOCKED_MAX;
            let length = length_max + 1;
            assert_eq!(session.try_claim(length).err(), Some(OfferError::TooLong { length, length_max }));
        }
    });
    open(&mut driver, 32, 1).unwrap();
    message(&mut driver, 64, 1).unwrap();
    assert!(lines.lock().unwrap().is_empty());
}

const MOCKED_MAX: usize = crate::MOCKED_CLAIM_LENGTH_MAX;

#[test]
fn replies_of_a_leader_go_to_the_egress_with_their_header() {
    let (mut driver, lines) = started(|_, call| {
        if let Call::Message(Some(session), _) = call {
            session.offer(&[1]).unwrap();
            let mut claim: Claim<'_> = session.try_claim(2).unwrap();
            claim[1] = 9;
            claim.commit().unwrap();
            drop(session.try_claim(5).unwrap());
        }
    });
    driver.on_new_leadership_term(&TERM).unwrap();
    driver.on_role_change(Role::Leader);
    open(&mut driver, 128, 1).unwrap();
    message(&mut driver, 160, 1).unwrap();
    assert_eq!(
        *lines.lock().unwrap(),
        ["connect 1", "offer term=3 session=1 time=6 [1]", "commit [0, 9]", "abort"]
    );
}

#[test]
fn a_second_reply_while_a_claim_is_open_fails_on_every_node() {
    let (mut driver, _) = started(|cluster, call| {
        if let Call::Message(Some(session), _) = call {
            let claim = session.try_claim(1).unwrap();
            assert_eq!(session.offer(b"x"), Err(OfferError::ClaimOpen));
            assert_eq!(session.try_claim(1).err(), Some(OfferError::ClaimOpen));
            cluster.idle();
            drop(claim);
            session.offer(b"x").unwrap();
        }
    });
    open(&mut driver, 32, 1).unwrap();
    message(&mut driver, 64, 1).unwrap();
    driver.on_role_change(Role::Leader);
    message(&mut driver, 96, 1).unwrap();
}

#[test]
fn a_closed_session_has_left_the_table_when_the_service_is_told() {
    let reasons = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&reasons);
    let (mut driver, lines) = started(move |cluster, call| {
        if let Call::Close(session, reason) = call {
            assert_eq!(cluster.sessions().len(), 0);
            assert!(cluster.session(session.id()).is_none());
            assert_eq!(cluster.close_session(session.id()), Err(ClusterError::UnknownSession(session.id())));
            session.close().unwrap();
            seen.lock().unwrap().push(reason);
        }
    });
    driver.on_role_change(Role::Leader);
    open(&mut driver, 32, 1).unwrap();
    let close = (6, ClusterSessionId(1), CloseReason::ServiceAction);
    driver.on_session_close(LogPosition(64), close.0, close.1, close.2).unwrap();
    assert_eq!(driver.unknown_close_count(), 0);
    driver.on_session_close(LogPosition(96), close.0, close.1, close.2).unwrap();
    assert_eq!(driver.unknown_close_count(), 1);
    assert_eq!(*reasons.lock().unwrap(), [CloseReason::ServiceAction]);
    assert_eq!(*lines.lock().unwrap(), ["connect 1", "disconnect 1"]);
    assert!(driver.emissions().is_empty());
}

#[test]
fn a_close_is_requested_once_and_once_more_after_the_node_began_to_lead() {
    let (mut driver, _) = started(|_, call| {
        if let Call::Message(Some(session), _) = call {
            session.close().unwrap();
            assert!(session.is_closing());
            session.close().unwrap();
        }
    });
    open(&mut driver, 32, 1).unwrap();
    message(&mut driver, 64, 1).unwrap();
    message(&mut driver, 96, 1).unwrap();
    assert_eq!(driver.emissions().count(), 1);
    driver.on_role_change(Role::Leader);
    message(&mut driver, 128, 1).unwrap();
    assert_eq!(driver.emissions().count(), 2);
}

#[test]
fn a_reserved_value_is_refused() {
    let (mut driver, _) = started(|cluster, call| {
        if let Call::Message(..) = call {
            assert_eq!(cluster.schedule_timer(i64::MAX, 0), Err(ClusterError::ReservedValue));
            assert_eq!(cluster.schedule_timer(0, i64::MAX), Err(ClusterError::ReservedValue));
            assert_eq!(cluster.cancel_timer(i64::MAX), Err(ClusterError::ReservedValue));
        }
    });
    message(&mut driver, 32, 1).unwrap();
    assert!(driver.emissions().is_empty());
}

#[test]
fn a_session_that_opens_twice_is_an_error_of_the_log() {
    let (mut driver, _) = started(|_, _| {});
    open(&mut driver, 32, 1).unwrap();
    assert!(open(&mut driver, 64, 1).unwrap_err().message().contains("opens session 1 at 64"));
}

#[test]
fn a_change_to_the_same_role_is_no_change() {
    let roles = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&roles);
    let (mut driver, lines) = started(move |_, call| {
        if let Call::Role(role) = call {
            seen.lock().unwrap().push(role);
        }
    });
    open(&mut driver, 32, 1).unwrap();
    for role in [Role::Follower, Role::Leader, Role::Leader, Role::Follower] {
        driver.on_role_change(role);
    }
    assert_eq!(*roles.lock().unwrap(), [Role::Leader, Role::Follower]);
    assert_eq!(*lines.lock().unwrap(), ["connect 1", "disconnect 1"]);
}

#[test]
fn a_start_from_a_snapshot_stands_where_the_snapshot_does() {
    let (mut driver, _) = driver(|cluster, call| {
        if let Call::Start = call {
            assert_eq!(cluster.sessions().map(|session| session.id().0).collect::<Vec<_>>(), [1, 2]);
            assert_eq!((cluster.log_position(), cluster.time()), (LogPosition(640), 12));
        }
    });
    let mut good = MemorySnapshot::default();
    good.write(b"good").unwrap();
    let point = StartPoint {
        log_position: LogPosition(640),
        leadership_term_id: LeadershipTermId(5),
        timestamp: 12,
        time_unit: ClusterTimeUnit::Micros,
    };
    let restore = |driver: &mut ServiceDriver<_, _>| {
        driver.restore_session(ClusterSessionId(2), 102, "aeron:ipc", b"").unwrap();
        driver.restore_session(ClusterSessionId(1), 102, "aeron:ipc", b"").unwrap();
        assert!(driver.restore_session(ClusterSessionId(1), 102, "aeron:ipc", b"").is_err());
    };
    restore(&mut driver);
    let error = driver.start(point, Some(&mut MemorySnapshot::default().reader())).unwrap_err();
    assert_eq!(error.message(), "bad snapshot");
    assert_eq!(driver.sessions().len(), 0);
    restore(&mut driver);
    driver.start(point, Some(&mut good.reader())).unwrap();
    assert_eq!(
        (driver.leadership_term_id(), driver.time_unit()),
        (LeadershipTermId(5), ClusterTimeUnit::Micros)
    );
}

#[test]
fn a_frozen_state_can_be_written_on_another_thread() {
    let (mut driver, _) = started(|_, _| {});
    let frozen = driver.freeze().unwrap();
    let snapshot = std::thread::spawn(move || {
        let mut snapshot = MemorySnapshot::default();
        frozen.write(&mut snapshot).map(|()| snapshot)
    });
    assert_eq!(snapshot.join().unwrap().unwrap().messages(), [b"good"]);
}

#[test]
#[should_panic(expected = "the log runs forwards")]
fn a_position_that_goes_back_is_our_own_mistake() {
    let (mut driver, _) = started(|_, _| {});
    message(&mut driver, 64, 1).unwrap();
    let _ = message(&mut driver, 32, 1);
}

#[test]
#[should_panic(expected = "not started")]
fn an_event_before_the_start_is_our_own_mistake() {
    let (mut driver, _) = driver(|_, _| {});
    let _ = message(&mut driver, 64, 1);
}

#[test]
fn termination_comes_once_and_not_after_a_failed_start() {
    let ends = Arc::new(Mutex::new(0));
    let seen = Arc::clone(&ends);
    let (mut driver, _) = driver(move |_, call| {
        if let Call::Terminate = call {
            *seen.lock().unwrap() += 1;
        }
    });
    driver.start(StartPoint::FRESH, Some(&mut MemorySnapshot::default().reader())).unwrap_err();
    driver.terminate();
    assert_eq!(*ends.lock().unwrap(), 0);
    driver.start(StartPoint::FRESH, None).unwrap();
    driver.terminate();
    driver.terminate();
    assert_eq!(*ends.lock().unwrap(), 1);
}

#[test]
fn a_driver_of_a_boxed_service_can_move_to_the_thread_of_its_agent() {
    fn assert_send<T: Send>(_: &T) {}
    let service: Box<dyn ClusteredService> = Box::new(Probe(|_: &Cluster<'_>, _: Call<'_>| {}));
    let mut driver = ServiceDriver::without_egress(service, MemberId(0), ServiceId(0));
    assert_send(&driver);
    driver.start(StartPoint::FRESH, None).unwrap();
    message(&mut driver, 32, 1).unwrap();
}
