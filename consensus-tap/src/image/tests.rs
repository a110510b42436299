use super::*;
use crate::transport::Slab;
use crate::wire::data::{HEADER_LENGTH, UNFRAGMENTED};
use crate::wire::{DataHeader, FrameType, align};

const MS: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MS;
const TERM_LENGTH: i32 = 65_536;
const WINDOW_LENGTH: i32 = 8_192;
const STREAM_ID: i32 = 1001;
const SESSION_ID: i32 = -7;
const INITIAL_TERM_ID: i32 = i32::MAX;
const RECEIVER_ID: i64 = 42;

/// Keeps what it gets: the position and the bytes, also where they lay.
#[derive(Debug, Default)]
struct Appended {
    calls: Vec<(i64, Vec<u8>)>,
    last_address: Option<*const u8>,
    refuses: bool,
    held_at: Option<i64>,
}

impl ImageSink for Appended {
    fn append(&mut self, _: ImageKey, position: i64, frames: &[u8]) -> Result<(), Refused> {
        self.last_address = Some(frames.as_ptr());
        self.calls.push((position, frames.to_vec()));
        if self.refuses { Err(Refused) } else { Ok(()) }
    }

    fn held_at(&self, _: ImageKey) -> Option<i64> {
        self.held_at
    }
}

/// An image that joined at position 0 and was announced, with its surroundings.
#[derive(Debug)]
struct Fixture {
    image: Image,
    port: Port,
    sink: Appended,
}

fn source() -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1], 40_123))
}

fn setup() -> Setup {
    Setup {
        flags: 0,
        term_offset: 0,
        session_id: SESSION_ID,
        stream_id: STREAM_ID,
        initial_term_id: INITIAL_TERM_ID,
        active_term_id: INITIAL_TERM_ID,
        term_length: TERM_LENGTH,
        mtu: 1408,
        ttl: 0,
    }
}

impl Fixture {
    fn new() -> Self {
        let (geometry, window_length) = ImageGeometry::of(&setup(), WINDOW_LENGTH).unwrap();
        let subscription = SubscriptionId(Slab::new().insert(()));
        let key = ImageKey { subscription, stream_id: STREAM_ID, session_id: SESSION_ID, generation: 0 };
        let mut image = Image::new(
            key,
            source(),
            geometry,
            window_length,
            NakSettings::default(),
            &mut SpareSideBuffers::new(),
            0,
        );
        image.announced();
        Self { image, port: Port::new(RECEIVER_ID), sink: Appended::default() }
    }

    fn receive(&mut self, datagram: &[u8], now_ns: u64) -> Result<Option<UnavailableReason>, Reject> {
        let first = DataFrame::parse(datagram).unwrap();
        self.image.on_data(&first, datagram, now_ns, &mut self.port, &mut self.sink)
    }

    fn sent(&mut self) -> Vec<Vec<u8>> {
        let mut sent = Vec::new();
        self.port.outbox.drain(&mut |transmit| {
            assert_eq!(transmit.to, source());
            sent.push(transmit.bytes.to_vec());
        });
        sent
    }

    fn sent_naks(&mut self) -> Vec<(i32, i32, i32)> {
        let naks = self.sent().into_iter().filter_map(|bytes| Nak::parse(&bytes).ok());
        naks.map(|nak| (nak.term_id, nak.term_offset, nak.length)).collect()
    }

    fn sent_status(&mut self) -> Vec<StatusMessage> {
        self.sent().iter().filter_map(|bytes| StatusMessage::parse(bytes).ok()).collect()
    }

    /// Everything delivered, put together.
    fn delivered(&self) -> Vec<u8> {
        self.sink.calls.iter().flat_map(|(_, bytes)| bytes.clone()).collect()
    }
}

fn header(position: i64, frame_length: usize) -> DataHeader {
    DataHeader {
        frame_length: frame_length as i32,
        flags: UNFRAGMENTED,
        frame_type: FrameType::Data,
        term_offset: (position % i64::from(TERM_LENGTH)) as i32,
        session_id: SESSION_ID,
        stream_id: STREAM_ID,
        term_id: INITIAL_TERM_ID.wrapping_add((position / i64::from(TERM_LENGTH)) as i32),
        reserved_value: position,
    }
}

