use service_api::LeadershipTermId;

use super::*;

const LIMITS: EgressLimits = EgressLimits { message_length_max: 8192, window_length: 1000, is_shared: false };

fn header(session_id: i64) -> EgressHeader {
    EgressHeader {
        leadership_term_id: LeadershipTermId(3),
        cluster_session_id: ClusterSessionId(session_id),
        timestamp: 77,
    }
}

fn connected(session_ids: &[i64], limits: EgressLimits) -> (EgressSender, EgressReceiver) {
    let (sender, receiver) = egress_ring(2, limits);
    for id in session_ids {
        assert!(receiver.open(*id));
        receiver.changed(*id, EgressState::Connected);
    }
    (sender, receiver)
}

/// Session ids and payloads of all that has been handed over.
fn received(receiver: &mut EgressReceiver) -> Vec<(i64, Vec<u8>)> {
    let mut replies = Vec::new();
    receiver.poll(usize::MAX, |session_id, timestamp, payload| {
        assert_eq!(timestamp, 77);
        replies.push((session_id, payload.to_vec()));
    });
    replies
}

#[test]
fn replies_arrive_in_order_with_their_times() {
    let (mut sender, mut receiver) = connected(&[1, 2], LIMITS);
    sender.offer(&header(1), b"one").unwrap();
    sender.try_claim(&header(2), 4).unwrap();
    sender.claimed_mut().copy_from_slice(b"gone");
    sender.abort();
    sender.try_claim(&header(2), 3).unwrap();
    sender.claimed_mut().copy_from_slice(b"two");
    assert_eq!(sender.claimed(), b"two");
    sender.commit().unwrap();
    assert_eq!(received(&mut receiver), [], "not handed over yet");
    assert_eq!((sender.flush(), sender.flush()), (1, 0));
    sender.offer(&header(1), b"").unwrap();
    sender.flush();
    let expected = [(1, b"one".to_vec()), (2, b"two".to_vec()), (1, Vec::new())];
    assert_eq!(received(&mut receiver), expected);
}

#[test]
fn a_service_whose_buffers_are_all_under_way_goes_on_with_its_own() {
    let (mut sender, mut receiver) = connected(&[1], LIMITS);
    for i in 0..5u8 {
        sender.offer(&header(1), &[i]).unwrap();
        assert_eq!(sender.flush(), usize::from(i < 2), "two buffers go round");
    }
    assert_eq!(received(&mut receiver).len(), 2);
    sender.flush();
    let rest: Vec<_> = received(&mut receiver).into_iter().map(|(_, payload)| payload[0]).collect();
    assert_eq!(rest, [2, 3, 4]);
}

#[test]
fn a_session_is_not_connected_before_it_is_after_it_was_and_when_it_is_unknown() {
    let (mut sender, receiver) = connected(&[], LIMITS);
    let mut offer = |id| sender.offer(&header(id), b"x");
    assert_eq!(offer(7), Err(OfferError::NotConnected));
    assert!(receiver.open(7));
    assert_eq!(offer(7), Err(OfferError::NotConnected));
    receiver.changed(7, EgressState::Connected);
    assert_eq!(offer(7), Ok(()));
    receiver.changed(7, EgressState::BackPressured);
    assert_eq!(offer(7), Err(OfferError::BackPressured));
    receiver.changed(7, EgressState::NotConnected);
    assert_eq!(offer(7), Err(OfferError::NotConnected));
    receiver.changed(7, EgressState::Connected);
    receiver.close(7);
    assert_eq!(offer(7), Err(OfferError::NotConnected));
}

#[test]
fn a_message_longer_than_a_stream_takes_is_told_what_fits() {
    let (mut sender, _receiver) = connected(&[1], EgressLimits { message_length_max: 132, ..LIMITS });
    assert_eq!(sender.offer(&header(1), &[0; 100]), Ok(()));
    let too_long = OfferError::TooLong { length: 101, length_max: 100 };
    assert_eq!(sender.try_claim(&header(1), 101), Err(too_long));
}

