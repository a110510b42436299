//! What operators are told. What must hold whatever happens is the simulation's to show.

use super::*;
use crate::tap::TapState;

const MS: u64 = 1_000_000;
const NOW: u64 = 60_000 * MS;

fn transition(has_fence: bool) -> Transition {
    let config = TransitionConfig { member_id: 100, has_fence, seed: 1, ..TransitionConfig::default() };
    Transition::new(config, Remembered::default())
}

/// A standby whose cluster of one died two seconds ago, just after it had told its position.
fn facts(now_ns: u64) -> Facts {
    Facts {
        service_count: 1,
        log: Some(LogFacts { recording_id: 3, end_position: 4096, applied_position: 4064, is_read: true }),
        tap_state: TapState::BackupQuery,
        source_member_id: -1,
        received_position: 4096,
        last_byte_ns: now_ns - 2_000 * MS,
        source_position: Some(SourcePosition { position: 4128, told_ns: now_ns - 2_050 * MS }),
        overdue_ns: 50 * MS,
        unverified_end: None,
        leadership_term_id: 7,
        are_members_named: true,
        members: vec![MemberSign {
            member_id: 0,
            endpoint: "m:9003".to_owned(),
            probed_since_ns: Some(0),
            last_sign_ns: Some(now_ns - 2_000 * MS),
        }],
        members_ns: now_ns,
    }
}

/// Asks, answers what is asked for, and tells how it ended.
fn outcome(transition: &mut Transition, is_dry_run: bool, forced: &[&str], facts: &Facts) -> Outcome {
    let forced = ForcedChecks::from_names(forced.iter().copied()).unwrap();
    assert!(transition.on_request(is_dry_run, forced, NOW));
    for step in 0..10_000 {
        let now_ns = NOW + step * MS;
        transition.on_timeout(now_ns, &Facts { members_ns: now_ns, ..facts.clone() });
        while let Some(action) = transition.poll_action() {
            match action {
                TransitionAction::Seal => transition.on_sealed(4096, now_ns),
                TransitionAction::Fence { .. } => transition.on_fenced(Ok(())),
                TransitionAction::Record(_) => transition.on_recorded(Ok(()), now_ns),
                TransitionAction::Lead(_) => transition.on_leading(now_ns),
                TransitionAction::Done(outcome) => return outcome,
                _ => {}
            }
        }
    }
    panic!("no end: {transition:#?}");
}

