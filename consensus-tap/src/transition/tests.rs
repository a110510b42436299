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
        log: Some(LogFacts {
            recording_id: 3,
            leadership_term_id: 7,
            end_position: 4096,
            applied_position: 4064,
            is_read: true,
        }),
        tap_state: TapState::BackupQuery,
        source_member_id: -1,
        received_position: 4096,
        last_byte_ns: now_ns - 2_000 * MS,
        source_position: Some(SourcePosition { position: 4128, told_ns: now_ns - 2_050 * MS }),
        overdue_ns: 50 * MS,
        unverified_end: None,
        leadership_term_id: 7,
        recorded_term_id: 7,
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
fn a_node_that_begins_a_cluster_writes_so_first_and_has_nobody_to_ask_without_standbys() {
    let mut transition = transition(false);
    transition.on_bootstrap();
    let log = LogFacts {
        recording_id: 3,
        leadership_term_id: -1,
        end_position: 0,
        applied_position: 0,
        is_read: true,
    };
    let facts = Facts {
        service_count: 1,
        log: Some(log),
        leadership_term_id: -1,
        recorded_term_id: -1,
        ..Facts::default()
    };
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

/// A node that led in term 20, and is started again at `NOW`.
fn restarted(forced: &[&str], standby_ids: &[i32]) -> Transition {
    let config = TransitionConfig {
        member_id: 100,
        standby_ids: standby_ids.to_vec(),
        has_fence: true,
        seed: 1,
        ..TransitionConfig::default()
    };
    let forced = ForcedChecks::from_names(forced.iter().copied()).unwrap();
    let led = Led { leadership_term_id: 20, claim_id: 5, forced, is_fenced: false };
    Transition::new(config, Remembered { led: Some(led), grant: None })
}

/// Runs a restart to its end, and tells when that came. `step` sees each cycle first.
fn resumed(
    transition: &mut Transition,
    facts: &Facts,
    mut step: impl FnMut(&mut Transition, u64),
) -> (u64, Outcome) {
    for ms in 0..10_000 {
        let now_ns = NOW + ms * MS;
        step(transition, now_ns);
        transition.on_timeout(now_ns, &Facts { members_ns: now_ns, ..facts.clone() });
        while let Some(action) = transition.poll_action() {
            match action {
                TransitionAction::Seal => transition.on_sealed(4096, now_ns),
                TransitionAction::Fence { .. } => transition.on_fenced(Ok(())),
                TransitionAction::Record(_) => transition.on_recorded(Ok(()), now_ns),
                TransitionAction::Lead(_) => transition.on_leading(now_ns),
                TransitionAction::Done(outcome) => return (ms, outcome),
                _ => {}
            }
        }
    }
    panic!("no end: {transition:#?}");
}

#[test]
fn what_was_forced_of_others_counts_no_more_at_a_restart() {
    let mut transition = restarted(&["standby-unreachable", "member-living"], &[101]);
    let (ms, outcome) = resumed(&mut transition, &facts(NOW), |_, _| ());
    assert_eq!(refused(outcome), ["standby-unreachable"]);
    assert!(ms >= 2_000, "it listened for {ms} ms only");
    let mut living = facts(NOW);
    living.members[0].last_sign_ns = Some(NOW + 60_000 * MS);
    let (_, outcome) = resumed(&mut restarted(&["member-living"], &[]), &living, |_, _| ());
    assert_eq!(refused(outcome), ["member-living"]);
}

#[test]
fn a_member_that_is_not_probed_is_passed_over_again_but_not_before_others_could_speak() {
    let mut unknown = facts(NOW);
    unknown.members[0] =
        MemberSign { probed_since_ns: None, last_sign_ns: None, ..unknown.members[0].clone() };
    let (ms, outcome) = resumed(&mut restarted(&["member-unknown"], &[]), &unknown, |_, _| ());
    assert!(matches!(outcome, Outcome::Active { .. }), "{outcome:?}");
    assert!(ms >= 2_000, "it listened for {ms} ms only");
    let speak = |transition: &mut Transition, now_ns: u64| {
        if now_ns == NOW + 100 * MS {
            transition.on_beacon(&beacon(101, 1, 31), now_ns);
        }
    };
    let (_, outcome) = resumed(&mut restarted(&["member-unknown"], &[101]), &unknown, speak);
    assert_eq!(refused(outcome), ["standby-active"]);
}

/// Of an active standby.
fn beacon(member_id: i32, incarnation: i64, leadership_term_id: i64) -> Beacon {
    Beacon {
        member_id,
        state: TransitionState::Active,
        incarnation,
        sequence: 1,
        leadership_term_id,
        log_position: 4096,
        log_term_id: leadership_term_id,
        claim_id: 9,
        grant: None,
    }
}

#[test]
fn a_log_that_ends_in_a_newer_term_is_ahead_however_short_and_it_is_said_of_which_standby() {
    let refusal = |log_term_id, leadership_term_id, log_position| {
        let config = TransitionConfig {
            member_id: 100,
            has_fence: true,
            standby_ids: vec![101],
            ..Default::default()
        };
        let mut transition = Transition::new(config, Remembered::default());
        // It has listened for long enough to know.
        transition.on_timeout(NOW - 10_000 * MS, &facts(NOW - 10_000 * MS));
        let told = Beacon { log_term_id, log_position, ..beacon(101, 1, leadership_term_id) };
        transition.on_beacon(&Beacon { state: TransitionState::Fenced, claim_id: NO_CLAIM, ..told }, NOW);
        let outcome = outcome(&mut transition, true, &[], &facts(NOW));
        match outcome {
            Outcome::Refused(refusals) => Some(refusals[0].reason.clone()),
            _ => None,
        }
    };
    for (beacon, word) in [
        ((8, 8, 64), "ends in term 8, this one's in term 7"),
        ((UNREAD, 8, 64), "has not read its log to its end, which may be of term 8"),
        ((7, 7, 4128), "reaches 4128, this one's 4096"),
    ] {
        let reason = refusal(beacon.0, beacon.1, beacon.2).expect("it is refused");
        assert!(reason.contains("standby 101") && reason.contains(word), "{reason}");
    }
    for not_ahead in [(6, 8, 1 << 30), (UNREAD, 7, 4096), (7, 8, 4096), (UNREAD, 8, -1)] {
        assert_eq!(refusal(not_ahead.0, not_ahead.1, not_ahead.2), None, "{not_ahead:?}");
    }
}

#[test]
fn of_two_that_lead_in_one_term_that_of_the_smaller_id_goes_on() {
    for (other, is_ended) in [(99, true), (101, false)] {
        let config = TransitionConfig { member_id: 100, standby_ids: vec![other], ..Default::default() };
        let led = Led { leadership_term_id: 7, claim_id: 5, forced: ForcedChecks::NONE, is_fenced: false };
        let mut transition = Transition::new(config, Remembered { led: Some(led), grant: None });
        transition.resting = TransitionState::Active;
        transition.on_beacon(&beacon(other, 1, 7), NOW);
        assert_eq!(transition.state() == TransitionState::Fenced, is_ended, "beside {other}");
    }
}

#[test]
fn a_term_that_no_cluster_can_have_come_to_is_reason_to_refuse() {
    for told in [7 + 16_384, i64::MAX] {
        let far = Facts { leadership_term_id: told, ..facts(NOW) };
        assert_eq!(refused(outcome(&mut transition(true), false, &[], &far)), ["term-too-far"], "{told}");
    }
    let near = Facts { leadership_term_id: 7 + 16_384 - 10, ..facts(NOW) };
    assert!(matches!(outcome(&mut transition(true), false, &[], &near), Outcome::Active { .. }));
}

#[test]
fn a_standby_that_was_restarted_with_its_clock_set_back_is_heard_after_a_silence() {
    let mut peers = Peers::new(100, &[101], 1_000 * MS);
    assert!(peers.on_beacon(&beacon(101, 50, 7), NOW));
    assert!(!peers.on_beacon(&beacon(101, 40, 8), NOW + 9_000 * MS), "it may have been under way");
    assert!(peers.on_beacon(&beacon(101, 40, 8), NOW + 10_000 * MS));
    assert_eq!(peers.newest_term_id(), 8);
}