/// Frames with payloads of the given lengths, from a position on.
fn data(position: i64, payload_lengths: &[usize]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for &payload_length in payload_lengths {
        let at = position + bytes.len() as i64;
        bytes.extend_from_slice(&header(at, HEADER_LENGTH + payload_length).encode());
        bytes.resize(bytes.len() + align(payload_length), (at / 32) as u8);
    }
    bytes
}

fn padding(position: i64, length: usize) -> Vec<u8> {
    DataHeader { frame_type: FrameType::Pad, ..header(position, length) }.encode().to_vec()
}

fn heartbeat(position: i64, flags: u8) -> Vec<u8> {
    DataHeader { flags, ..header(position, 0) }.encode().to_vec()
}

#[test]
fn contiguous_datagrams_reach_the_sink_without_a_copy() {
    let mut fixture = Fixture::new();
    let datagram = data(0, &[32, 0, 100]);
    assert_eq!(fixture.receive(&datagram, 0), Ok(None));
    assert_eq!(fixture.sink.last_address, Some(datagram.as_ptr()));
    assert_eq!(fixture.sink.calls, [(0, datagram)]);
}

#[test]
fn a_sender_is_told_where_the_sink_stopped_to_consume_until_it_goes_on() {
    let mut fixture = Fixture::new();
    let told = |fixture: &mut Fixture| {
        let offsets: Vec<i32> =
            fixture.sent_status().iter().map(|status| status.consumption_term_offset).collect();
        offsets
    };
    fixture.sink.held_at = Some(1024);
    for datagram in data(0, &[992; 8]).chunks(1024) {
        fixture.receive(datagram, MS).unwrap();
    }
    assert_eq!(fixture.sink.calls.len(), 8, "what the sender had leave to send is taken");
    assert_eq!(told(&mut fixture), [], "a window's quarter was not consumed");
    fixture.image.on_timeout(SECOND, &mut fixture.port);
    assert_eq!(told(&mut fixture), [1024]);

    fixture.image.set_held_at(Some(2048), SECOND, &mut fixture.port);
    assert_eq!(told(&mut fixture), []);
    fixture.image.set_held_at(Some(5120), SECOND, &mut fixture.port);
    assert_eq!(told(&mut fixture), [5120], "at once, as the window opens");
    fixture.image.set_held_at(None, SECOND, &mut fixture.port);
    assert_eq!(told(&mut fixture), [8192]);
}

#[test]
fn what_is_ahead_waits_until_the_gap_is_filled() {
    let mut fixture = Fixture::new();
    let all = data(0, &[32; 10]);
    for range in [128..256, 384..640, 256..384] {
        fixture.receive(&all[range], 0).unwrap();
    }
    assert!(fixture.sink.calls.is_empty());
    fixture.receive(&all[..128], 0).unwrap();
    assert_eq!(fixture.delivered(), all);
    assert_eq!(fixture.image.rebuild_position(), 640);
}

#[test]
fn overlaps_are_cut_at_frames_and_nothing_comes_twice() {
    let mut fixture = Fixture::new();
    let all = data(0, &[32; 10]);
    for range in [0..128, 0..128, 64..256, 320..448, 256..512, 0..640, 448..640] {
        fixture.receive(&all[range], 0).unwrap();
    }
    assert_eq!(fixture.delivered(), all);
    assert_eq!(fixture.port.counters.data_duplicate, 2);
}

#[test]
fn a_datagram_that_disagrees_about_frame_starts_is_not_delivered() {
    let mut fixture = Fixture::new();
    fixture.receive(&data(0, &[32]), 0).unwrap();
    fixture.receive(&data(32, &[64]), 0).unwrap();
    assert_eq!((fixture.image.rebuild_position(), fixture.port.counters.data_misaligned), (64, 1));
}

