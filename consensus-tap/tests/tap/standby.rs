use super::recorder::{MemoryRecorder, MemoryRecording};
use super::rng::Rng;
use consensus_tap::channel::HostPort;
use consensus_tap::tap::{RecordingKey, Tap, TapAction, TapConfig, TapReport, TapState};
use std::net::SocketAddr;

const MS: u64 = 1_000_000;
pub(crate) const SECOND: u64 = 1_000 * MS;

/// A tap and the runtime around it: what it asks for takes time, and may not come.
#[derive(Debug)]
pub(crate) struct Standby {
    pub(crate) tap: Tap,
    pub(crate) config: TapConfig,
    pub(crate) address: SocketAddr,
    pub(crate) recorder: MemoryRecorder,
    /// The newest complete snapshot set: its log position, and the recordings.
    pub(crate) snapshot_set: Option<(i64, Vec<(i64, MemoryRecording)>)>,
    pub(crate) set_count: u64,
    /// Sets that came while the log was there.
    pub(crate) set_beside_count: u64,
    /// Whether the disk takes no snapshot.
    pub(crate) refuses_snapshots: bool,
    /// How often newer snapshots are asked for, as a backup does.
    pub(crate) query_interval_ns: u64,
    query_due_ns: u64,
    pub(crate) reports: Vec<TapReport>,
    pub(crate) resolver_fails_per_mille: u64,
    pub(crate) unresolved: u64,
    pub(crate) restarts: u64,
    /// How much longer than usual the runtime takes to open a recording.
    pub(crate) opening_takes_ns: u64,
    pub(crate) opening_count: u64,
    opened_rows: Vec<(i64, i64)>,
    answers: Vec<(u64, Answer)>,
    rng: Rng,
}

#[derive(Debug)]
enum Answer {
    Resolved(u64, Option<SocketAddr>),
    /// With the start position, and the number of the request.
    Opened(RecordingKey, i64, u64),
    SnapshotFailed,
}

impl Standby {
    pub(crate) fn config(seed: u64, endpoints: &[&str]) -> TapConfig {
        TapConfig {
            member_id: 100,
            consensus_endpoints: endpoints.iter().map(|text| text.parse().expect("host:port")).collect(),
            response_endpoint: "10.0.0.9:20000".parse().expect("host:port"),
            endpoint_map: Vec::new(),
            source_type: Default::default(),
            routing: Default::default(),
            replay_start: Default::default(),
            service_count: Some(1),
            fetch_snapshots: false,
            consensus_stream_id: 108,
            archive_control_stream_id: 10,
            archive_response_stream_id: 20,
            receive_window_length: 128 * 1024,
            cluster_credentials: Default::default(),
            archive_credentials: Default::default(),
            connect_timeout_ns: SECOND,
            response_timeout_ns: 2 * SECOND,
            message_timeout_ns: 10 * SECOND,
            progress_timeout_ns: 10 * SECOND,
            source_timeout_ns: 5 * SECOND,
            heartbeat_interval_ns: SECOND,
            source_position_interval_ns: 250 * MS,
            seed,
        }
    }

    pub(crate) fn new(config: TapConfig, rng: Rng, now_ns: u64) -> Self {
        let mut standby = Self {
            tap: Tap::new(config.clone(), 9_000),
            address: config.response_endpoint.socket_addr().expect("an address"),
            config,
            recorder: MemoryRecorder::default(),
            snapshot_set: None,
            set_count: 0,
            set_beside_count: 0,
            refuses_snapshots: false,
            query_interval_ns: u64::MAX,
            query_due_ns: 0,
            reports: Vec::new(),
            resolver_fails_per_mille: 0,
            unresolved: 0,
            restarts: 0,
            opening_takes_ns: 0,
            opening_count: 0,
            opened_rows: Vec::new(),
            answers: Vec::new(),
            rng,
        };
        standby.tap.start(None, now_ns);
        standby
    }

    pub(crate) fn state(&self) -> TapState {
        self.tap.status().state
    }

    /// Begins again with what is on disk.
    pub(crate) fn restart(&mut self, now_ns: u64) {
        self.restarts += 1;
        self.config.seed = self.rng.next();
        self.tap = Tap::new(self.config.clone(), 9_000 + self.restarts as i64);
        self.recorder.snapshots.clear();
        self.opened_rows.clear();
        self.answers.clear();
        self.tap.start(self.newest_snapshot(), now_ns);
    }

    pub(crate) fn newest_snapshot(&self) -> Option<i64> {
        self.snapshot_set.as_ref().map(|(position, _)| *position)
    }

