//! Whatever may block and must not block anybody else: recordings to open, segments to prepare, snapshots to sync,
//! deletions. Names are looked up by threads of their own, which it starts.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::path::PathBuf;

use consensus_tap::channel::HostPort;
use consensus_tap::codec::consensus::SnapshotEntry;
use consensus_tap::endpoint::LookupToken;
use rtrb::{Consumer, Producer};

use super::backlog::Backlog;
use super::fence::{Fence, FenceOrder};
use super::lookups::Lookups;
use super::throttle::Throttle;
use super::{Agent, AgentError};
use crate::store::ControlFileSync;
use crate::store::history::{OpenedLog, PlannedLog, PlannedSnapshot};
use crate::store::purge::{Deletions, UnnamedFiles};
use crate::store::recording_syncer::RecordingSyncer;
use crate::store::recording_writer::RecordingWriter;
use crate::store::segment_preparer::SegmentPreparer;
use crate::store::segment_views::ReadAhead;
use crate::store::standby_snapshots::replace_file;

/// A disk that is full now may have room again in a second, not in a millisecond.
const PREPARE_RETRY_NS: u64 = 1_000_000_000;

/// A long snapshot is synced in parts of this many bytes, so that names and the log's segments get their turn.
const SNAPSHOT_SYNC_LENGTH: i64 = 16 * 1024 * 1024;

/// What the conductor asks for.
#[derive(Debug)]
pub enum StorageJob {
    /// Look a name up.
    Resolve {
        /// To be given back.
        asker: Asker,
        /// What to look up.
        endpoint: HostPort,
    },
    /// Prepare the segments of the log's recording from now on, and map those that it has ahead of their readers.
    Serve(Box<ServedLog>),
    /// Open the files of a log that the catalog has.
    OpenLog(Box<PlannedLog>),
    /// Create the first file of a member's snapshot.
    OpenSnapshot {
        /// Its index in the set, to be given back.
        index: usize,
        /// What it stands for, to be given back.
        row: SnapshotEntry,
        /// Where it is to lie.
        planned: PlannedSnapshot,
    },
    /// Make the snapshots of a set durable.
    SyncSnapshots(Vec<RecordingSyncer>),
    /// Put bytes in the place of a small file, whole or not at all.
    Replace {
        /// To be given back.
        owner: FileOwner,
        /// The file.
        path: PathBuf,
        /// What it is to hold.
        bytes: Vec<u8>,
    },
    /// Run the operator's hook: answered by [`StorageReply::Fenced`].
    Fence(Box<FenceOrder>),
    /// A purge came one step farther: put the file on the disk, then delete what nothing names any more, where that is
    /// its last step.
    Purge {
        /// What was changed, if something was.
        changed: Option<ControlFileSync>,
        /// What goes then.
        files: Option<UnnamedFiles>,
    },
}

/// What is done for the log's writer and readers.
#[derive(Debug)]
pub struct ServedLog {
    /// For its writer.
    pub preparer: SegmentPreparer,
    /// For its readers.
    pub read_ahead: Option<ReadAhead>,
}

/// Whose file is replaced.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum FileOwner {
    /// What members were told of snapshots.
    Announcements,
    /// What this node decided and promised.
    Activation,
}

/// Who waits for an address, and what tells the question from its others.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Asker {
    /// The receiver.
    Receiver(u64),
    /// The archive agent.
    Archive(LookupToken),
    /// Whoever leads.
    Leader(LookupToken),
}

impl Asker {
    /// Whether a client gave the name.
    pub(super) fn is_of_client(self) -> bool {
        match self {
            Self::Receiver(_) => false,
            Self::Archive(token) | Self::Leader(token) => token.is_of_client,
        }
    }
}

/// Which addresses each socket can send to: one family only.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SocketFamilies {
    /// Whether the receiver's socket is of IPv6.
    pub receiver_is_ipv6: bool,
    /// Whether the archive's socket is.
    pub archive_is_ipv6: bool,
    /// Whether the socket for clients is.
    pub ingress_is_ipv6: bool,
}

/// What the storage agent answers.
#[derive(Debug)]
pub enum StorageReply {
    /// A name was looked up, or could not be (`None`).
    Resolved {
        /// Who asked.
        asker: Asker,
        /// The first address of a family that we speak.
        address: Option<SocketAddr>,
    },
    /// The log is open, or why not, in words.
    LogOpened(Result<Box<OpenedLog>, String>),
    /// A member's snapshot can be recorded.
    SnapshotOpened {
        /// As asked for.
        index: usize,
        /// As asked for.
        row: SnapshotEntry,
        /// Its writer; or which recording has none, and why, in words.
        opened: Result<Box<RecordingWriter>, (i64, String)>,
    },
    /// The snapshots of a set are durable, or why not, in words.
    SnapshotsSynced(Result<(), String>),
    /// The file is replaced, or why not, in words.
    Replaced {
        /// As asked for.
        owner: FileOwner,
        /// Whether it is.
        replaced: Result<(), String>,
    },
    /// The hook has ended: in order, or not, in words.
    Fenced(Result<(), String>),
    /// A step of a purge is done, with what it deleted; or why not.
    Purged(Result<Deletions, PurgeFailure>),
}

