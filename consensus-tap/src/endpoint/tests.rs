use super::*;
use crate::image::Refused;
use crate::wire::data::{HEADER_LENGTH, UNFRAGMENTED};
use crate::wire::{DataHeader, rttm};
use proptest::prelude::*;

const SECOND: u64 = 1_000_000_000;
const STREAM_ID: i32 = 1001;

fn peer() -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 9], 20_121))
}

/// Counts bytes, and refuses every so many calls if told so.
#[derive(Debug, Default)]
struct Counting {
    call_count: u64,
    byte_count: usize,
    refuse_every: Option<u64>,
}

impl ImageSink for Counting {
    fn append(&mut self, _: ImageKey, _: i64, frames: &[u8]) -> Result<(), Refused> {
        self.call_count += 1;
        self.byte_count += frames.len();
        match self.refuse_every {
            Some(every) if self.call_count.is_multiple_of(every) => Err(Refused),
            _ => Ok(()),
        }
    }
}

fn setup(session_id: i32) -> Setup {
    Setup {
        flags: 0,
        term_offset: 0,
        session_id,
        stream_id: STREAM_ID,
        initial_term_id: 5,
        active_term_id: 5,
        term_length: 65_536,
        mtu: 1408,
        ttl: 0,
    }
}

fn data(session_id: i32, term_offset: i32, flags: u8, payload: &[u8]) -> Vec<u8> {
    let header = DataHeader {
        frame_length: (HEADER_LENGTH + payload.len()) as i32,
        flags,
        frame_type: FrameType::Data,
        term_offset,
        session_id,
        stream_id: STREAM_ID,
        term_id: 5,
        reserved_value: 0,
    };
    let mut bytes = [&header.encode(), payload].concat();
    bytes.resize(bytes.len().next_multiple_of(32), 0);
    bytes
}

fn status(session_id: i32, window_length: i32) -> Vec<u8> {
    let message = StatusMessage {
        flags: 0,
        session_id,
        stream_id: STREAM_ID,
        consumption_term_id: 0,
        consumption_term_offset: 0,
        receiver_window: window_length,
        receiver_id: 77,
        group_tag: None,
    };
    let (bytes, length) = message.encode();
    bytes[..length].to_vec()
}

fn sent(endpoint: &mut Endpoint, now_ns: u64) -> Vec<Vec<u8>> {
    let mut sent = Vec::new();
    endpoint.poll_transmit(now_ns, &mut |transmit| sent.extend(transmit.datagrams().map(<[u8]>::to_vec)));
    sent
}

fn events(endpoint: &mut Endpoint) -> Vec<EndpointEvent> {
    std::iter::from_fn(|| endpoint.poll_event()).collect()
}

/// The subscription that each announced image belongs to.
fn announced(endpoint: &mut Endpoint) -> Vec<SubscriptionId> {
    let events = events(endpoint).into_iter();
    events
        .filter_map(|event| match event {
            EndpointEvent::ImageAvailable { key, .. } => Some(key.subscription),
            _ => None,
        })
        .collect()
}

#[test]
fn an_unknown_session_is_asked_for_its_setup_unless_it_ends() {
    let mut endpoint = Endpoint::new(1);
    let mut sink = Counting::default();
    endpoint.on_datagram(&data(3, 0, UNFRAGMENTED, b"a"), peer(), 0, &mut sink);
    assert_eq!(endpoint.counters().no_interest, 1);
    endpoint.add_subscription(SubscriptionParams::new(STREAM_ID));
    endpoint.on_datagram(&data(3, 0, UNFRAGMENTED | EOS, b""), peer(), 0, &mut sink);
    assert!(sent(&mut endpoint, 0).is_empty());

    for now_ns in [0, 1, SECOND - 1, SECOND] {
        endpoint.on_datagram(&data(3, 0, UNFRAGMENTED, b"a"), peer(), now_ns, &mut sink);
    }
    let elicitations = sent(&mut endpoint, 0);
    assert_eq!(elicitations.len(), 2, "once a second");
    let message = StatusMessage::parse(&elicitations[0]).unwrap();
    assert_eq!((message.flags, message.session_id, message.receiver_window), (0x80, 3, 0));
}