fn refused(outcome: Outcome) -> Vec<&'static str> {
    match outcome {
        Outcome::Refused(refusals) => refusals.iter().map(|refusal| refusal.check.name()).collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_standby_whose_cluster_is_silent_leads_ten_terms_later_and_says_what_was_lost() {
    let mut transition = transition(true);
    let outcome = outcome(&mut transition, false, &[], &facts(NOW));
    assert_eq!(outcome, Outcome::Active { leadership_term_id: 17, base_log_position: 4096 });
    assert_eq!((transition.state(), transition.counter_value()), (TransitionState::Active, 8));
    let report = transition.report().unwrap();
    let states: Vec<&str> = report.steps.iter().map(|step| step.state.name()).collect();
    assert_eq!(states, ["DRAIN", "CHECK", "CLAIM", "SEAL", "SEAL", "FENCE", "TERM", "SERVE", "ACTIVE"]);
    assert_eq!(report.loss.known_bytes(), Some(64));
    assert!(!transition.on_request(false, ForcedChecks::NONE, NOW), "it leads already");
}

#[test]
fn a_dry_run_says_all_that_speaks_against_it_and_changes_nothing() {
    let mut transition = transition(false);
    let mut facts = facts(NOW);
    facts.members[0].last_sign_ns = Some(NOW + 60_000 * MS);
    facts.source_position = None;
    let dry = outcome(&mut transition, true, &[], &facts);
    assert_eq!(refused(dry), ["unfenced", "member-living", "position-unknown"]);
    assert_eq!((transition.state(), transition.counter_value()), (TransitionState::Following, 0));
    let real = outcome(&mut transition, false, &[], &facts);
    assert_eq!(refused(real), ["unfenced", "member-living"]);
    assert_eq!(transition.counter_value(), Check::Unfenced.value());
}

#[test]
fn what_is_forced_is_passed_over_and_nothing_else() {
    let mut blind = facts(NOW);
    blind.are_members_named = false;
    blind.members.clear();
    blind.source_position = None;
    let outcome = |forced: &[&str]| outcome(&mut transition(true), false, forced, &blind);
    assert_eq!(refused(outcome(&[])), ["member-unknown", "position-unknown"]);
    assert_eq!(refused(outcome(&["member-unknown"])), ["position-unknown"]);
    assert!(matches!(outcome(&["member-unknown", "position-unknown"]), Outcome::Active { .. }));
}

#[test]
fn a_source_that_was_far_ahead_when_it_fell_silent_is_reason_to_refuse() {
    let mut far = facts(NOW);
    far.source_position = Some(SourcePosition { position: 1 << 30, told_ns: NOW });
    far.overdue_ns = 5_000 * MS;
    assert_eq!(refused(outcome(&mut transition(true), false, &[], &far)), ["behind"]);
    assert!(matches!(outcome(&mut transition(true), false, &["behind"], &far), Outcome::Active { .. }));
}

#[test]
fn signs_that_nobody_looked_at_for_a_while_prove_nothing() {
    let mut transition = transition(true);
    assert!(transition.on_request(false, ForcedChecks::NONE, NOW));
    let mut ended = None;
    for step in 0..5_000 {
        transition.on_timeout(NOW + step * MS, &Facts { members_ns: NOW - 600 * MS, ..facts(NOW) });
        while let Some(action) = transition.poll_action() {
            if let TransitionAction::Done(outcome) = action {
                ended = Some(outcome);
            }
        }
    }
    assert_eq!(refused(ended.expect("an end")), ["member-unknown"]);
}

#[test]
fn a_node_that_begins_a_cluster_writes_so_first_and_asks_nobody() {
    let mut transition = transition(false);
    transition.on_bootstrap();
    let log = LogFacts { recording_id: 3, end_position: 0, applied_position: 0, is_read: true };
    let facts = Facts { service_count: 1, log: Some(log), leadership_term_id: -1, ..Facts::default() };
    transition.on_timeout(NOW, &Facts { log: None, ..facts.clone() });
    assert_eq!((transition.poll_action(), transition.may_follow()), (None, true), "the log is not read yet");
    transition.on_timeout(NOW, &facts);
    let Some(TransitionAction::Record(decision)) = transition.poll_action() else {
        panic!("{transition:#?}")
    };
    assert_eq!((decision.leadership_term_id, decision.base_log_position), (0, 0));
    assert!(!decision.is_resumed && decision.claim_id != NO_CLAIM);
    assert_eq!(transition.poll_action(), None, "it leads once that is on the disk");
    transition.on_recorded(Ok(()), NOW);
    assert_eq!(transition.poll_action(), Some(TransitionAction::Lead(decision)));
    transition.on_leading(NOW);
    assert_eq!(transition.state(), TransitionState::Active);
    assert_eq!(transition.beacon().claim_id, decision.claim_id, "others promise not to lead");
}

#[test]
fn a_node_whose_log_says_that_it_led_is_asked_what_a_restart_is_asked() {
    let mut transition = transition(false);
    transition.on_own_log(7);
    assert!(!transition.may_follow());
    transition.on_timeout(NOW, &facts(NOW));
    let ended = std::iter::from_fn(|| transition.poll_action()).find_map(|action| match action {
        TransitionAction::Done(outcome) => Some(outcome),
        _ => None,
    });
    assert_eq!(refused(ended.expect("an end")), ["unfenced"]);
    assert_eq!(transition.state(), TransitionState::Fenced);
}

#[test]
fn a_fence_that_fails_leads_back_to_the_source() {
    let mut transition = transition(true);
    assert!(transition.on_request(false, ForcedChecks::NONE, NOW));
    let mut seen = Vec::new();
    for step in 0..100 {
        transition.on_timeout(NOW + step * MS, &facts(NOW));
        while let Some(action) = transition.poll_action() {
            match &action {
                TransitionAction::Seal => transition.on_sealed(4096, NOW),
                TransitionAction::Fence { .. } => transition.on_fenced(Err("exit status 1".to_owned())),
                _ => {}
            }
            seen.push(action);
        }
    }
    assert!(seen.contains(&TransitionAction::Unseal), "{seen:?}");
    let Some(TransitionAction::Done(outcome)) = seen.pop() else { panic!("{seen:?}") };
    assert_eq!(refused(outcome), ["fence-failed"]);
    assert_eq!(transition.state(), TransitionState::Following);
}

#[test]
fn a_decision_that_may_not_be_on_the_disk_ends_fenced() {
    let mut transition = transition(true);
    assert!(transition.on_request(false, ForcedChecks::NONE, NOW));
    for step in 0..100 {
        transition.on_timeout(NOW + step * MS, &facts(NOW));
        while let Some(action) = transition.poll_action() {
            match action {
                TransitionAction::Seal => transition.on_sealed(4096, NOW),
                TransitionAction::Fence { .. } => transition.on_fenced(Ok(())),
                TransitionAction::Record(_) => transition.on_recorded(Err("disk full".to_owned()), NOW),
                TransitionAction::Lead(_) | TransitionAction::Unseal => panic!("{action:?}"),
                _ => {}
            }
        }
    }
    assert_eq!(transition.state(), TransitionState::Fenced);
    assert!(!transition.may_follow());
}
