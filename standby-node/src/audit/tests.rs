use std::sync::{Arc, Mutex};

use proptest::prelude::*;
use service_api::host::{ServiceDriver, StartPoint};
use service_api::test_kit::{Emitted, EventLog, TestKit, assert_deterministic};
use service_api::{ClusterSessionId, LeadershipTermId, LogPosition, MemberId, MemorySnapshot, StatusValue};

use super::*;

fn no_clock() -> u64 {
    panic!("the clock was read for a message without a send time")
}

fn clock_at_5000() -> u64 {
    5_000
}

fn audit(ballast_length: usize) -> Audit {
    Audit::new(no_clock).with_output(Box::new(io::sink())).with_ballast(ballast_length).unwrap()
}

fn message(command: u64, send_time_ns: i64, payload: &[u8]) -> Vec<u8> {
    [&command.to_le_bytes()[..], &send_time_ns.to_le_bytes(), payload].concat()
}

fn timer_payload(correlation_id: i64, delay: i64) -> Vec<u8> {
    [correlation_id.to_le_bytes(), delay.to_le_bytes()].concat()
}

fn twenty_bytes() -> Vec<u8> {
    (1..=20).collect()
}

/// The log whose outcome was computed apart, by a program in another language.
fn known_log() -> EventLog {
    let mut log = EventLog::new();
    log.open(1)
        .message(1, b"short")
        .message(1, message(1, 0, &timer_payload(77, 500)))
        .message(1, message(2, 0, &twenty_bytes()))
        .deliver_offers()
        .advance_time(500)
        .fire_timers()
        .close(1, CloseReason::Timeout);
    log
}

#[test]
fn every_input_leaves_its_known_mark() {
    let mut kit = TestKit::new(audit(24));
    let state = |kit: &TestKit<Audit>| (kit.service().count(), kit.service().hash());
    assert_eq!(state(&kit), (0, 0xcbf2_9ce4_8422_2325), "a term leaves none");
    kit.open(1);
    assert_eq!(state(&kit), (0, 0x89cd_3129_1d2a_efa4));
    kit.message(1, b"short");
    assert_eq!(state(&kit), (1, 0x9138_30d4_999b_c2de));
    kit.message(1, message(1, 0, &timer_payload(77, 500)));
    assert_eq!(state(&kit), (2, 0x7fbb_b6c3_e5af_fd81));
    kit.message(1, message(2, 0, &twenty_bytes()));
    assert_eq!(state(&kit), (3, 0x355e_fe7b_7a63_a91b));
    kit.deliver_offers();
    assert_eq!(state(&kit), (4, 0x466f_acc0_7273_e774));
    kit.advance_time(500).fire_timers();
    assert_eq!(state(&kit), (5, 0xc2f2_b722_59fe_4859));
    kit.close(1, CloseReason::Timeout);
    assert_eq!(state(&kit), (5, 0x8c10_fe82_c84d_bc71));
}

#[test]
fn a_snapshot_has_the_known_bytes() {
    let mut kit = TestKit::new(audit(24));
    known_log().run(&mut kit);
    let snapshot = kit.save().snapshot;
    assert_eq!(
        snapshot.messages().iter().map(hex::encode).collect::<Vec<_>>(),
        [
            "71bc4dc882fe108c05000000000000001800000000000000",
            "1ba9637a7bfe5e3574e77372c0ac6f4681fdafe5c3b6bb7f",
            "914b30c14281e3bd",
        ]
    );
}

#[test]
fn a_snapshot_without_ballast_is_a_header_and_the_start_value() {
    let snapshot = TestKit::new(audit(0)).save().snapshot;
    let messages: Vec<_> = snapshot.messages().iter().map(hex::encode).collect();
    assert_eq!(messages, ["25232284e49cf2cb00000000000000000000000000000000", "25232284e49cf2cb"]);
}