#[test]
fn an_image_delivers_after_its_announcement_and_answers_to_its_source() {
    let mut endpoint = Endpoint::new(1);
    let mut sink = Counting::default();
    endpoint.add_subscription(SubscriptionParams::new(STREAM_ID));
    endpoint.on_datagram(&setup(3).encode(), peer(), 0, &mut sink);
    endpoint.on_datagram(&data(3, 0, UNFRAGMENTED, b"a"), peer(), 0, &mut sink);
    assert_eq!((sink.byte_count, endpoint.counters().data_before_announcement), (0, 1));
    let [EndpointEvent::ImageAvailable { key, geometry, source }] = events(&mut endpoint)[..] else {
        panic!("one image")
    };
    assert_eq!((key.session_id, geometry.join_position, source), (3, 0, peer()));
    endpoint.on_timeout(0);
    let mut targets = Vec::new();
    endpoint.poll_transmit(0, &mut |transmit| targets.push(transmit.to));
    assert_eq!(targets, [peer()], "the first status message");
    endpoint.on_datagram(&data(3, 0, UNFRAGMENTED, b"a"), peer(), 0, &mut sink);
    assert_eq!((sink.byte_count, endpoint.image_position(key)), (64, Some(64)));
}

#[test]
fn a_subscription_to_one_session_comes_before_one_to_all() {
    let mut endpoint = Endpoint::new(1);
    let all = endpoint.add_subscription(SubscriptionParams::new(STREAM_ID));
    let one = endpoint.add_subscription(SubscriptionParams::of_session(STREAM_ID, 4));
    for session_id in [3, 4] {
        endpoint.on_datagram(&setup(session_id).encode(), peer(), 0, &mut Counting::default());
    }
    assert_eq!(announced(&mut endpoint), [all, one]);
    endpoint.remove_subscription(all, 0);
    endpoint.on_datagram(&setup(5).encode(), peer(), 0, &mut Counting::default());
    assert_eq!(announced(&mut endpoint), []);
}

#[test]
fn removing_a_subscription_ends_its_images_and_tells_their_senders() {
    let mut endpoint = Endpoint::new(1);
    let mut sink = Counting::default();
    let id = endpoint.add_subscription(SubscriptionParams::new(STREAM_ID));
    endpoint.on_datagram(&setup(3).encode(), peer(), 0, &mut sink);
    events(&mut endpoint);
    endpoint.remove_subscription(id, 0);
    endpoint.remove_subscription(id, 0);
    let ends = events(&mut endpoint);
    assert!(matches!(
        ends[..],
        [EndpointEvent::ImageUnavailable { reason: UnavailableReason::Closed, position: 0, .. }]
    ));
    let mut farewell_count = 0;
    for now_ns in (0..2 * SECOND).step_by(10_000_000) {
        endpoint.on_timeout(now_ns);
        farewell_count += sent(&mut endpoint, now_ns).len();
        endpoint.on_datagram(&data(3, 0, UNFRAGMENTED, b"a"), peer(), now_ns, &mut sink);
    }
    assert_eq!((farewell_count, sink.byte_count), (5, 0));
    assert!(endpoint.images.is_empty());
}

#[test]
fn a_flood_of_sessions_does_not_grow_memory() {
    let limits = EndpointLimits { image_count_max: 5, reserved_image_count: 2, pending_setup_count_max: 4 };
    let mut endpoint = Endpoint::with_limits(1, limits);
    let mut sink = Counting::default();
    endpoint.add_subscription(SubscriptionParams::new(STREAM_ID));
    for session_id in 0..1000 {
        endpoint.on_datagram(&data(session_id, 0, UNFRAGMENTED, b"a"), peer(), 0, &mut sink);
    }
    assert_eq!((endpoint.counters().setups_elicited, endpoint.counters().elicitations_over_limit), (4, 996));
    for session_id in 0..1000 {
        endpoint.on_datagram(&setup(session_id).encode(), peer(), 0, &mut sink);
    }
    assert_eq!((endpoint.images.len(), endpoint.counters().setups_over_limit), (3, 997));
    assert_eq!(endpoint.images.capacity(), 5);
}

