use crate::wire::Reject;

/// What happened on one socket, since it was opened. Every dropped datagram is in exactly one of the
/// counters that say so.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct TransportCounters {
    /// Datagrams taken in.
    pub datagrams_received: u64,
    /// Their bytes.
    pub bytes_received: u64,
    /// Datagrams dropped because of what is in them, by [`Reject::index`].
    pub invalid: [u64; Reject::COUNT],
    /// Frames dropped because no subscription or publication here is meant by them.
    pub no_interest: u64,
    /// Frames for a publication that did not come from where it sends to.
    pub unexpected_source: u64,

    /// SETUP frames for a stream that is subscribed to.
    pub setups_received: u64,
    /// SETUP frames that would have made one image too many.
    pub setups_over_limit: u64,
    /// Status messages sent to ask for a SETUP.
    pub setups_elicited: u64,
    /// Unknown sessions not asked for a SETUP because too many others were.
    pub elicitations_over_limit: u64,
    /// Datagrams with data or padding that were news.
    pub data_received: u64,
    /// Datagrams that held nothing new.
    pub data_duplicate: u64,
    /// Datagrams that came ahead of a gap.
    pub data_out_of_order: u64,
    /// Datagrams dropped because they, or a frame in them, found no room ahead of a gap.
    pub data_without_room: u64,
    /// Datagrams dropped because they, or frames kept of them, disagree with what came before about
    /// where frames begin.
    pub data_misaligned: u64,
    /// Datagrams dropped because they lie beyond what was asked for.
    pub data_over_run: u64,
    /// Datagrams dropped because their image was not announced yet.
    pub data_before_announcement: u64,
    /// Heartbeats taken.
    pub heartbeats_received: u64,
    /// Heartbeats dropped because their position is implausible.
    pub heartbeats_out_of_range: u64,
    /// Gaps found.
    pub loss_gaps: u64,
    /// Bytes missing in them when they were found.
    pub loss_bytes: u64,
    /// NAKs sent.
    pub naks_sent: u64,
    /// Status messages sent, without those that ask for a SETUP.
    pub status_messages_sent: u64,
    /// ERR frames sent.
    pub error_frames_sent: u64,

    /// Datagrams with data or padding sent, without retransmissions.
    pub data_sent: u64,
    /// Their bytes.
    pub data_bytes_sent: u64,
    /// Heartbeats sent.
    pub heartbeats_sent: u64,
    /// SETUP frames sent.
    pub setups_sent: u64,
    /// Status messages for a publication here.
    pub status_messages_received: u64,
    /// Status messages dropped because their position is implausibly far from the sender's.
    pub status_messages_rejected: u64,
    /// NAKs for a publication here.
    pub naks_received: u64,
    /// NAKs dropped because what they ask for was never sent, is gone, or makes no sense.
    pub naks_rejected: u64,
    /// NAKs not answered because their range was sent again just now.
    pub naks_ignored: u64,
    /// Datagrams sent again.
    pub retransmits_sent: u64,
    /// Their bytes.
    pub retransmit_bytes_sent: u64,
    /// ERR frames for a publication here.
    pub error_frames_received: u64,
    /// Round trip measurements answered.
    pub rttm_replies_sent: u64,
    /// Control frames dropped because too many waited to be sent.
    pub outbox_overflows: u64,
}

impl TransportCounters {
    pub(crate) fn count_invalid(&mut self, reject: Reject) {
        self.invalid[reject.index()] += 1;
    }

    /// Datagrams dropped because of what is in them.
    pub fn invalid_total(&self) -> u64 {
        self.invalid.iter().sum()
    }
}