#[test]
fn it_is_the_same_on_every_node_and_over_every_snapshot() {
    assert_deterministic(|| audit(0), &known_log());
    assert_deterministic(|| audit(16), &known_log());
}

#[test]
fn commands_become_requests_of_the_same_length_and_time() {
    let mut kit = TestKit::new(audit(0));
    kit.open(1).message(1, message(1, 0, &timer_payload(77, 500))).message(1, message(2, 0, &twenty_bytes()));
    let offered = message(3, 0, &twenty_bytes());
    let deadline = kit.time() + 500;
    assert_eq!(
        kit.emitted(),
        [Emitted::ScheduleTimer { correlation_id: 77, deadline }, Emitted::Offer { payload: offered }]
    );
}

#[test]
fn commands_without_a_full_payload_and_unknown_commands_are_only_mixed() {
    let mut kit = TestKit::new(audit(0));
    kit.open(1);
    for (command, payload_length) in [(0, 16), (1, 15), (2, 15), (3, 16), (u64::MAX, 16)] {
        kit.message(1, message(command, 0, &vec![5; payload_length]));
    }
    kit.message(1, b"").message(1, [2; 15]);
    assert!(kit.emitted().is_empty());
    assert_eq!(kit.service().count(), 7);
}

#[test]
fn only_service_0_carries_commands_out() {
    let mut driver = ServiceDriver::without_egress(audit(0), MemberId(0), ServiceId(1));
    driver.start(StartPoint::FRESH, None).unwrap();
    let command = message(2, 0, &twenty_bytes());
    driver.on_session_message(LogPosition(96), 1, ClusterSessionId(1), &command).unwrap();
    assert!(driver.emissions().is_empty());
    assert_eq!(driver.service().count(), 1);
}

#[test]
fn a_reply_repeats_the_head_and_gives_the_state_after_the_message() {
    let mut kit = TestKit::new(audit(0));
    kit.open(1).message(1, b"short").service_message(b"nobody");
    let expected =
        [&b"short\0\0\0\0\0\0\0\0\0\0\0"[..], &0x9138_30d4_999b_c2de_u64.to_le_bytes(), &1_i64.to_le_bytes()]
            .concat();
    assert_eq!(kit.replies().len(), 1);
    assert_eq!(kit.replies()[0].payload, expected);
}

#[test]
fn a_slow_client_loses_its_reply_and_holds_nobody_up() {
    let mut kit = TestKit::new(audit(0));
    kit.open(1).refuse_replies(Some(OfferError::BackPressured)).message(1, b"short");
    assert!(kit.replies().is_empty());
    assert_eq!(kit.service().count(), 1);
}

#[test]
fn the_lag_is_recorded_for_messages_with_a_send_time_only() {
    let mut kit = TestKit::new(Audit::new(clock_at_5000).with_output(Box::new(io::sink())));
    kit.open(1);
    for send_time_ns in [0, 4_000, 3_000, 6_000] {
        kit.message(1, message(0, send_time_ns, &[]));
    }
    assert_eq!(kit.service().lag().count, 3, "a send time ahead of our clock counts, as no lag");
    let mut fields = StatusFields::new();
    kit.driver_mut().status(&mut fields);
    assert_eq!(fields.get("lag_count"), Some(StatusValue::U64(3)));
    assert_eq!(fields.get("lag_p50_ns"), Some(StatusValue::U64(1_000)));
    assert_eq!(fields.get("lag_max_ns"), Some(StatusValue::U64(2_000)));
    assert_eq!(fields.get("count"), Some(StatusValue::I64(4)));
    assert_eq!(fields.get("hash"), Some(StatusValue::Hex(kit.service().hash())));
}

#[test]
fn status_fields_come_in_a_fixed_order() {
    let mut fields = StatusFields::new();
    Audit::new(clock_at_5000).status(&mut fields);
    let names: Vec<_> = fields.iter().map(|(name, _)| name).collect();
    let lag = ["lag_p50_ns", "lag_p99_ns", "lag_p999_ns", "lag_max_ns", "lag_count"];
    assert_eq!(names, [&["hash", "count"][..], &lag].concat());
}