#[test]
fn strays_leave_room_for_the_sessions_that_were_agreed_on() {
    let mut endpoint = Endpoint::new(1);
    let mut sink = Counting::default();
    let all = endpoint.add_subscription(SubscriptionParams::new(STREAM_ID));
    let one = endpoint.add_subscription(SubscriptionParams::of_session(STREAM_ID, -7));
    // Strays go on and on; every datagram of theirs is a SETUP.
    for now_ns in (0..5 * SECOND).step_by(1_000_000) {
        let stray = (now_ns / 1_000_000) as i32;
        endpoint.on_datagram(&setup(stray).encode(), peer(), now_ns, &mut sink);
        if now_ns == SECOND {
            endpoint.on_datagram(&setup(-7).encode(), peer(), now_ns, &mut sink);
        }
        endpoint.on_timeout(now_ns);
        if now_ns == 2 * SECOND {
            let announced = announced(&mut endpoint);
            assert_eq!(announced.iter().filter(|id| **id == all).count(), 24);
            assert_eq!(announced.last(), Some(&one));
        }
    }
    assert!(endpoint.counters().setups_over_limit > 4_000);
}

#[test]
fn an_owner_who_polls_no_events_gets_no_endless_list_of_them() {
    let limits = EndpointLimits { image_count_max: 2, reserved_image_count: 0, pending_setup_count_max: 4 };
    let mut endpoint = Endpoint::with_limits(1, limits);
    endpoint.add_subscription(SubscriptionParams::new(STREAM_ID));
    for round in 0..100 {
        let now_ns = round * 20 * SECOND;
        endpoint.on_datagram(&setup(round as i32).encode(), peer(), now_ns, &mut Counting::default());
        endpoint.on_timeout(now_ns + 11 * SECOND);
    }
    assert_eq!(events(&mut endpoint).len(), 8, "four images came and went");
    endpoint.on_datagram(&setup(-1).encode(), peer(), 0, &mut Counting::default());
    assert_eq!(announced(&mut endpoint).len(), 1);
}

#[test]
fn only_the_place_a_publication_sends_to_is_listened_to() {
    let mut endpoint = Endpoint::new(1);
    let mut sink = Counting::default();
    let id = endpoint.add_publication(PublicationParams::new(8, STREAM_ID), peer(), 0);
    let stranger = SocketAddr::from(([10, 0, 0, 9], 1));
    endpoint.on_datagram(&status(8, 4096), stranger, 0, &mut sink);
    assert_eq!(endpoint.publication_state(id), PublicationState::Connecting);
    endpoint.on_datagram(&status(9, 4096), peer(), 0, &mut sink);
    assert_eq!((endpoint.counters().unexpected_source, endpoint.counters().no_interest), (1, 1));
    endpoint.on_datagram(&status(8, 4096), peer(), 5, &mut sink);
    assert_eq!(endpoint.publication_state(id), PublicationState::Connected);
    assert_eq!(endpoint.last_status_message_ns(id), Some(5));
}

#[test]
fn the_id_of_a_publication_that_is_gone_names_no_other() {
    let mut endpoint = Endpoint::new(1);
    let first = endpoint.add_publication(PublicationParams::new(8, STREAM_ID), peer(), 0);
    endpoint.close_publication(first, 0);
    endpoint.on_timeout(0);
    let second = endpoint.add_publication(PublicationParams::new(9, STREAM_ID), peer(), 0);
    endpoint.on_datagram(&status(9, 4096), peer(), 0, &mut Counting::default());
    assert_eq!(endpoint.publication_state(first), PublicationState::Closed);
    assert_eq!(endpoint.offer(first, b"a"), Err(OfferError::Closed));
    endpoint.close_publication(first, 0);
    assert_eq!(endpoint.offer(second, b"a"), Ok(64));
}

#[test]
fn nothing_is_done_before_it_is_due() {
    let mut endpoint = Endpoint::new(1);
    assert_eq!(endpoint.on_timeout(SECOND), 0);
    endpoint.add_publication(PublicationParams::new(8, STREAM_ID), peer(), SECOND);
    assert_eq!(endpoint.on_timeout(SECOND), 1);
    assert_eq!(endpoint.on_timeout(SECOND + 99_999_999), 0);
    assert_eq!(endpoint.on_timeout(SECOND + 100_000_000), 1);
    assert_eq!(sent(&mut endpoint, 0).len(), 2);
}

