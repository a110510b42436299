use std::collections::HashMap;

use super::*;
use crate::{
    ClientSession, CloseReason, Cluster, ClusterSessionId, ClusteredService, OfferError, Role, ServiceError,
    SnapshotReader, SnapshotWriter,
};

/// Which mistake the service makes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Slip {
    None,
    HashMapOrder,
    ForgetsInSnapshot,
    SnapshotChangesState,
    LooksAtRole,
    LooksAtReplies,
    LooksAtClosing,
    CountsInstances(u64),
    RefusesSnapshot,
}

/// Sums what each key got; `due` counts timers.
#[derive(Debug)]
struct Sums {
    slip: Slip,
    sums: HashMap<u8, u64>,
    due: u64,
}

fn sums(slip: Slip) -> Sums {
    Sums { slip, sums: HashMap::new(), due: 0 }
}

impl ClusteredService for Sums {
    fn on_start(
        &mut self,
        _cluster: &Cluster<'_>,
        snapshot: Option<&mut dyn SnapshotReader>,
    ) -> Result<(), ServiceError> {
        let Some(snapshot) = snapshot else { return Ok(()) };
        if self.slip == Slip::RefusesSnapshot {
            return Err("it is not mine".into());
        }
        let due = snapshot.read()?.ok_or("empty")?;
        self.due = u64::from_le_bytes(due.try_into().map_err(|_| "due is not 8 bytes")?);
        while let Some(entry) = snapshot.read()? {
            let (key, sum) = entry.split_first().ok_or("an empty entry")?;
            self.sums.insert(*key, u64::from_le_bytes(sum.try_into().map_err(|_| "a sum is not 8 bytes")?));
        }
        Ok(())
    }

    fn on_session_message(
        &mut self,
        cluster: &Cluster<'_>,
        session: Option<ClientSession<'_>>,
        timestamp: i64,
        payload: &[u8],
    ) {
        for byte in payload {
            *self.sums.entry(byte % 32).or_default() += u64::from(*byte);
        }
        if self.slip == Slip::LooksAtRole && cluster.role() == Role::Leader {
            self.due += 1;
        }
        if let Slip::CountsInstances(instance) = self.slip {
            self.due += instance / 2;
        }
        if let Some(session) = session {
            let reply = session.offer(payload);
            if self.slip == Slip::LooksAtReplies && reply.is_err() {
                self.due += 1;
            }
            if self.slip == Slip::LooksAtClosing {
                self.due += u64::from(session.is_closing());
                session.close().unwrap();
            }
            cluster.schedule_timer(i64::from(payload[0]), timestamp + 100).unwrap();
        }
    }

    fn on_timer_event(&mut self, cluster: &Cluster<'_>, correlation_id: i64, _timestamp: i64) {
        self.due += 1;
        cluster.offer(format!("{correlation_id} {}", self.due).as_bytes()).unwrap();
    }

    fn on_take_snapshot(
        &mut self,
        _cluster: &Cluster<'_>,
        snapshot: &mut dyn SnapshotWriter,
    ) -> Result<(), ServiceError> {
        let due = if self.slip == Slip::ForgetsInSnapshot { 0 } else { self.due };
        snapshot.write(&due.to_le_bytes())?;
        if self.slip == Slip::SnapshotChangesState {
            self.due += 1;
        }
        let mut entries: Vec<_> = self.sums.iter().map(|(key, sum)| (*key, *sum)).collect();
        if self.slip != Slip::HashMapOrder {
            entries.sort_unstable();
        }
        entries.iter().try_for_each(|(key, sum)| snapshot.write(&[&[*key][..], &sum.to_le_bytes()].concat()))
    }
}

fn log() -> EventLog {
    let mut log = EventLog::new();
    log.open(1).open_as(2, "trader").message(1, b"hello").message(2, b"world");
    log.advance_time(100).fire_timers().deliver_offers().message(1, (0..100).collect::<Vec<u8>>());
    log.term().close(2, CloseReason::Timeout).message(1, b"again").advance_time(99).fire_timers();
    log.advance_time(1).fire_timers().snapshot();
    log
}

fn divergence(slip: Slip) -> Divergence {
    check_determinism(|| sums(slip), &log()).expect_err("the slip shows")
}

#[test]
fn a_sound_service_passes() {
    assert_deterministic(|| sums(Slip::None), &log());
    assert_deterministic(|| sums(Slip::None), &EventLog::new());
}

#[test]
fn the_order_of_a_hash_map_shows_in_a_second_run() {
    let divergence = divergence(Slip::HashMapOrder);
    assert_eq!(divergence.run, "a second run");
    assert!(divergence.what.contains("of the snapshot is"), "{divergence}");
}

#[test]
fn state_from_outside_the_log_shows_at_the_event_that_reveals_it() {
    let mut instance = 0;
    let factory = || {
        instance += 1;
        sums(Slip::CountsInstances(instance))
    };
    let divergence = check_determinism(factory, &log()).unwrap_err();
    assert_eq!(divergence.run, "a second run");
    // Term, two opens, two messages, and the first timer is event 5.
    assert_eq!(divergence.event, Some(5));
    assert!(divergence.what.starts_with("timer 104 at "), "{divergence}");
}

