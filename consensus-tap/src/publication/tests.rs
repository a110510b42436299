use super::*;
use crate::wire::data::{BEGIN, END};
use crate::wire::{DataFrame, Reject, error_frame, frames};

const MS: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MS;
const TERM_LENGTH: i32 = 65_536;
const RECEIVER_ID: i64 = 42;

fn params() -> PublicationParams {
    PublicationParams { initial_term_id: i32::MAX, term_id: i32::MAX, ..PublicationParams::new(-7, 1001) }
}

#[derive(Debug)]
struct Fixture {
    publication: Publication,
    port: Port,
    now_ns: u64,
}

impl Fixture {
    /// A publication that nobody answered yet.
    fn new(params: &PublicationParams) -> Self {
        let to = SocketAddr::from(([10, 0, 0, 2], 20_000));
        Self { publication: Publication::new(params, to, 0), port: Port::new(1), now_ns: 0 }
    }

    /// A publication whose receiver gave it a window.
    fn connected(window_length: i32) -> Self {
        let mut fixture = Self::new(&params());
        fixture.status(0, window_length, 0);
        fixture.publication.on_timeout(0, &mut fixture.port);
        fixture.sent();
        fixture
    }

    fn offer(&mut self, message: &[u8]) -> Result<i64, OfferError> {
        self.publication.offer([message, &[]])
    }

    fn status(&mut self, position: i64, window_length: i32, flags: u8) {
        let terms = self.publication.terms();
        let message = StatusMessage {
            flags,
            session_id: -7,
            stream_id: 1001,
            consumption_term_id: terms.term_id(position),
            consumption_term_offset: terms.term_offset(position),
            receiver_window: window_length,
            receiver_id: RECEIVER_ID,
            group_tag: None,
        };
        self.publication.on_status_message(&message, self.now_ns, &mut self.port);
    }

    fn nak(&mut self, position: i64, length: i32) {
        let terms = self.publication.terms();
        let nak = Nak {
            session_id: -7,
            stream_id: 1001,
            term_id: terms.term_id(position),
            term_offset: terms.term_offset(position),
            length,
        };
        self.publication.on_nak(&nak, self.now_ns, &mut self.port);
    }

    /// What is sent now: whole transmits, each as its datagrams.
    fn transmits(&mut self) -> Vec<Vec<Vec<u8>>> {
        let mut transmits = Vec::new();
        let mut send = |transmit: Transmit<'_>| {
            transmits.push(transmit.datagrams().map(<[u8]>::to_vec).collect());
        };
        self.port.outbox.drain(&mut send);
        self.publication.poll_transmit(self.now_ns, &mut self.port, &mut send);
        transmits
    }

    fn sent(&mut self) -> Vec<Vec<u8>> {
        self.transmits().concat()
    }

    /// Lets time pass in steps of 10 ms, and returns all control frames with their times in milliseconds.
    fn pass(&mut self, duration_ns: u64) -> Vec<(u64, Vec<u8>)> {
        let mut sent = Vec::new();
        let end_ns = self.now_ns + duration_ns;
        while self.now_ns < end_ns {
            self.publication.on_timeout(self.now_ns, &mut self.port);
            let now_ms = self.now_ns / MS;
            sent.extend(self.sent().into_iter().map(|bytes| (now_ms, bytes)));
            self.now_ns += 10 * MS;
        }
        sent
    }

    fn heartbeat_flags(&mut self, duration_ns: u64) -> Vec<(u64, u8)> {
        let sent = self.pass(duration_ns);
        sent.iter().map(|(ms, bytes)| (*ms, DataFrame::parse(bytes).unwrap().flags())).collect()
    }
}

fn setups(sent: &[(u64, Vec<u8>)]) -> usize {
    sent.iter().filter(|(_, bytes)| Setup::parse(bytes).is_ok()).count()
}

#[test]
fn only_setups_are_sent_until_a_receiver_answers() {
    let mut fixture = Fixture::new(&PublicationParams { term_offset: 64, ..params() });
    let sent = fixture.pass(250 * MS);
    assert_eq!(sent.iter().map(|(ms, _)| *ms).collect::<Vec<_>>(), [0, 100, 200]);
    let setup = Setup::parse(&sent[0].1).unwrap();
    assert_eq!((setup.active_term_id, setup.term_offset, setup.mtu), (i32::MAX, 64, 1408));
    assert_eq!(fixture.offer(b"a"), Err(OfferError::NotConnected));
    assert_eq!(fixture.publication.state(), PublicationState::Connecting);

    fixture.status(64, 4096, 0);
    assert_eq!(fixture.publication.state(), PublicationState::Connected);
    assert_eq!(fixture.offer(b"a"), Ok(128));
    assert_eq!(fixture.sent().len(), 1);
    assert!(fixture.heartbeat_flags(SECOND).len() >= 9, "heartbeats instead of setups");
}