/// Keeps what is printed.
#[derive(Clone, Default)]
struct Page(Arc<Mutex<Vec<u8>>>);

impl Write for Page {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_line_is_printed_at_start_role_term_snapshot_and_end() {
    let page = Page::default();
    let service = Audit::new(no_clock).with_output(Box::new(page.clone()));
    let mut kit = TestKit::new(service);
    kit.open(1).message(1, b"short").snapshot();
    assert!(kit.driver_mut().freeze().is_some());
    kit.terminate();
    assert_eq!(
        String::from_utf8(page.0.lock().unwrap().clone()).unwrap().lines().collect::<Vec<_>>(),
        [
            "audit service=0 position=0 term=-1 count=0 hash=cbf29ce484222325",
            "audit service=0 position=0 term=-1 count=0 hash=cbf29ce484222325",
            "audit service=0 position=96 term=0 count=0 hash=cbf29ce484222325",
            "audit service=0 position=448 term=0 count=1 hash=913830d4999bc2de",
            "audit service=0 position=448 term=0 count=1 hash=913830d4999bc2de",
            "audit service=0 position=448 term=0 count=1 hash=913830d4999bc2de",
        ]
    );
}

#[test]
fn the_line_at_start_shows_what_the_snapshot_held() {
    let mut kit = TestKit::new(audit(0));
    kit.open(1).message(1, b"short");
    let snapshot = kit.save().snapshot;
    let page = Page::default();
    let service = Audit::new(no_clock).with_output(Box::new(page.clone()));
    let mut driver = ServiceDriver::without_egress(service, MemberId(0), ServiceId(3));
    let point = StartPoint {
        log_position: LogPosition(640),
        leadership_term_id: LeadershipTermId(5),
        ..StartPoint::FRESH
    };
    driver.start(point, Some(&mut snapshot.reader())).unwrap();
    assert_eq!(
        String::from_utf8(page.0.lock().unwrap().clone()).unwrap(),
        "audit service=3 position=640 term=5 count=1 hash=913830d4999bc2de\n"
    );
}

#[test]
fn a_frozen_state_keeps_its_ballast_while_the_service_goes_on() {
    const LENGTH: usize = 2 * 65_536 + 8;
    let mut kit = TestKit::new(audit(LENGTH));
    kit.open(1);
    for index in 0..100_u64 {
        kit.message(1, index.to_le_bytes());
    }
    let before = kit.save().snapshot;
    let frozen = kit.driver_mut().freeze().unwrap();
    for index in 0..20_000_u64 {
        kit.message(1, index.to_le_bytes());
    }
    let mut written = MemorySnapshot::default();
    frozen.write(&mut written).unwrap();
    assert_eq!(written, before);
    assert_ne!(kit.save().snapshot, before);
    let lengths: Vec<_> = written.messages().iter().map(Vec::len).collect();
    assert_eq!(lengths, [24, 65_536, 65_536, 8, 8]);
}

#[test]
fn ballast_is_read_in_messages_of_any_length() {
    let mut kit = TestKit::new(audit(65_536 + 4_096));
    kit.open(1);
    for index in 0..9_000_u64 {
        kit.message(1, index.to_le_bytes());
    }
    let mut small = MemorySnapshot::new(1_376 + 5);
    kit.driver_mut().take_snapshot(&mut small).unwrap();
    assert_eq!(small.messages()[1].len(), 1_376, "rounded down to words");
    let ballast: Vec<u8> = small.messages()[1..small.messages().len() - 1].concat();

    let mut odd = MemorySnapshot::default();
    odd.write(&small.messages()[0]).unwrap();
    ballast.chunks(65_535).for_each(|message| odd.write(message).unwrap());
    odd.write(small.messages().last().unwrap()).unwrap();

    for snapshot in [small, odd] {
        let mut saved = kit.save();
        saved.snapshot = snapshot;
        let mut restored = TestKit::restore(audit(0), &saved).unwrap();
        assert_eq!(restored.save().snapshot, kit.save().snapshot);
    }
}

fn refusal(damage: impl FnOnce(&mut Vec<Vec<u8>>)) -> String {
    let mut kit = TestKit::new(audit(24));
    known_log().run(&mut kit);
    let mut saved = kit.save();
    damage(saved.snapshot.messages_mut());
    TestKit::restore(audit(0), &saved).expect_err("the snapshot is damaged").to_string()
}

#[test]
fn a_short_or_damaged_snapshot_is_refused_with_what_is_wrong() {
    assert_eq!(refusal(Vec::clear), "audit snapshot: it is empty");
    assert_eq!(refusal(|m| m[0].truncate(23)), "audit snapshot: the header has 23 bytes, expected 24");
    assert!(refusal(|m| m.truncate(1)).contains("it ends after 0 of 24 bytes of ballast"));
    assert!(refusal(|m| m.truncate(2)).contains("it ends before the hash of the ballast"));
    assert!(refusal(|m| m[1].truncate(16)).contains("it ends before the hash of the ballast"));
    assert!(refusal(|m| m[1].push(0)).contains("the ballast is longer than 24 bytes"));
    assert!(refusal(|m| m[1][5] ^= 1).contains("expected bde38142c1304b91"));
    assert!(refusal(|m| m[2][0] ^= 1).contains("the ballast has the hash bde38142c1304b91"));
    assert!(refusal(|m| m[2].push(0)).contains("the hash of the ballast has 9 bytes"));
    assert!(refusal(|m| m.push(vec![])).contains("it goes on after its end"));
    assert!(refusal(|m| m[0][16] = 23).contains("expected a multiple of 8"));
    assert!(refusal(|m| m[0][23] = 0x80).contains("expected a multiple of 8"), "a negative length");
    assert!(refusal(|m| m[0][22] = 0x10).contains("of ballast"), "an absurd length takes no memory");
}

#[test]
fn a_refused_snapshot_leaves_the_service_as_it_was() {
    let mut snapshot = MemorySnapshot::default();
    snapshot.write(&[1; 24]).unwrap();
    let mut driver = ServiceDriver::without_egress(audit(8), MemberId(0), ServiceId(0));
    driver.start(StartPoint::FRESH, Some(&mut snapshot.reader())).unwrap_err();
    assert_eq!((driver.service().hash(), driver.service().count()), (FNV_OFFSET_BASIS, 0));
}

#[test]
fn a_ballast_of_no_whole_words_is_refused() {
    let error = audit(0).with_ballast(12).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the ballast is to have 12 bytes, expected a multiple of 8: configure 16 instead"
    );
}

proptest! {
    #[test]
    fn no_snapshot_makes_the_loader_panic(
        ballast_length in 0..40_u64,
        messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..32), 0..6),
    ) {
        let mut snapshot = MemorySnapshot::default();
        snapshot.write(&[[0; 8], [0; 8], ballast_length.to_le_bytes()].concat()).unwrap();
        for message in &messages {
            snapshot.write(message).unwrap();
        }
        let _ = Frozen::read(&mut snapshot.reader());
    }

    #[test]
    fn no_message_makes_the_service_panic(messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..48), 0..20)) {
        let mut kit = TestKit::new(Audit::new(clock_at_5000).with_output(Box::new(io::sink())).with_ballast(16).unwrap());
        kit.open(1);
        for mut message in messages {
            if let Some(command) = message.first_chunk_mut::<8>() {
                *command = u64::from(command[0] % 4).to_le_bytes();
            }
            kit.message(1, &message);
        }
    }
}