#[test]
fn state_that_a_snapshot_forgets_shows_after_the_restore() {
    let divergence = divergence(Slip::ForgetsInSnapshot);
    assert!(divergence.run.starts_with("a run restored after step"), "{divergence}");
    assert!(divergence.what.contains("emitted"), "{divergence}");
}

#[test]
fn a_snapshot_that_changes_the_state_is_found() {
    assert!(divergence(Slip::SnapshotChangesState).run.starts_with("a run with a snapshot after step 0"));
}

#[test]
fn state_that_depends_on_the_role_or_on_a_reply_is_found() {
    assert_eq!(divergence(Slip::LooksAtRole).run, "a run on a standby");
    assert_eq!(divergence(Slip::LooksAtReplies).run, "a run without connected clients");
}

#[test]
fn state_that_depends_on_a_close_that_was_requested_is_found() {
    let divergence = divergence(Slip::LooksAtClosing);
    assert!(divergence.run.starts_with("a run restored after step"), "{divergence}");
}

#[test]
fn a_close_that_is_requested_again_after_a_restart_is_no_difference() {
    let mut log = EventLog::new();
    log.open(1).message(1, b"x").message(1, b"x").deliver_closes();
    assert_deterministic(|| Scheduler, &log);
}

#[test]
fn a_service_that_refuses_its_own_snapshot_is_found() {
    let divergence = divergence(Slip::RefusesSnapshot);
    assert_eq!(divergence.what, "the snapshot was refused: it is not mine");
}

#[test]
#[should_panic(expected = "the service is not deterministic: a run on a standby differs")]
fn the_assertion_says_what_differs() {
    assert_deterministic(|| sums(Slip::LooksAtRole), &log());
}

/// Schedules and cancels as told: `+id delay` or `-id`, one byte each.
struct Scheduler;

impl ClusteredService for Scheduler {
    fn on_start(
        &mut self,
        _cluster: &Cluster<'_>,
        _snapshot: Option<&mut dyn SnapshotReader>,
    ) -> Result<(), ServiceError> {
        Ok(())
    }

    fn on_session_message(
        &mut self,
        cluster: &Cluster<'_>,
        session: Option<ClientSession<'_>>,
        timestamp: i64,
        payload: &[u8],
    ) {
        match payload {
            [b'+', id, delay] => {
                cluster.schedule_timer((*id).into(), timestamp + i64::from(*delay)).unwrap();
            }
            [b'-', id] => cluster.cancel_timer((*id).into()).unwrap(),
            [b'x'] => session.unwrap().close().unwrap(),
            _ => {}
        }
    }

    fn on_timer_event(&mut self, cluster: &Cluster<'_>, correlation_id: i64, _timestamp: i64) {
        if correlation_id == 3 {
            cluster.cancel_timer(2).unwrap();
        }
    }

    fn on_take_snapshot(
        &mut self,
        _cluster: &Cluster<'_>,
        _snapshot: &mut dyn SnapshotWriter,
    ) -> Result<(), ServiceError> {
        Ok(())
    }
}

fn descriptions<S: ClusteredService>(kit: &TestKit<S>) -> Vec<&str> {
    kit.events().iter().map(|event| event.description.as_str()).collect()
}

#[test]
fn due_timers_fire_by_deadline_and_not_after_they_were_moved_or_cancelled() {
    let mut kit = TestKit::new(Scheduler);
    kit.open(1);
    for message in
        [&b"+\x01\x1e"[..], b"+\x02\x14", b"+\x03\x0a", b"+\x04\x05", b"-\x04", b"+\x05\x64", b"+\x06\x1e"]
    {
        kit.message(1, message);
    }
    let events_before = kit.events().len();
    kit.fire_timers();
    assert_eq!(kit.events().len(), events_before);
    kit.advance_time(30).fire_timers().fire_timers();
    // 3 fires first and cancels 2; 4 was cancelled, 5 is not due.
    assert_eq!(descriptions(&kit)[events_before..], ["timer 3", "timer 1", "timer 6"]);
    assert_eq!(kit.timers().keys().copied().collect::<Vec<_>>(), [5]);
}

#[test]
fn a_requested_close_happens_when_the_test_lets_it() {
    let mut kit = TestKit::new(Scheduler);
    kit.open(1).message(1, b"x");
    assert_eq!(kit.emitted(), [Emitted::CloseSession { id: ClusterSessionId(1) }]);
    kit.follow().lead().message(1, b"x");
    assert_eq!(kit.emitted().len(), 1, "it is under way");
    kit.deliver_closes().deliver_closes();
    assert_eq!(*descriptions(&kit).last().unwrap(), "close of session 1");
    assert_eq!(kit.driver_mut().sessions().len(), 0);
}

#[test]
fn replies_arrive_while_the_node_leads_and_clients_are_there() {
    let mut kit = TestKit::following(sums(Slip::None));
    kit.open(1).message(1, b"dropped").lead().message(1, b"sent");
    kit.refuse_replies(Some(OfferError::BackPressured)).message(1, b"refused").refuse_replies(None);
    kit.message(1, b"sent too").follow().message(1, b"dropped too");
    let replies = kit.replies();
    assert_eq!(replies.iter().map(|reply| &*reply.payload).collect::<Vec<_>>(), [&b"sent"[..], b"sent too"]);
}

#[test]
#[should_panic(expected = "opens session 1")]
fn an_event_that_a_runtime_would_stop_at_panics() {
    TestKit::new(Scheduler).open(1).open(1);
}