/// Why a step of a purge is not done, in words.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum PurgeFailure {
    /// What disowns files may not be on the disk. The system takes pages whose sync failed for clean, so that a sync
    /// that succeeds later proves nothing about them.
    NotOnDisk(String),
    /// Files that nothing names are still there.
    NotDeleted(String),
}

/// The storage agent.
#[derive(Debug)]
pub struct Storage {
    jobs: Consumer<StorageJob>,
    replies: Backlog<StorageReply>,
    log: Option<Box<ServedLog>>,
    /// Sets that are to become durable, oldest first.
    snapshots: VecDeque<Vec<RecordingSyncer>>,
    families: SocketFamilies,
    lookups: Lookups,
    /// The hook that runs.
    fence: Option<Fence>,
    /// When a next segment that could not be prepared is tried again.
    prepare_due_ns: u64,
    failures: Throttle,
}

impl Storage {
    /// An agent that looks names up in the asking socket's own family.
    pub fn new(
        jobs: Consumer<StorageJob>,
        replies: Producer<StorageReply>,
        families: SocketFamilies,
    ) -> Self {
        Self {
            jobs,
            replies: Backlog::new(replies),
            log: None,
            snapshots: VecDeque::new(),
            families,
            lookups: Lookups::new(),
            fence: None,
            prepare_due_ns: 0,
            failures: Throttle::default(),
        }
    }

    fn on_job(&mut self, job: StorageJob, now_ns: u64) {
        match job {
            StorageJob::Resolve { asker, endpoint } => {
                let wants_ipv6 = match asker {
                    Asker::Receiver(_) => self.families.receiver_is_ipv6,
                    Asker::Archive(_) => self.families.archive_is_ipv6,
                    Asker::Leader(_) => self.families.ingress_is_ipv6,
                };
                self.lookups.ask(asker, endpoint, wants_ipv6, now_ns);
            }
            StorageJob::Serve(log) => self.log = Some(log),
            StorageJob::Replace { owner, path, bytes } => {
                let replaced = replace_file(&path, &bytes).map_err(|error| error.to_string());
                self.reply(StorageReply::Replaced { owner, replaced });
            }
            StorageJob::Fence(order) => match Fence::start(*order, now_ns) {
                Ok(fence) => self.fence = Some(fence),
                Err(reason) => self.reply(StorageReply::Fenced(Err(reason))),
            },
            StorageJob::OpenLog(planned) => {
                let opened = planned.open().map(Box::new).map_err(|error| error.to_string());
                self.reply(StorageReply::LogOpened(opened));
            }
            StorageJob::OpenSnapshot { index, row, planned } => {
                let opened = planned.open().map(Box::new);
                let opened = opened.map_err(|error| (planned.recording_id(), error.to_string()));
                self.reply(StorageReply::SnapshotOpened { index, row, opened });
            }
            StorageJob::SyncSnapshots(syncers) => self.snapshots.push_back(syncers),
            StorageJob::Purge { changed, files } => self.reply(StorageReply::Purged(purge(changed, files))),
        }
    }

    fn answer_lookups(&mut self, now_ns: u64) -> usize {
        let mut answered = 0;
        while let Some((asker, address)) = self.lookups.poll(now_ns) {
            self.reply(StorageReply::Resolved { asker, address });
            answered += 1;
        }
        answered
    }

    fn prepare(&mut self, now_ns: u64) -> usize {
        if now_ns < self.prepare_due_ns {
            return 0;
        }
        let Some(log) = self.log.as_mut() else { return 0 };
        match log.preparer.do_work() {
            Ok(work) => work,
            // The writer, should it come that far, tries for itself and fails for good.
            Err(error) => {
                self.prepare_due_ns = now_ns + PREPARE_RETRY_NS;
                if let Some(repeated) = self.failures.admit(&error.to_string(), now_ns) {
                    tracing::error!(%error, repeated, "cannot prepare the next segment of the log");
                }
                0
            }
        }
    }

    fn read_ahead(&mut self, now_ns: u64) -> usize {
        let Some(read_ahead) = self.log.as_mut().and_then(|log| log.read_ahead.as_mut()) else { return 0 };
        read_ahead.do_work().unwrap_or_else(|error| {
            // Its reader meets the same, and says so for good.
            if let Some(repeated) = self.failures.admit(&error.to_string(), now_ns) {
                tracing::warn!(%error, repeated, "cannot map a segment of the log ahead of its readers");
            }
            0
        })
    }

