/// What an [`ArchiveServer`](super::ArchiveServer) is told before it starts. Times are in nanoseconds.
#[derive(Clone, Debug)]
pub struct ArchiveServerConfig {
    /// What `ArchiveId` answers: tells this archive from others of the cluster.
    pub archive_id: i64,
    /// The stream of requests; 10 unless the cluster says otherwise.
    pub control_stream_id: i32,
    /// The most control sessions at once.
    pub session_count_max: usize,
    /// The most replays at once; Aeron's default is 20.
    pub replay_count_max: usize,
    /// Id of our own commit-position counter: the only one that may bound a replay.
    pub limit_counter_id: i32,
    /// How long a client or a replay's receiver may take to connect, and a response to be taken; Aeron's
    /// default is 5 s.
    pub connect_timeout_ns: u64,
    /// Time between two looks whether a client lives; Aeron's default is 1 s.
    pub liveness_check_interval_ns: u64,
    /// How long a replay stays after its end where the request does not say; Aeron's default is 5 s.
    pub replay_linger_ns: u64,
    /// Seeds session ids; a run with the same seed and input makes the same decisions.
    pub seed: u64,
}

impl Default for ArchiveServerConfig {
    fn default() -> Self {
        Self {
            archive_id: 0,
            control_stream_id: 10,
            session_count_max: 64,
            replay_count_max: 20,
            limit_counter_id: -1,
            connect_timeout_ns: 5_000_000_000,
            liveness_check_interval_ns: 1_000_000_000,
            replay_linger_ns: 5_000_000_000,
            seed: 0,
        }
    }
}
