//! The two messages that list snapshots: what a member has, and what a standby has taken.

use crate::codec::message::{Secret, SemanticVersion, expect};
use crate::codec::sbe::{DecodeError, Encoder, Entry, Message, MessageHeader, NULL_I32, TailReader};
use crate::codec::session::CLUSTER_SCHEMA;

/// A member's answer to a `BackupQuery`. In 1.51 the `log_*` and `last_*` pairs describe the same term.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BackupResponse<'a> {
    /// The query that this answers.
    pub correlation_id: i64,
    /// The log's recording in the archive of the member that answers.
    pub log_recording_id: i64,
    /// A leadership term of the log.
    pub log_leadership_term_id: i64,
    /// Where that term begins.
    pub log_term_base_log_position: i64,
    /// The newest leadership term of the log.
    pub last_leadership_term_id: i64,
    /// Where that term begins.
    pub last_term_base_log_position: i64,
    /// The counter to bound a replay by, in the driver of the member that answers. Good for one replay
    /// request at once: ids are recycled.
    pub commit_position_counter_id: i32,
    /// The leader as the member knows it, -1 for none.
    pub leader_member_id: i32,
    /// The member that answers; null before schema version 10.
    pub member_id: i32,
    /// The newest complete set of snapshots: services in descending order, the consensus module last.
    pub snapshots: Snapshots<'a>,
    /// The member list; see [`parse_cluster_members`](super::parse_cluster_members).
    pub cluster_members: &'a str,
}

impl<'a> BackupResponse<'a> {
    /// Which message of the schema this is.
    pub const TEMPLATE_ID: u16 = 78;
    /// Bytes of the block that `encode` writes.
    pub const BLOCK_LENGTH: u16 = 60;

    /// Reads the message; block fields that the sender's version lacks read as null.
    ///
    /// # Errors
    /// [`DecodeError`] when `message` is another one, ends early, or has a string that is not ASCII.
    pub fn decode(message: &Message<'a>) -> Result<Self, DecodeError> {
        expect(message, CLUSTER_SCHEMA, Self::TEMPLATE_ID)?;
        let mut tail = message.tail_reader();
        let snapshots = Snapshots::decode(&mut tail)?;
        Ok(Self {
            correlation_id: message.i64(0),
            log_recording_id: message.i64(8),
            log_leadership_term_id: message.i64(16),
            log_term_base_log_position: message.i64(24),
            last_leadership_term_id: message.i64(32),
            last_term_base_log_position: message.i64(40),
            commit_position_counter_id: message.i32(48),
            leader_member_id: message.i32(52),
            member_id: message.i32(56),
            snapshots,
            cluster_members: tail.ascii()?,
        })
    }

    /// Appends the message, header first, to `out`.
    ///
    /// # Panics
    /// When there are more snapshots than a group can count (65,535).
    pub fn encode(&self, out: &mut Vec<u8>) {
        let encoder = Encoder::new(out, header(Self::TEMPLATE_ID, Self::BLOCK_LENGTH))
            .i64(self.correlation_id)
            .i64(self.log_recording_id)
            .i64(self.log_leadership_term_id)
            .i64(self.log_term_base_log_position)
            .i64(self.last_leadership_term_id)
            .i64(self.last_term_base_log_position)
            .i32(self.commit_position_counter_id)
            .i32(self.leader_member_id)
            .i32(self.member_id)
            .group(ENTRY_LENGTH, group_count(self.snapshots.len()));
        self.snapshots
            .iter()
            .fold(encoder, |encoder, entry| entry.encode(encoder))
            .bytes(self.cluster_members.as_bytes());
    }
}

/// A standby's news: snapshots that lie complete and stopped in its archive, ready to be replicated.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StandbySnapshot<'a> {
    /// What a refusal will carry. There is no positive answer.
    pub correlation_id: i64,
    /// The client protocol's version; any other major part than the member's is refused.
    pub version: SemanticVersion,
    /// The stream that the sender reads.
    pub response_stream_id: i32,
    /// One for the consensus module and one for each service, in any order.
    pub snapshots: StandbyEntries<'a>,
    /// The channel that the sender reads. Must be connected, or the member drops the message.
    pub response_channel: &'a str,
    /// What the member's authenticator gets.
    pub encoded_credentials: Secret<'a>,
}

impl<'a> StandbySnapshot<'a> {
    /// Which message of the schema this is.
    pub const TEMPLATE_ID: u16 = 81;
    /// Bytes of the block that `encode` writes.
    pub const BLOCK_LENGTH: u16 = 16;

    /// Reads the message.
    ///
    /// # Errors
    /// [`DecodeError`] when `message` is another one, ends early, or has a string that is not ASCII.
    pub fn decode(message: &Message<'a>) -> Result<Self, DecodeError> {
        expect(message, CLUSTER_SCHEMA, Self::TEMPLATE_ID)?;
        let mut tail = message.tail_reader();
        let snapshots = StandbyEntries::decode(&mut tail)?;
        Ok(Self {
            correlation_id: message.i64(0),
            version: match message.i32(8) {
                NULL_I32 => SemanticVersion::NULL,
                version => SemanticVersion(version),
            },
            response_stream_id: message.i32(12),
            snapshots,
            response_channel: tail.ascii()?,
            encoded_credentials: Secret(tail.bytes()?),
        })
    }

    /// Appends the message, header first, to `out`.
    ///
    /// # Panics
    /// When there are more snapshots than a group can count (65,535).
    pub fn encode(&self, out: &mut Vec<u8>) {
        let encoder = Encoder::new(out, header(Self::TEMPLATE_ID, Self::BLOCK_LENGTH))
            .i64(self.correlation_id)
            .i32(self.version.0)
            .i32(self.response_stream_id)
            .group(ENTRY_LENGTH, group_count(self.snapshots.len()));
        self.snapshots
            .iter()
            .fold(encoder, |encoder, entry| {
                entry.snapshot.encode(encoder).bytes(entry.archive_endpoint.as_bytes())
            })
            .bytes(self.response_channel.as_bytes())
            .bytes(self.encoded_credentials.0);
    }
}