#[test]
fn padding_leads_over_the_end_of_the_term() {
    let mut fixture = Fixture::new();
    let end = i64::from(TERM_LENGTH);
    let start = end - 4096;
    fixture.image.rebuild_position = start;
    fixture.image.status_position = start;
    let mut datagram = data(start, &[32]);
    datagram.extend(padding(start + 64, 4096 - 64));
    fixture.receive(&data(end, &[0]), 0).unwrap();
    fixture.receive(&datagram, 0).unwrap();
    assert_eq!(fixture.sink.calls, [(start, datagram), (end, data(end, &[0]))]);
    let status = fixture.sent_status();
    assert_eq!(status.len(), 1, "more than a quarter of the window was consumed");
    assert_eq!((status[0].consumption_term_id, status[0].consumption_term_offset), (i32::MIN, 32));
}

#[test]
fn datagrams_that_do_not_hold_together_are_rejected() {
    let whole = data(0, &[32, 32]);
    let other = |change: fn(&mut DataHeader)| {
        let mut second = header(64, 64);
        change(&mut second);
        let mut datagram = whole.clone();
        datagram[64..96].copy_from_slice(&second.encode());
        datagram
    };
    let end = i64::from(TERM_LENGTH);
    let cases = [
        ("session", other(|header| header.session_id += 1), Reject::BrokenChain),
        ("stream", other(|header| header.stream_id += 1), Reject::BrokenChain),
        ("term", other(|header| header.term_id = 0), Reject::BrokenChain),
        ("term offset", other(|header| header.term_offset += 32), Reject::BrokenChain),
        ("heartbeat inside", other(|header| header.frame_length = 0), Reject::BadLength),
        ("frame length", other(|header| header.frame_length = 65), Reject::BadLength),
        ("trailing bytes", [whole.clone(), vec![0; 32]].concat(), Reject::BadLength),
        ("alignment", whole[..whole.len() - 1].to_vec(), Reject::Unaligned),
        ("longer than the MTU", data(0, &[1408]), Reject::BadLength),
        ("padding before data", [padding(0, 32), data(32, &[0])].concat(), Reject::BadLength),
        ("padding with its bytes", [padding(0, 64), vec![0; 32]].concat(), Reject::BadLength),
        ("padding over the term's end", padding(end - 64, 96), Reject::OutsideTerm),
        ("data over the term's end", data(end - 64, &[64]), Reject::OutsideTerm),
        ("term offset unaligned", data(16, &[0]), Reject::Unaligned),
        ("heartbeat with more", [heartbeat(0, 0), vec![0; 32]].concat(), Reject::BadLength),
    ];
    for (what, datagram, expected) in cases {
        let mut fixture = Fixture::new();
        assert_eq!(fixture.receive(&datagram, 0), Err(expected), "{what}");
        assert!(fixture.sink.calls.is_empty(), "{what}");
    }
    let mut before = data(0, &[0]);
    before[20..24].copy_from_slice(&(INITIAL_TERM_ID - 1).to_le_bytes());
    assert_eq!(Fixture::new().receive(&before, 0), Err(Reject::OutsideTerm), "before the initial term");
}

#[test]
fn data_beyond_half_a_term_is_an_over_run() {
    let mut fixture = Fixture::new();
    fixture.receive(&data(i64::from(TERM_LENGTH / 2) - 32, &[32]), 0).unwrap();
    assert_eq!(fixture.port.counters.data_over_run, 1);
    fixture.receive(&data(i64::from(TERM_LENGTH / 2) - 64, &[32]), 0).unwrap();
    assert_eq!(fixture.port.counters.data_over_run, 1);
    assert_eq!(fixture.port.counters.data_without_room, 1, "nor was there leave to send it");
}

#[test]
fn a_gap_is_asked_for_at_once_and_a_heartbeat_shows_a_lost_tail() {
    let mut fixture = Fixture::new();
    fixture.image.on_timeout(0, &mut fixture.port);
    fixture.sent();
    fixture.receive(&data(128, &[32]), MS).unwrap();
    assert!(fixture.image.due_ns() <= MS);
    fixture.image.on_timeout(MS, &mut fixture.port);
    assert_eq!(fixture.sent_naks(), [(INITIAL_TERM_ID, 0, 128)]);

    fixture.receive(&data(0, &[96]), MS).unwrap();
    assert_eq!(fixture.image.rebuild_position(), 192);
    fixture.receive(&heartbeat(320, UNFRAGMENTED), 2 * MS).unwrap();
    fixture.image.on_timeout(2 * MS, &mut fixture.port);
    assert_eq!(fixture.sent_naks(), [(INITIAL_TERM_ID, 192, 128)]);
    assert_eq!((fixture.port.counters.loss_gaps, fixture.port.counters.loss_bytes), (2, 256));
}