#[test]
fn a_refusal_is_reported_to_the_publications_owner() {
    let mut endpoint = Endpoint::new(1);
    let id = endpoint.add_publication(PublicationParams::new(8, STREAM_ID), peer(), 0);
    let refusal = ErrorFrame {
        session_id: 8,
        stream_id: STREAM_ID,
        receiver_id: 77,
        group_tag: None,
        error_code: 13,
        text: b"no",
    };
    let mut bytes = [0; crate::wire::error_frame::ERROR_LENGTH_MAX];
    let length = refusal.encode(&mut bytes);
    endpoint.on_datagram(&bytes[..length], peer(), 0, &mut Counting::default());
    let expected = EndpointEvent::PublicationRejected { publication: id, error_code: 13 };
    assert_eq!(events(&mut endpoint), [expected]);
}

/// A datagram that is likely to get past the first checks: a valid one with a few bytes changed, or
/// arbitrary bytes.
fn datagrams() -> impl Strategy<Value = Vec<u8>> {
    let offset = (0_i32..70_000).prop_map(|offset| offset / 32 * 32);
    let valid = prop_oneof![
        (0..4_i32).prop_map(|session_id| setup(session_id).encode().to_vec()),
        (0..4_i32, offset.clone(), 0_usize..1400, any::<u8>()).prop_map(
            |(session_id, offset, length, flags)| data(session_id, offset, flags, &vec![1; length])
        ),
        (0..4_i32, offset.clone(), any::<u8>()).prop_map(|(session_id, offset, flags)| {
            let mut heartbeat = data(session_id, offset, flags, b"");
            heartbeat[..4].fill(0);
            heartbeat
        }),
        (0..4_i32, offset.clone(), 32_u32..100_000).prop_map(|(session_id, offset, length)| {
            let mut padding = data(session_id, offset, UNFRAGMENTED, b"");
            padding[..4].copy_from_slice(&length.to_le_bytes());
            padding[6] = 0;
            padding
        }),
        (0..4_i32, any::<i32>()).prop_map(|(session_id, window)| status(session_id, window)),
        (0..4_i32, offset, any::<i32>()).prop_map(|(session_id, term_offset, length)| {
            Nak { session_id, stream_id: STREAM_ID, term_id: 0, term_offset, length }.encode().to_vec()
        }),
        (0..4_i32, any::<i64>()).prop_map(|(session_id, receiver_id)| {
            let rttm = Rttm {
                flags: rttm::REPLY,
                session_id,
                stream_id: STREAM_ID,
                echo_timestamp_ns: receiver_id,
                reception_delta_ns: 0,
                receiver_id,
            };
            rttm.encode().to_vec()
        }),
    ];
    let changes = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3);
    prop_oneof![
        4 => valid.clone(),
        2 => (valid, changes).prop_map(|(mut bytes, changes)| {
            for (index, value) in changes {
                let index = index.index(bytes.len());
                bytes[index] = value;
            }
            bytes
        }),
        1 => prop::collection::vec(any::<u8>(), 0..200),
    ]
}

proptest! {
    /// Whatever arrives, in whatever order and however late, nothing panics and nothing grows.
    #[test]
    fn any_datagram_is_survived(
        inputs in prop::collection::vec((datagrams(), 0_u64..300_000_000), 1..60),
        refuse_every in prop::option::of(1_u64..20),
    ) {
        let limits = EndpointLimits { image_count_max: 3, reserved_image_count: 1, pending_setup_count_max: 2 };
        let mut endpoint = Endpoint::with_limits(1, limits);
        let mut sink = Counting { refuse_every, ..Counting::default() };
        endpoint.add_subscription(SubscriptionParams::new(STREAM_ID));
        let publication = endpoint.add_publication(PublicationParams::new(2, STREAM_ID), peer(), 0);
        let mut now_ns = 0;
        let mut received_byte_count = 0;
        for (datagram, pause_ns) in inputs {
            now_ns += pause_ns;
            received_byte_count += datagram.len();
            endpoint.on_datagram(&datagram, peer(), now_ns, &mut sink);
            let _ = endpoint.offer(publication, &[9; 5000]);
            endpoint.on_timeout(now_ns);
            while endpoint.poll_event().is_some() {}
            endpoint.on_timeout(now_ns);
            let mut sent_byte_count = 0;
            endpoint.poll_transmit(now_ns, &mut |transmit| sent_byte_count += transmit.bytes.len());
            prop_assert!(sent_byte_count < 4 * 65_536);
            prop_assert!(endpoint.images.len() <= limits.image_count_max);
        }
        prop_assert!(sink.byte_count <= received_byte_count, "nothing is delivered that did not arrive");
    }
}