/// One snapshot recording of the consensus module or of a service.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SnapshotEntry {
    /// The recording, in the archive of the node that names it.
    pub recording_id: i64,
    /// The leadership term of the snapshot's position.
    pub leadership_term_id: i64,
    /// Where that term begins in the log.
    pub term_base_log_position: i64,
    /// Everything below it is in the snapshot.
    pub log_position: i64,
    /// Cluster time of the snapshot action.
    pub timestamp: i64,
    /// The service, -1 for the consensus module.
    pub service_id: i32,
}

impl SnapshotEntry {
    fn decode(entry: &Entry<'_>) -> Self {
        Self {
            recording_id: entry.i64(0),
            leadership_term_id: entry.i64(8),
            term_base_log_position: entry.i64(16),
            log_position: entry.i64(24),
            timestamp: entry.i64(32),
            service_id: entry.i32(40),
        }
    }

    fn encode<'e>(&self, encoder: Encoder<'e>) -> Encoder<'e> {
        encoder
            .i64(self.recording_id)
            .i64(self.leadership_term_id)
            .i64(self.term_base_log_position)
            .i64(self.log_position)
            .i64(self.timestamp)
            .i32(self.service_id)
    }
}

/// One snapshot recording of a standby, and where to fetch it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct StandbyEntry<'a> {
    /// The recording, in the standby's archive.
    pub snapshot: SnapshotEntry,
    /// `host:port` of the control channel of the standby's archive.
    pub archive_endpoint: &'a str,
}

/// The snapshots of a [`BackupResponse`]: a slice to be sent, or a view of what was received.
#[derive(Clone, Copy, Debug)]
pub struct Snapshots<'a>(Group<'a, SnapshotEntry>);

impl<'a> Snapshots<'a> {
    /// Snapshots to be sent.
    pub const fn new(entries: &'a [SnapshotEntry]) -> Self {
        Self(Group::Given(entries))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The snapshots, in the message's order.
    pub fn iter(&self) -> impl Iterator<Item = SnapshotEntry> + use<'a> {
        let (given, mut received) = self.0.parts();
        let received = std::iter::from_fn(move || {
            let (reader, block_length, count) = received.as_mut()?;
            *count = count.checked_sub(1)?;
            Some(SnapshotEntry::decode(&reader.entry(*block_length).ok()?))
        });
        given.iter().copied().chain(received)
    }

    fn decode(tail: &mut TailReader<'a>) -> Result<Self, DecodeError> {
        let (block_length, count) = tail.group()?;
        let entries = *tail;
        for _ in 0..count {
            tail.entry(block_length)?;
        }
        Ok(Self(Group::Received { entries, block_length, count }))
    }
}

impl PartialEq for Snapshots<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

/// The snapshots of a [`StandbySnapshot`]: a slice to be sent, or a view of what was received.
#[derive(Clone, Copy, Debug)]
pub struct StandbyEntries<'a>(Group<'a, StandbyEntry<'a>>);

impl<'a> StandbyEntries<'a> {
    /// Snapshots to be sent.
    pub const fn new(entries: &'a [StandbyEntry<'a>]) -> Self {
        Self(Group::Given(entries))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The snapshots, in the message's order.
    pub fn iter(&self) -> impl Iterator<Item = StandbyEntry<'a>> + use<'a> {
        let (given, mut received) = self.0.parts();
        let received = std::iter::from_fn(move || {
            let (reader, block_length, count) = received.as_mut()?;
            *count = count.checked_sub(1)?;
            standby_entry(reader, *block_length).ok()
        });
        given.iter().copied().chain(received)
    }

    fn decode(tail: &mut TailReader<'a>) -> Result<Self, DecodeError> {
        let (block_length, count) = tail.group()?;
        let entries = *tail;
        for _ in 0..count {
            standby_entry(tail, block_length)?;
        }
        Ok(Self(Group::Received { entries, block_length, count }))
    }
}

impl PartialEq for StandbyEntries<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

/// Entries of a repeating group. The constructor of `Received` walked all of them.
#[derive(Clone, Copy, Debug)]
enum Group<'a, T> {
    Given(&'a [T]),
    Received { entries: TailReader<'a>, block_length: u16, count: u16 },
}

impl<'a, T> Group<'a, T> {
    fn len(&self) -> usize {
        match self {
            Self::Given(entries) => entries.len(),
            Self::Received { count, .. } => usize::from(*count),
        }
    }

    fn parts(&self) -> (&'a [T], Option<(TailReader<'a>, u16, u16)>) {
        match *self {
            Self::Given(entries) => (entries, None),
            Self::Received { entries, block_length, count } => (&[], Some((entries, block_length, count))),
        }
    }
}

const ENTRY_LENGTH: u16 = 44;

fn standby_entry<'a>(
    reader: &mut TailReader<'a>,
    block_length: u16,
) -> Result<StandbyEntry<'a>, DecodeError> {
    let snapshot = SnapshotEntry::decode(&reader.entry(block_length)?);
    Ok(StandbyEntry { snapshot, archive_endpoint: reader.ascii()? })
}

fn group_count(count: usize) -> u16 {
    u16::try_from(count).expect("a node has at most eleven snapshots of one position")
}

const fn header(template_id: u16, block_length: u16) -> MessageHeader {
    MessageHeader { block_length, template_id, schema_id: CLUSTER_SCHEMA.id, version: CLUSTER_SCHEMA.version }
}
