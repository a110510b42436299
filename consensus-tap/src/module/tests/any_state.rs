//! Whatever the inputs were: a snapshot and the tail lead where the whole log leads.

use super::snapshots::busy_state;
use super::*;
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Input {
    Open,
    Close(i64),
    Message(i64),
    ServiceLogged(usize),
    Timer(i64, i64),
    Schedule(i64, i64),
    Cancel(i64),
    Offer(usize, Vec<u8>),
    CloseByService(i64),
}

fn input() -> impl Strategy<Value = Input> {
    prop_oneof![
        Just(Input::Open),
        (0..8i64).prop_map(Input::Close),
        (0..8i64).prop_map(Input::Message),
        (0..3usize).prop_map(Input::ServiceLogged),
        (0..6i64, 0..100i64).prop_map(|(id, timestamp)| Input::Timer(id, timestamp)),
        (0..6i64, 0..100i64).prop_map(|(id, deadline)| Input::Schedule(id, deadline)),
        (0..6i64).prop_map(Input::Cancel),
        (0..3usize, proptest::collection::vec(any::<u8>(), 0..2000)).prop_map(|(id, p)| Input::Offer(id, p)),
        (0..8i64).prop_map(Input::CloseByService),
    ]
}

fn apply(feed: &mut Feed, input: &Input) {
    match input {
        Input::Open => feed.open(feed.state.next_session_id()),
        Input::Close(id) => feed.event(&close(*id)),
        Input::Message(id) => feed.message(*id),
        // Only what was offered can be logged: the members' service is the same as ours.
        Input::ServiceLogged(service) => {
            let tracker = &feed.state.services()[*service];
            let id = tracker.log_service_session_id() + 1;
            if id < tracker.next_service_session_id() {
                feed.message(id);
            }
        }
        Input::Timer(id, timestamp) => feed.timer_event(*id, *timestamp),
        Input::Schedule(id, deadline) => {
            feed.message(0);
            feed.schedule(*id, *deadline);
        }
        Input::Cancel(correlation_id) => {
            feed.message(0);
            feed.emit(0, ServiceEmission::CancelTimer { correlation_id: *correlation_id });
        }
        Input::Offer(service, payload) => {
            feed.message(0);
            feed.emit(*service as u8, ServiceEmission::Offer(payload));
        }
        Input::CloseByService(id) => {
            feed.message(0);
            feed.emit(0, ServiceEmission::CloseSession { cluster_session_id: ClusterSessionId(*id) });
        }
    }
}

proptest! {
    #[test]
    fn a_snapshot_taken_anywhere_and_the_tail_lead_to_the_same_state_as_the_whole_log(
        inputs in proptest::collection::vec(input(), 1..80),
        cut in 0usize..80,
    ) {
        let cut = cut.min(inputs.len());
        let mut whole = Feed::new(3);
        for input in &inputs[..cut] {
            apply(&mut whole, input);
        }
        let loaded = load(&recording_of(&whole.state), 3).unwrap();
        prop_assert_eq!(whole.state.diff(&loaded), Vec::<String>::new());
        let mut resumed = Feed { state: loaded, timestamp: whole.timestamp };
        for input in &inputs[cut..] {
            apply(&mut whole, input);
            apply(&mut resumed, input);
        }
        prop_assert_eq!(whole.state.diff(&resumed.state), Vec::<String>::new());
        prop_assert_eq!(resumed.state.diff(&whole.state), Vec::<String>::new());
    }

    #[test]
    fn a_snapshot_with_flipped_bytes_never_panics(
        flips in proptest::collection::vec((0usize..100_000, any::<u8>()), 1..6),
    ) {
        let mut recording = recording_of(&busy_state());
        for (at, value) in flips {
            let at = at % recording.bytes.len();
            recording.bytes[at] ^= value;
        }
        if let Ok(state) = load(&recording, 2) {
            let _ = recording_of(&state);
            let _ = state.diff(&busy_state());
        }
    }
}