#[test]
fn an_elicited_setup_is_sent_at_most_every_hundred_milliseconds() {
    let mut fixture = Fixture::connected(4096);
    fixture.now_ns = 150 * MS;
    fixture.status(1 << 20, 0, status_message::SEND_SETUP);
    assert_eq!(fixture.port.counters.status_messages_rejected, 0, "its position means nothing");
    let setups =
        |sent: &[(u64, Vec<u8>)]| sent.iter().filter(|(_, bytes)| Setup::parse(bytes).is_ok()).count();
    assert_eq!(setups(&fixture.pass(20 * MS)), 1);
    fixture.status(0, 0, status_message::SEND_SETUP);
    assert_eq!(setups(&fixture.pass(50 * MS)), 0);
    assert_eq!(setups(&fixture.pass(300 * MS)), 1, "and then no more, as a receiver is there");
}

#[test]
fn elicited_setups_go_on_until_a_receiver_is_there() {
    let mut fixture = Fixture::connected(4096);
    fixture.pass(6 * SECOND);
    fixture.status(0, 0, status_message::SEND_SETUP);
    assert_eq!(setups(&fixture.pass(SECOND)), 10);
    fixture.status(0, 4096, 0);
    assert_eq!(setups(&fixture.pass(SECOND)), 1);
}

#[test]
fn a_long_message_travels_in_frames_of_the_mtu() {
    let mut fixture = Fixture::connected(32_768);
    let message: Vec<u8> = (0..3000_u32).map(|byte| byte as u8).collect();
    let end = fixture.offer(&message).unwrap();
    assert_eq!(end, 1408 + 1408 + 288);
    let transmits = fixture.transmits();
    assert_eq!(transmits.len(), 1, "two full datagrams and a shorter one in one run");
    assert_eq!(transmits[0].iter().map(Vec::len).collect::<Vec<_>>(), [1408, 1408, 288]);
    let parsed: Vec<_> = transmits[0].iter().map(|bytes| DataFrame::parse(bytes).unwrap()).collect();
    assert_eq!(parsed.iter().map(DataFrame::flags).collect::<Vec<_>>(), [BEGIN, 0, END]);
    assert_eq!(parsed.iter().flat_map(|frame| frame.payload().to_vec()).collect::<Vec<_>>(), message);
}

#[test]
fn messages_of_whole_frames_have_no_empty_last_fragment() {
    let mut fixture = Fixture::connected(32_768);
    assert_eq!(fixture.offer(&[1; 1376]), Ok(1408));
    assert_eq!(fixture.offer(&[2; 2752]), Ok(3 * 1408));
    assert_eq!(fixture.offer(&[]), Ok(3 * 1408 + 32));
    let flags: Vec<u8> =
        fixture.sent().iter().map(|bytes| DataFrame::parse(bytes).unwrap().flags()).collect();
    assert_eq!(flags, [UNFRAGMENTED, BEGIN, END, UNFRAGMENTED]);
}

#[test]
fn a_message_in_two_parts_travels_as_one_in_a_piece_would() {
    let message: Vec<u8> = (0..3000_u32).map(|byte| byte as u8).collect();
    let mut whole = Fixture::connected(32_768);
    let end = whole.offer(&message);
    let expected = whole.sent();
    // At the message's ends, within fragments, and where fragments meet.
    for split in [0, 1, 32, 1375, 1376, 1377, 2752, 2999, 3000] {
        let (first, second) = message.split_at(split);
        let mut parts = Fixture::connected(32_768);
        assert_eq!(parts.publication.offer([first, second]), end);
        assert_eq!(parts.sent(), expected, "split at {split}");
    }
}

#[test]
fn small_messages_share_a_datagram() {
    let mut fixture = Fixture::connected(32_768);
    for _ in 0..50 {
        fixture.offer(&[3; 64]).unwrap();
    }
    let sent = fixture.sent();
    assert_eq!(sent.iter().map(Vec::len).collect::<Vec<_>>(), [1344, 1344, 1344, 768]);
    assert_eq!(sent.iter().flat_map(|bytes| frames(bytes)).filter(Result::is_ok).count(), 50);
}