#[test]
fn a_nak_never_reaches_over_the_end_of_a_term() {
    let mut fixture = Fixture::new();
    let end = i64::from(TERM_LENGTH);
    fixture.image.rebuild_position = end - 64;
    fixture.image.status_position = end - 64;
    fixture.receive(&data(end + 64, &[0]), 0).unwrap();
    fixture.image.on_timeout(0, &mut fixture.port);
    assert_eq!(fixture.sent_naks(), [(INITIAL_TERM_ID, TERM_LENGTH - 64, 64)]);
}

#[test]
fn status_messages_follow_consumption_and_otherwise_the_clock() {
    let mut fixture = Fixture::new();
    fixture.image.on_timeout(0, &mut fixture.port);
    let first = fixture.sent_status();
    assert_eq!(
        (first.len(), first[0].receiver_window, first[0].receiver_id),
        (1, WINDOW_LENGTH, RECEIVER_ID)
    );

    fixture.receive(&data(0, &[1024 - 32]), MS).unwrap();
    fixture.receive(&data(1024, &[1024 - 32]), MS).unwrap();
    assert!(fixture.sent().is_empty(), "a quarter of the window, not more");
    fixture.receive(&data(2048, &[0]), MS).unwrap();
    assert_eq!(fixture.sent_status()[0].consumption_term_offset, 2080);

    fixture.receive(&data(2080, &[0]), 2 * MS).unwrap();
    fixture.image.on_timeout(200 * MS, &mut fixture.port);
    assert!(fixture.sent().is_empty());
    assert_eq!(fixture.image.due_ns(), 201 * MS);
    fixture.image.on_timeout(201 * MS, &mut fixture.port);
    assert_eq!(fixture.sent_status()[0].consumption_term_offset, 2112, "the current position");
}

#[test]
fn a_stream_ends_when_everything_before_its_end_arrived() {
    let mut fixture = Fixture::new();
    assert_eq!(fixture.receive(&heartbeat(64, UNFRAGMENTED | EOS), 0), Ok(None));
    assert_eq!(fixture.receive(&data(0, &[32]), 0), Ok(Some(UnavailableReason::EndOfStream)));
    let mut farewells = Vec::new();
    for now_ns in (0..1200 * MS).step_by(10_000_000) {
        fixture.image.on_timeout(now_ns, &mut fixture.port);
        farewells.extend(fixture.sent_status().into_iter().map(|message| (now_ns / MS, message.flags)));
        assert_eq!(fixture.image.is_gone(now_ns), now_ns >= SECOND, "{now_ns}");
    }
    assert_eq!(farewells, [0, 200, 400, 600, 800].map(|ms| (ms, status_message::END_OF_STREAM)));
}

#[test]
fn a_revoked_stream_ends_whatever_is_missing() {
    let mut fixture = Fixture::new();
    fixture.receive(&data(64, &[0]), 0).unwrap();
    let revoked = heartbeat(4096, UNFRAGMENTED | EOS | REVOKED);
    assert_eq!(fixture.receive(&revoked, 0), Ok(Some(UnavailableReason::Revoked)));
    fixture.receive(&data(0, &[32]), 0).unwrap();
    assert!(fixture.sink.calls.is_empty());
}

#[test]
fn ten_silent_seconds_end_an_image() {
    let mut fixture = Fixture::new();
    fixture.receive(&heartbeat(0, UNFRAGMENTED), SECOND).unwrap();
    assert_eq!(fixture.image.on_timeout(11 * SECOND, &mut fixture.port), None);
    fixture.sent();
    let end = fixture.image.on_timeout(11 * SECOND + 1, &mut fixture.port);
    assert_eq!(end, Some(UnavailableReason::TimedOut));
    assert!(fixture.image.is_gone(11 * SECOND + 1) && fixture.sent().is_empty());
}