    /// Makes a part of the oldest set durable.
    fn sync_snapshots(&mut self) -> usize {
        let Some(set) = self.snapshots.front_mut() else { return 0 };
        let synced = match set.last_mut().map(|syncer| syncer.sync_some(SNAPSHOT_SYNC_LENGTH)) {
            Some(Ok(is_done)) => {
                let checksum = set.pop_if(|_| is_done).map(|syncer| syncer.write_checksum());
                match checksum {
                    Some(Err(error)) => Err(error.to_string()),
                    _ if !set.is_empty() => return 1,
                    _ => Ok(()),
                }
            }
            Some(Err(error)) => Err(error.to_string()),
            None => Ok(()),
        };
        self.snapshots.pop_front();
        self.reply(StorageReply::SnapshotsSynced(synced));
        1
    }

    fn watch_fence(&mut self, now_ns: u64) -> usize {
        let Some(ended) = self.fence.as_mut().and_then(|fence| fence.poll(now_ns)) else { return 0 };
        self.fence = None;
        self.reply(StorageReply::Fenced(ended));
        1
    }

    fn reply(&mut self, reply: StorageReply) {
        self.replies.push(reply);
    }
}

/// One step of a purge: nothing is deleted that the disk may still name.
fn purge(changed: Option<ControlFileSync>, files: Option<UnnamedFiles>) -> Result<Deletions, PurgeFailure> {
    if let Some(file) = changed {
        file.sync().map_err(|error| PurgeFailure::NotOnDisk(error.to_string()))?;
    }
    let deleted = files.map_or_else(|| Ok(Deletions::default()), |files| files.delete());
    deleted.map_err(|error| PurgeFailure::NotDeleted(error.to_string()))
}

impl Agent for Storage {
    fn name(&self) -> &str {
        "storage"
    }

    fn do_work(&mut self, now_ns: u64) -> Result<usize, AgentError> {
        let mut work = 0;
        while let Ok(job) = self.jobs.pop() {
            self.on_job(job, now_ns);
            work += 1;
        }
        work += self.read_ahead(now_ns);
        work += self.answer_lookups(now_ns);
        work += self.prepare(now_ns);
        work += self.sync_snapshots();
        work += self.watch_fence(now_ns);
        self.replies.flush();
        Ok(work)
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use consensus_tap::wire::TermLength;
    use rtrb::RingBuffer;

    use super::*;
    use crate::store::SyncLevel;
    use crate::store::directory::NodeDirectory;
    use crate::store::history::History;
    use crate::store::snapshot_recording::SnapshotRecording;
    use crate::sys::disk::{self, Operation, Watcher};

    /// A disk on which no sync succeeds.
    struct NoSync;

    impl Watcher for NoSync {
        fn before(&mut self, operation: &Operation<'_>) -> io::Result<()> {
            match operation {
                Operation::Sync { .. } => Err(io::Error::other("the disk is gone")),
                _ => Ok(()),
            }
        }

        fn after(&mut self, _: &Operation<'_>) {}
    }

    #[test]
    fn a_purge_whose_sync_fails_deletes_nothing_and_says_which_step_failed() {
        let dir = tempfile::tempdir().unwrap();
        let directory = NodeDirectory::open(dir.path(), 1).unwrap();
        let mut history = History::open(&directory, SyncLevel::None).unwrap();
        let place = history.reserve_snapshots(0, TermLength::MIN).unwrap().remove(0);
        drop(SnapshotRecording::create(&place).unwrap());
        history.withdraw_snapshots(None, &[place.recording_id()]);
        let segment = dir.path().join(format!("archive/{}-0.rec", place.recording_id()));
        let mut step = || purge(Some(history.stop_recordings(&[]).unwrap()), Some(history.unnamed_files()));

        let watching = disk::watch(Box::new(NoSync));
        let failed = step();
        assert!(
            matches!(&failed, Err(PurgeFailure::NotOnDisk(reason)) if reason.contains("the disk is gone"))
        );
        drop(watching);
        assert!(segment.exists());
        assert_eq!(step().unwrap().files, [segment]);
    }

    #[test]
    fn a_reply_that_finds_no_room_is_given_later_and_in_order() {
        let (mut jobs, job_consumer) = RingBuffer::new(4);
        let (reply_producer, mut replies) = RingBuffer::new(1);
        let families =
            SocketFamilies { receiver_is_ipv6: false, archive_is_ipv6: false, ingress_is_ipv6: false };
        let mut storage = Storage::new(job_consumer, reply_producer, families);
        for token in 0..3 {
            let endpoint = "127.0.0.1:9".parse().unwrap();
            jobs.push(StorageJob::Resolve { asker: Asker::Receiver(token), endpoint }).unwrap();
        }
        let mut answered = Vec::new();
        for now_ns in 0..3 {
            storage.do_work(now_ns).unwrap();
            while let Ok(StorageReply::Resolved { asker: Asker::Receiver(token), .. }) = replies.pop() {
                answered.push(token);
            }
        }
        assert_eq!(answered, [0, 1, 2]);
    }
}