#[test]
fn what_does_not_fit_in_a_term_begins_the_next_behind_padding() {
    let mut fixture = Fixture::new(&PublicationParams { term_offset: TERM_LENGTH - 128, ..params() });
    let start = i64::from(TERM_LENGTH) - 128;
    fixture.status(start, 64, 0);
    assert_eq!(fixture.offer(&[1; 128]), Ok(i64::from(TERM_LENGTH) + 160));
    let sent = fixture.sent();
    assert_eq!(sent.iter().map(Vec::len).collect::<Vec<_>>(), [32], "only the header of the padding");
    let padding = DataFrame::parse(&sent[0]).unwrap();
    assert_eq!((padding.is_padding(), padding.frame_length()), (true, 128));
    assert_eq!(fixture.publication.sender_position(), i64::from(TERM_LENGTH), "past its limit");

    fixture.status(i64::from(TERM_LENGTH), 4096, 0);
    let sent = fixture.sent();
    let next = DataFrame::parse(&sent[0]).unwrap();
    assert_eq!((next.term_id(), next.term_offset()), (i32::MIN, 0), "term ids wrap");
}

#[test]
fn a_message_that_just_fits_ends_its_term_without_padding() {
    let mut fixture = Fixture::new(&PublicationParams { term_offset: TERM_LENGTH - 128, ..params() });
    let start = i64::from(TERM_LENGTH) - 128;
    fixture.status(start, 4096, 0);
    assert_eq!(fixture.offer(&[1; 96]), Ok(i64::from(TERM_LENGTH)));
    fixture.offer(&[2; 96]).unwrap();
    let payloads: Vec<u8> =
        fixture.sent().iter().map(|bytes| DataFrame::parse(bytes).unwrap().payload()[0]).collect();
    assert_eq!(payloads, [1, 2], "one datagram for each term");
}

#[test]
fn nothing_is_sent_past_the_window() {
    let mut fixture = Fixture::connected(256);
    for _ in 0..3 {
        fixture.offer(&[0; 64]).unwrap();
    }
    fixture.status(0, 128, 0);
    let sent_length: usize = fixture.sent().iter().map(Vec::len).sum();
    assert_eq!(sent_length, 192, "two of three frames of 96 fit, and a limit is never taken back");
    fixture.status(96, 256, 0);
    assert_eq!(fixture.sent().len(), 1);
}

#[test]
fn an_offer_waits_when_half_a_term_is_unsent() {
    let mut fixture = Fixture::connected(0);
    let mut taken_count = 0;
    while fixture.offer(&[0; 4096]).is_ok() {
        taken_count += 1;
    }
    // Three frames: 1408, 1408, 1376.
    assert_eq!(taken_count, TERM_LENGTH / 2 / 4192 + 1);
    assert_eq!(fixture.offer(&[]), Err(OfferError::BackPressured));
    assert_eq!(fixture.offer(&[0; 8193]), Err(OfferError::MessageTooLong));
    fixture.status(0, 32_768, 0);
    fixture.sent();
    assert!(fixture.offer(&[0; 8192]).is_ok());
}

#[test]
fn a_nak_gets_its_range_once_in_ten_milliseconds() {
    let mut fixture = Fixture::connected(32_768);
    for _ in 0..20 {
        fixture.offer(&[5; 1000]).unwrap();
    }
    let first_time = fixture.sent();
    assert!(first_time.len() > 5);
    fixture.nak(1056, 2112);
    assert_eq!(fixture.sent(), first_time[1..3]);
    for _ in 0..100 {
        fixture.nak(1056, 2112);
    }
    assert!(fixture.sent().is_empty());
    assert_eq!(fixture.port.counters.naks_ignored, 100);
    fixture.now_ns = 10 * MS;
    fixture.nak(2112, 1056);
    assert_eq!(fixture.sent(), first_time[2..3]);
}

#[test]
fn a_nak_that_names_no_frame_of_ours_gets_nothing() {
    let mut fixture = Fixture::connected(32_768);
    fixture.offer(&[5; 1000]).unwrap();
    fixture.sent();
    fixture.nak(32, 1024);
    assert!(fixture.sent().is_empty(), "inside a frame");
    fixture.nak(1056, 32);
    fixture.nak(0, 0);
    assert_eq!(fixture.port.counters.naks_rejected, 2, "not sent yet; no length");
}

#[test]
fn lost_padding_is_sent_again_as_its_header() {
    let mut fixture = Fixture::new(&PublicationParams { term_offset: TERM_LENGTH - 128, ..params() });
    let start = i64::from(TERM_LENGTH) - 128;
    fixture.status(start, 4096, 0);
    fixture.offer(&[1; 128]).unwrap();
    let first_time = fixture.sent();
    // A Java receiver that saw nothing behind the header counts 32 bytes as missing.
    fixture.nak(start, 32);
    assert_eq!(fixture.sent(), first_time[..1]);
}