#[test]
fn an_implausible_heartbeat_does_not_keep_an_image_alive() {
    let mut fixture = Fixture::new();
    fixture.receive(&heartbeat(i64::from(TERM_LENGTH) + 32, UNFRAGMENTED | EOS), SECOND).unwrap();
    assert_eq!(fixture.port.counters.heartbeats_out_of_range, 1);
    assert!(fixture.image.on_timeout(10 * SECOND + 1, &mut fixture.port).is_some());
}

#[test]
fn a_refused_image_says_so_and_stays_deaf_until_its_sender_is_silent() {
    let mut fixture = Fixture::new();
    fixture.sink.refuses = true;
    assert_eq!(fixture.receive(&data(0, &[0]), 0), Ok(Some(UnavailableReason::Refused)));
    for now_ns in (0..30 * SECOND).step_by(50_000_000) {
        fixture.receive(&heartbeat(32, UNFRAGMENTED), now_ns).unwrap();
        fixture.image.on_timeout(now_ns, &mut fixture.port);
        assert!(!fixture.image.is_gone(now_ns));
    }
    let sent = fixture.sent();
    assert_eq!(sent.len(), FAREWELL_COUNT as usize);
    assert!(sent.iter().all(|bytes| ErrorFrame::parse(bytes).unwrap().error_code == 13));
    assert!(fixture.image.is_gone(40 * SECOND));
    assert_eq!(fixture.sink.calls.len(), 1);
}

#[test]
fn nothing_is_taken_or_sent_before_the_image_is_announced() {
    let mut fixture = Fixture::new();
    fixture.image.phase = Phase::Announcing;
    fixture.receive(&data(0, &[0]), 0).unwrap();
    fixture.image.on_timeout(SECOND, &mut fixture.port);
    assert!(fixture.sink.calls.is_empty() && fixture.sent().is_empty());
    assert_eq!(fixture.port.counters.data_before_announcement, 1);
    fixture.image.announced();
    assert!(fixture.image.due_ns() <= SECOND);
    fixture.image.on_timeout(SECOND, &mut fixture.port);
    assert_eq!(fixture.sent_status().len(), 1);
}

#[test]
fn a_round_trip_is_answered_to_whoever_means_this_receiver() {
    let mut fixture = Fixture::new();
    let asked = Rttm {
        flags: rttm::REPLY,
        session_id: SESSION_ID,
        stream_id: STREAM_ID,
        echo_timestamp_ns: 9,
        reception_delta_ns: 1,
        receiver_id: 0,
    };
    for rttm in [
        asked,
        Rttm { flags: 0, ..asked },
        Rttm { receiver_id: 3, ..asked },
        Rttm { receiver_id: RECEIVER_ID, ..asked },
    ] {
        fixture.image.on_rttm(&rttm, source(), &mut fixture.port);
    }
    let answer = Rttm { flags: 0, reception_delta_ns: 0, receiver_id: RECEIVER_ID, ..asked };
    assert_eq!(fixture.sent(), [answer.encode(), answer.encode()]);
}

#[test]
fn a_setup_that_describes_no_stream_is_rejected() {
    let of = |setup| ImageGeometry::of(&setup, WINDOW_LENGTH).map(|_| ());
    let legal = setup();
    assert_eq!(of(legal), Ok(()));
    assert_eq!(of(Setup { term_length: 65_537, ..legal }), Err(Reject::IllegalTermLength));
    for mtu in [0, -32, 32, 1400, WINDOW_LENGTH + 32, 65_536] {
        assert_eq!(of(Setup { mtu, ..legal }), Err(Reject::IllegalMtu), "{mtu}");
    }
    for term_offset in [-32, TERM_LENGTH, i32::MAX] {
        assert_eq!(of(Setup { term_offset, ..legal }), Err(Reject::OutsideTerm), "{term_offset}");
    }
    assert_eq!(of(Setup { term_offset: 33, ..legal }), Err(Reject::Unaligned));
    assert_eq!(of(Setup { active_term_id: INITIAL_TERM_ID - 1, ..legal }), Err(Reject::OutsideTerm));
    let next = Setup { active_term_id: i32::MIN, term_offset: 64, ..legal };
    let (geometry, window_length) = ImageGeometry::of(&next, i32::MAX).unwrap();
    assert_eq!(geometry.join_position, i64::from(TERM_LENGTH) + 64);
    assert_eq!(window_length, TERM_LENGTH / 8 * 3);
}