    /// An operator, or the interval, asks for newer snapshots.
    pub(crate) fn query_snapshots(&mut self) {
        self.tap.query_snapshots(self.newest_snapshot());
    }

    pub(crate) fn do_work(&mut self, now_ns: u64) {
        if self.config.fetch_snapshots && now_ns >= self.query_due_ns {
            self.query_due_ns = now_ns.saturating_add(self.query_interval_ns);
            self.query_snapshots();
        }
        self.tap.on_timeout(now_ns, &mut self.recorder);
        while let Some(index) = self.answers.iter().position(|(due_ns, _)| *due_ns <= now_ns) {
            let (_, answer) = self.answers.remove(index);
            match answer {
                Answer::Resolved(token, address) => self.tap.on_resolved(token, address, now_ns),
                Answer::Opened(key, start, number) => self.open(key, start, number, now_ns),
                Answer::SnapshotFailed => self.tap.on_snapshot_failed("no space left".to_owned(), now_ns),
            }
        }
        while let Some(action) = self.tap.poll_action() {
            self.on_action(action, now_ns);
        }
    }

    fn open(&mut self, key: RecordingKey, start: i64, number: u64, now_ns: u64) {
        if !self.tap.on_recording_opened(key, now_ns) {
            return;
        }
        assert_eq!(number, self.opening_count, "{key} was opened for an earlier request");
        let recording = MemoryRecording::new(start);
        match key {
            RecordingKey::Log => {
                assert!(self.recorder.log.is_none(), "the log is opened once");
                self.recorder.log = Some(recording);
            }
            RecordingKey::Snapshot(index) => {
                assert_eq!(
                    index,
                    self.recorder.snapshots.len(),
                    "snapshots are opened in the order of their set"
                );
                self.recorder.snapshots.push(recording);
            }
        }
    }

    fn on_action(&mut self, action: TapAction, now_ns: u64) {
        let later_ns = now_ns + self.rng.pick(&[0, MS, 20 * MS, 300 * MS]);
        let opened_ns = later_ns + self.opening_takes_ns;
        match action {
            TapAction::Resolve { token, endpoint } => {
                let fails = self.rng.chance(self.resolver_fails_per_mille);
                self.unresolved += u64::from(fails);
                let address = resolve(&endpoint).filter(|_| !fails);
                self.answers.push((later_ns, Answer::Resolved(token, address)));
            }
            TapAction::OpenSnapshot { .. } if self.refuses_snapshots && self.recorder.log.is_some() => {
                self.answers.push((later_ns, Answer::SnapshotFailed));
            }
            TapAction::OpenSnapshot { index, row, .. } => {
                self.opened_rows.truncate(index);
                self.opened_rows.push((row.recording_id, row.log_position));
                self.opening_count += 1;
                let opened = Answer::Opened(RecordingKey::Snapshot(index), 0, self.opening_count);
                self.answers.push((opened_ns, opened));
            }
            TapAction::SnapshotsRecorded => {
                let recordings = std::mem::take(&mut self.recorder.snapshots);
                assert_eq!(recordings.len(), self.opened_rows.len());
                let ids = self.opened_rows.iter().map(|(recording_id, _)| *recording_id);
                let position = self.opened_rows[0].1;
                self.set_count += 1;
                if let Some(log) = &self.recorder.log {
                    self.set_beside_count += 1;
                    assert!(self.config.fetch_snapshots, "nobody wants snapshots beside the log");
                    assert!(position <= log.end(), "a set at {position} is ahead of our log");
                    assert!(
                        self.newest_snapshot() < Some(position),
                        "a set at {position} is not newer than ours"
                    );
                }
                self.snapshot_set = Some((position, ids.zip(recordings).collect()));
            }
            TapAction::DiscardSnapshots => self.recorder.snapshots.clear(),
            TapAction::OpenLog { start_position, .. } => {
                self.opening_count += 1;
                let opened = Answer::Opened(RecordingKey::Log, start_position, self.opening_count);
                self.answers.push((opened_ns, opened));
            }
            TapAction::Report(report) => self.reports.push(report),
        }
    }
}

/// The members are `m0` to `m9`, whatever the port; `nowhere` is no name.
fn resolve(endpoint: &HostPort) -> Option<SocketAddr> {
    let id: u8 = endpoint.host.strip_prefix('m')?.parse().ok()?;
    Some(SocketAddr::from(([10, 0, 1, id], 20_000)))
}