#[test]
fn history_reaches_a_term_back_after_many_terms() {
    let mut fixture = Fixture::connected(0);
    let mut first_time = Vec::new();
    for _ in 0..400 {
        fixture.status(fixture.publication.sender_position(), 32_768, 0);
        fixture.offer(&[7; 1000]).unwrap();
        first_time.extend(fixture.sent());
    }
    let oldest_position = fixture.publication.sender_position() - i64::from(TERM_LENGTH);
    let mut again_count = 0;
    for datagram in first_time {
        let frame = DataFrame::parse(&datagram).unwrap();
        let position = fixture.publication.terms().position(frame.term_id(), frame.term_offset()).unwrap();
        fixture.now_ns += 10 * MS;
        fixture.nak(position, datagram.len() as i32);
        let again = fixture.sent();
        if position >= oldest_position {
            assert_eq!(again, std::slice::from_ref(&datagram));
            again_count += 1;
        } else {
            assert!(again.is_empty());
        }
    }
    assert!(again_count > 60);
}

#[test]
fn implausible_status_messages_are_rejected() {
    let mut fixture = Fixture::connected(0);
    fixture.status(i64::from(TERM_LENGTH / 2) + 32, 4096, 0);
    assert_eq!(fixture.port.counters.status_messages_rejected, 1);
    fixture.offer(b"a").unwrap();
    assert!(fixture.sent().is_empty(), "its window does not count");
}

#[test]
fn a_silent_receiver_disconnects_and_heartbeats_go_on() {
    let mut fixture = Fixture::connected(4096);
    assert_eq!(fixture.heartbeat_flags(5 * SECOND).len(), 49);
    fixture.heartbeat_flags(10 * MS);
    assert_eq!(fixture.publication.state(), PublicationState::Disconnected);
    assert_eq!(fixture.offer(b"a"), Err(OfferError::NotConnected));
    assert_eq!(fixture.heartbeat_flags(SECOND).len(), 10);
    fixture.status(0, 4096, 0);
    assert_eq!(fixture.publication.state(), PublicationState::Connected);
}

#[test]
fn a_refusal_disconnects_the_receiver_until_it_answers_again() {
    let mut fixture = Fixture::connected(4096);
    let refusal = ErrorFrame {
        session_id: -7,
        stream_id: 1001,
        receiver_id: RECEIVER_ID,
        group_tag: None,
        error_code: error_frame::IMAGE_REJECTED,
        text: b"no",
    };
    fixture.publication.on_error(&ErrorFrame { receiver_id: 1, ..refusal }, &mut fixture.port);
    assert_eq!(fixture.publication.state(), PublicationState::Connected, "someone else's refusal");
    fixture.publication.on_error(&refusal, &mut fixture.port);
    assert_eq!(fixture.publication.state(), PublicationState::Disconnected);
}

#[test]
fn closing_sends_what_is_left_then_the_end_and_leaves_with_the_receiver() {
    let mut fixture = Fixture::connected(0);
    fixture.offer(b"last").unwrap();
    fixture.publication.close();
    assert_eq!(fixture.offer(b"late"), Err(OfferError::Closed));
    fixture.pass(50 * MS);
    assert_eq!(fixture.publication.state(), PublicationState::Draining);
    fixture.status(0, 4096, 0);
    let first = fixture.pass(10 * MS);
    assert_eq!(DataFrame::parse(&first[0].1).unwrap().payload(), b"last");
    let end = UNFRAGMENTED | EOS;
    // A heartbeat after the data, not on its heels.
    assert_eq!(fixture.heartbeat_flags(250 * MS), [(150, end), (250, end)]);
    fixture.nak(0, 64);
    assert_eq!(fixture.sent().len(), 1, "still answers");
    fixture.status(64, 4096, status_message::END_OF_STREAM);
    assert!(fixture.publication.is_gone());
}

#[test]
fn lingering_ends_even_when_the_receiver_never_leaves() {
    let mut fixture = Fixture::connected(4096);
    fixture.publication.close();
    for _ in 0..49 {
        fixture.pass(100 * MS);
        fixture.status(0, 4096, 0);
        assert!(!fixture.publication.is_gone());
    }
    fixture.pass(200 * MS);
    assert!(fixture.publication.is_gone());
}