#[test]
fn a_full_window_back_pressures_its_session_alone_until_its_replies_are_taken() {
    let (mut sender, mut receiver) = connected(&[1, 2], LIMITS);
    let fill = |sender: &mut EgressSender| {
        let mut count = 0;
        while sender.offer(&header(1), &[0; 100]).is_ok() {
            count += 1;
        }
        count
    };
    assert_eq!(fill(&mut sender), 8, "128 bytes each, the ninth would pass 1000");
    assert_eq!(sender.offer(&header(1), &[0; 100]), Err(OfferError::BackPressured));
    sender.offer(&header(2), &[0; 100]).unwrap();
    sender.flush();
    assert_eq!(sender.offer(&header(1), &[0; 100]), Err(OfferError::BackPressured), "nothing was taken");
    assert_eq!(receiver.poll(2, |_, _, _| {}), 2);
    assert_eq!(fill(&mut sender), 2);
}

#[test]
fn the_receiver_knows_up_to_which_event_it_has_handed_out_all_replies() {
    let (mut sender, mut receiver) = connected(&[1], LIMITS);
    sender.flush_handled(64);
    assert_eq!(receiver.replied_position(), i64::MIN, "the service may say more in this cycle");
    sender.settle();
    assert_eq!(receiver.replied_position(), 64, "there was no reply");

    // Two buffers are under way, and what the third event is answered with has to wait.
    for event in 1..=3 {
        sender.offer(&header(1), &[event; 10]).unwrap();
        sender.flush_handled(64 + 32 * i64::from(event));
    }
    sender.settle();
    assert_eq!(receiver.replied_position(), 64);
    assert_eq!(receiver.poll(1, |_, _, _| {}), 1);
    assert_eq!(receiver.replied_position(), 64, "it does not know yet that this was the buffer's last");
    assert_eq!(receiver.poll(usize::MAX, |_, _, _| {}), 1);
    assert_eq!(receiver.replied_position(), 128, "whether the third had replies is not settled");
    sender.settle();
    assert_eq!(receiver.replied_position(), 128, "they are on the way");
    assert_eq!(receiver.poll(usize::MAX, |_, _, _| {}), 1);
    assert_eq!(receiver.replied_position(), 160);
}

#[test]
fn on_one_thread_a_full_window_is_no_reason_to_try_again() {
    let (mut sender, _receiver) = connected(&[1], EgressLimits { is_shared: true, ..LIMITS });
    sender.offer(&header(1), &[0; 900]).unwrap();
    assert_eq!(sender.offer(&header(1), &[0; 900]), Err(OfferError::NotConnected));
}

#[test]
fn a_single_message_may_be_longer_than_the_window() {
    let (mut sender, _receiver) = connected(&[1], LIMITS);
    assert_eq!(sender.offer(&header(1), &[0; 4000]), Ok(()));
    assert_eq!(sender.offer(&header(1), &[]), Err(OfferError::BackPressured));
}

#[test]
fn sessions_whose_slots_collide_are_told_apart_and_a_window_outlives_its_session() {
    let (first, second) = (5, 5 + SLOT_COUNT as i64);
    let (mut sender, mut receiver) = connected(&[first, second], LIMITS);
    sender.offer(&header(first), b"first").unwrap();
    sender.offer(&header(second), b"second").unwrap();
    receiver.close(first);
    assert_eq!(sender.offer(&header(first), b"late"), Err(OfferError::NotConnected));
    sender.offer(&header(second), b"still there").unwrap();
    sender.flush();
    let ids: Vec<i64> = received(&mut receiver).into_iter().map(|(id, _)| id).collect();
    assert_eq!(ids, [first, second, second]);
    // The next session of the slot begins with a whole window.
    let third = second + SLOT_COUNT as i64;
    assert!(receiver.open(third));
    receiver.changed(third, EgressState::Connected);
    assert_eq!(sender.offer(&header(third), &[0; 900]), Ok(()));
}

#[test]
fn sessions_beyond_the_slots_get_no_replies_which_is_said_and_disturb_nobody() {
    let (mut sender, receiver) = egress_ring(2, LIMITS);
    for id in 1..=SLOT_COUNT as i64 + 1 {
        assert_eq!(receiver.open(id), id <= SLOT_COUNT as i64);
        receiver.changed(id, EgressState::Connected);
    }
    assert_eq!(sender.offer(&header(SLOT_COUNT as i64 + 1), b"x"), Err(OfferError::NotConnected));
    assert_eq!(sender.offer(&header(1), b"x"), Ok(()));
}
