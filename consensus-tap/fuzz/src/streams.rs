//! What keeps state between datagrams: the archive client, the endpoint, the tap. Their inputs are scripts.

use std::net::SocketAddr;

use consensus_tap::archive::{ArchiveClient, ArchiveClientParams, ArchiveEvent, Credentials, ReplayParams};
use consensus_tap::endpoint::Endpoint;
use consensus_tap::image::{ImageKey, ImageSink, Refused, SubscriptionParams};
use consensus_tap::publication::PublicationParams;
use consensus_tap::tap::{RecordingKey, Tap, TapAction};
use consensus_tap::wire::frames;

use crate::conversation::{CONSENSUS_STREAM_ID, MemoryRecorder, SECOND_NS, tap_config};
use crate::script::Script;

/// Correlation ids that [`archive_client`] hands out begin here, so that seeds can answer them.
pub const ARCHIVE_CORRELATION_SEED: i64 = 100;

/// Messages of a response stream in any order, between requests and time-outs.
///
/// A step is a byte: below 192 a message follows, as a block; above, a request is made or time passes.
pub fn archive_client(bytes: &[u8]) {
    let mut script = Script::new(bytes);
    let mut now_ns = SECOND_NS;
    let mut client = ArchiveClient::new(ArchiveClientParams {
        response_stream_id: 20,
        response_channel: "aeron:udp?endpoint=localhost:1".to_owned(),
        credentials: Credentials::ChallengeResponse { initial: b"a".to_vec(), answer: b"b".to_vec() },
        client_info: String::new(),
        message_timeout_ns: 10 * SECOND_NS,
        correlation_seed: ARCHIVE_CORRELATION_SEED,
    });
    client.on_connected(now_ns);
    while !script.is_over() {
        match script.byte() {
            0..192 => client.on_message(script.block(), now_ns),
            192..208 => drop(client.list_recording(1, now_ns)),
            208..216 => drop(client.list_recordings(0, 3, now_ns)),
            216..224 => drop(client.max_recorded_position(1, now_ns)),
            224..236 => drop(client.bounded_replay(&ReplayParams::new(1, 100, "aeron:udp"), 7, now_ns)),
            236..240 => drop(client.stop_replay(1, now_ns)),
            240..252 => now_ns += SECOND_NS * 3,
            252.. => client.on_disconnected(),
        }
        client.on_timeout(now_ns);
        while client.poll_request().is_some() {
            client.request_sent();
        }
        while let Some(event) = client.poll_event() {
            match event {
                ArchiveEvent::Failed(failure) => assert!(!failure.to_string().is_empty()),
                // The longest string that Aeron writes is an error's or a channel's.
                ArchiveEvent::Error { message, .. } => assert!(message.len() <= 8192),
                event => drop(event),
            }
        }
        assert!(client.next_deadline_ns().is_none_or(|deadline_ns| deadline_ns >= now_ns));
    }
}

/// Datagrams to a socket with two subscriptions and a publication; the sink checks what an image promises.
///
/// A step is a byte: its low bits choose the sender and how much time passes, then a datagram follows, as a block.
pub fn endpoint(bytes: &[u8]) {
    let mut script = Script::new(bytes);
    let mut now_ns = SECOND_NS;
    let mut endpoint = Endpoint::new(7);
    endpoint.add_subscription(SubscriptionParams::new(CONSENSUS_STREAM_ID));
    endpoint.add_subscription(SubscriptionParams::of_session(100, 5));
    let peers: [SocketAddr; 2] = [([127, 0, 0, 1], 1).into(), ([127, 0, 0, 1], 2).into()];
    let publication = endpoint.add_publication(PublicationParams::new(9, 10), peers[0], now_ns);
    let mut sink = ContiguousSink::default();
    while !script.is_over() {
        let step = script.byte();
        now_ns += [0, 1_000_000, 200_000_000, 11 * SECOND_NS][usize::from(step >> 6)];
        endpoint.on_datagram(script.block(), peers[usize::from(step & 1)], now_ns, &mut sink);
        let _ = endpoint.offer(publication, &[0; 3000][..usize::from(step & 0x3e) * 48]);
        endpoint.on_timeout(now_ns);
        let mut sent_length = 0;
        endpoint.poll_transmit(now_ns, &mut |run| sent_length += run.bytes.len());
        // A NAK may ask for a window's worth at once, never for more than the term that is kept.
        assert!(sent_length <= 256 * 1024, "{sent_length} bytes sent in answer to one datagram");
        while let Some(event) = endpoint.poll_event() {
            assert!(!format!("{event:?}").is_empty());
        }
    }
    assert!(sink.next.len() <= 4096);
}

/// Datagrams to a tap that is in whatever state time brought it to. Steps as in [`endpoint`].
pub fn tap_datagrams(bytes: &[u8]) {
    let mut script = Script::new(bytes);
    let mut now_ns = SECOND_NS;
    let mut tap = Tap::new(tap_config(), 7);
    let mut recorder = MemoryRecorder::default();
    let peer: SocketAddr = ([127, 0, 0, 1], 1).into();
    tap.start(None, now_ns);
    while !script.is_over() {
        let step = script.byte();
        now_ns += [0, 1_000_000, 200_000_000, 11 * SECOND_NS][usize::from(step >> 6)];
        tap.on_datagram(script.block(), peer, now_ns, &mut recorder);
        tap.on_timeout(now_ns, &mut recorder);
        tap.poll_transmit(now_ns, &mut |_| {});
        while let Some(action) = tap.poll_action() {
            if let TapAction::Resolve { token, .. } = action {
                tap.on_resolved(token, (step & 2 == 0).then_some(peer), now_ns);
            }
        }
        if step & 4 != 0 {
            // Answers to what was never asked, as after a source was given up.
            assert!(!tap.on_recording_opened(RecordingKey::Snapshot(0), now_ns), "nobody asked for it");
            tap.on_leadership_term(i64::from(step), 1);
        }
    }
    assert!(recorder.log.is_none(), "nobody who does not know our session ids gets anything recorded");
}

/// Holds every image to its promise: whole frames, without a gap.
#[derive(Default)]
struct ContiguousSink {
    next: Vec<(ImageKey, i64)>,
}

impl ImageSink for ContiguousSink {
    fn append(&mut self, image: ImageKey, position: i64, bytes: &[u8]) -> Result<(), Refused> {
        let mut walk = frames(bytes);
        assert!(walk.by_ref().all(|frame| frame.is_ok()), "a run of whole frames");
        let end = position + walk.walked_length() as i64;
        match self.next.iter_mut().find(|(known, _)| *known == image) {
            Some((_, next)) => {
                assert_eq!(*next, position, "an image leaves nothing out");
                *next = end;
            }
            None => self.next.push((image, end)),
        }
        // An application's refusal must not upset the image either.
        if end % 1024 == 992 { Err(Refused) } else { Ok(()) }
    }
}