#[test]
fn the_end_is_told_once_however_short_the_linger_time_is() {
    let mut fixture = Fixture::new(&PublicationParams { linger_ns: 0, ..params() });
    fixture.status(0, 4096, 0);
    fixture.offer(b"last").unwrap();
    fixture.publication.close();
    let flags: Vec<u8> = fixture.heartbeat_flags(300 * MS).into_iter().map(|(_, flags)| flags).collect();
    assert_eq!(flags.iter().filter(|flags| **flags == UNFRAGMENTED | EOS).count(), 1, "{flags:?}");
    assert!(fixture.publication.is_gone());
}

#[test]
fn a_publication_without_a_receiver_closes_at_once() {
    let mut fixture = Fixture::new(&params());
    fixture.publication.close();
    assert!(fixture.publication.is_gone());
}

#[test]
fn revoking_tells_receivers_not_to_wait() {
    let mut fixture = Fixture::connected(0);
    fixture.offer(b"never sent").unwrap();
    fixture.publication.revoke(0);
    fixture.status(0, 4096, 0);
    assert_eq!(fixture.heartbeat_flags(20 * MS), [(0, UNFRAGMENTED | EOS | REVOKED)]);
    assert_eq!(fixture.publication.sender_position(), 0);
}

#[test]
fn parameters_are_checked() {
    let check = |params: PublicationParams| params.check().map(|(_, position)| position);
    assert_eq!(check(PublicationParams { term_id: i32::MIN, ..params() }), Ok(65_536));
    assert_eq!(check(PublicationParams { term_length: 1000, ..params() }), Err(Reject::IllegalTermLength));
    assert_eq!(check(PublicationParams { mtu: 1400, ..params() }), Err(Reject::IllegalMtu));
    assert_eq!(check(PublicationParams { mtu: 32, ..params() }), Err(Reject::IllegalMtu));
    assert_eq!(check(PublicationParams { term_offset: TERM_LENGTH, ..params() }), Err(Reject::OutsideTerm));
    assert_eq!(check(PublicationParams { term_offset: 1, ..params() }), Err(Reject::Unaligned));
    assert_eq!(check(PublicationParams { term_id: i32::MAX - 1, ..params() }), Err(Reject::OutsideTerm));
}

#[test]
fn recorded_frames_keep_flags_and_reserved_value_and_change_their_session() {
    let mut fixture = Fixture::connected(TERM_LENGTH / 2);
    let recorded = recorded_frame(0, BEGIN, 100);
    assert_eq!(fixture.publication.offer_recorded(&recorded), Ok(160));
    let sent = fixture.sent().concat();
    let frame = DataFrame::parse(&sent).unwrap();
    assert_eq!((frame.session_id(), frame.stream_id()), (-7, 1001));
    assert_eq!((frame.flags(), frame.reserved_value()), (BEGIN, 0x0102_0304_0506_0708));
    assert_eq!(frame.payload(), DataFrame::parse(&recorded).unwrap().payload());
}

#[test]
fn recorded_frames_are_taken_up_to_the_first_that_does_not_follow() {
    let mut fixture = Fixture::connected(TERM_LENGTH / 2);
    let stranger = recorded_frame(512, UNFRAGMENTED, 0);
    let run = [recorded_frame(0, UNFRAGMENTED, 0), stranger.clone()].concat();
    assert_eq!(fixture.publication.offer_recorded(&run), Ok(32));
    assert_eq!(fixture.publication.offer_recorded(&stranger), Ok(0));
    let too_long = recorded_frame(32, UNFRAGMENTED, 1408);
    assert_eq!(fixture.publication.offer_recorded(&too_long), Ok(0));
    let cut = recorded_frame(32, UNFRAGMENTED, 100);
    assert_eq!(fixture.publication.offer_recorded(&cut[..96]), Ok(0));
    let mut padding = recorded_frame(32, UNFRAGMENTED, 0);
    padding[6] = 0;
    padding[..4].copy_from_slice(&(TERM_LENGTH - 32).to_le_bytes());
    assert_eq!(fixture.publication.offer_recorded(&padding), Ok(i64::from(TERM_LENGTH) - 32));
    assert_eq!(fixture.publication.offer_recorded(&padding), Err(OfferError::BackPressured));
}

fn recorded_frame(term_offset: i32, flags: u8, payload_length: usize) -> Vec<u8> {
    let header = DataHeader {
        frame_length: 32 + payload_length as i32,
        flags,
        frame_type: FrameType::Data,
        term_offset,
        session_id: 99,
        stream_id: 100,
        term_id: i32::MAX,
        reserved_value: 0x0102_0304_0506_0708,
    };
    let mut bytes = [header.encode().to_vec(), vec![0xAB; payload_length]].concat();
    bytes.resize(bytes.len().next_multiple_of(32), 0);
    bytes
}
