//! `cluster/standby-snapshots.json`: which snapshot set each member was told of, and what became of it.
//!
//! Members keep no receipt that we could ask for, so this file is all that a restart knows. It says that a set was
//! sent before it is: a node that ends in between finds the outcome unknown, and never sends the same set twice.
//! Retention reads it, as what a member has taken must stay here for it to fetch.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{StoreError, sync_directory};
use crate::sys::disk;

/// The file's name in the cluster directory.
pub const FILE_NAME: &str = "standby-snapshots.json";

/// What each member was last told of. One entry a member.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct StandbySnapshots {
    /// In order of first telling.
    pub members: Vec<MemberRecord>,
}

/// The last set that a member was told of.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct MemberRecord {
    /// The member.
    pub member_id: i32,
    /// Its consensus endpoint, as the cluster names it.
    pub endpoint: String,
    /// Log position of the set.
    pub log_position: i64,
    /// What became of it.
    pub outcome: RecordedOutcome,
    /// The member's words, or what was missing; empty for a set that was taken.
    pub detail: String,
    /// When that was known, milliseconds since 1970.
    pub time_ms: i64,
    /// Log position of the newest set that the member has taken: it and every later one must stay in our archive.
    pub taken_log_position: Option<i64>,
    /// Log position of the oldest set that it was sent before that one, if nobody knows whether it has stored it.
    #[serde(default)]
    pub unknown_log_position: Option<i64>,
}

impl MemberRecord {
    /// Log position of the oldest set that the member's recording log may refer to and that it may have to fetch: the
    /// newest that it has certainly taken, else the oldest of which nobody can tell.
    pub fn referred_position(&self) -> Option<i64> {
        self.taken_log_position.or(self.possibly_taken())
    }

    /// Log position of the oldest set of which nobody knows, or knows yet, whether the member has stored it.
    pub fn possibly_taken(&self) -> Option<i64> {
        let newest = (self.outcome == RecordedOutcome::Unknown).then_some(self.log_position);
        self.unknown_log_position.or(newest)
    }
}

/// What became of an announcement.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RecordedOutcome {
    /// The member has stored it.
    Taken,
    /// The member does not want it.
    Refused,
    /// It was sent, or may have been, and nobody can tell whether it was stored.
    Unknown,
    /// Nothing was sent.
    Unreachable,
}

impl RecordedOutcome {
    /// As in the file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Taken => "taken",
            Self::Refused => "refused",
            Self::Unknown => "unknown",
            Self::Unreachable => "unreachable",
        }
    }
}

impl StandbySnapshots {
    /// Where the file is in a cluster directory.
    pub fn path_in(cluster_directory: &Path) -> PathBuf {
        cluster_directory.join(FILE_NAME)
    }

    /// Reads the file; nothing was announced where there is none.
    ///
    /// # Errors
    /// [`StoreError::Io`], [`StoreError::Json`].
    pub fn read(path: &Path) -> Result<Self, StoreError> {
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(StoreError::io(path, "read it")(error)),
        };
        serde_json::from_slice(&bytes)
            .map_err(|source| StoreError::Json { path: path.to_owned(), source: source.into() })
    }

    /// The file's content.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec_pretty(self).expect("numbers and strings are JSON");
        bytes.push(b'\n');
        bytes
    }

    /// What a member was last told of.
    pub fn member(&self, member_id: i32) -> Option<&MemberRecord> {
        self.members.iter().find(|record| record.member_id == member_id)
    }

    /// For each member that may refer to one, the log position of the oldest set that must stay for it, and every later
    /// one with it.
    pub fn referred_positions(&self) -> Vec<i64> {
        self.members.iter().filter_map(MemberRecord::referred_position).collect()
    }
}

/// Puts `bytes` in the place of a file, whole or not at all, whatever happens meanwhile.
///
/// # Errors
/// [`StoreError::Io`]; the file is as it was, or holds `bytes` where only its name could not be synced.
pub fn replace_file(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let temporary = path.with_extension("tmp");
    write_new(&temporary, bytes).map_err(StoreError::io(&temporary, "write it"))?;
    disk::rename(&temporary, path).map_err(StoreError::io(path, "replace it"))?;
    path.parent().map_or(Ok(()), sync_directory)
}

/// Writes a file to the disk, in the place of one that an attempt before may have left.
fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    match disk::remove(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let file = disk::create(path)?;
    disk::write(&file, path, 0, bytes)?;
    disk::sync_all(&file, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(member_id: i32, taken_log_position: Option<i64>) -> MemberRecord {
        MemberRecord {
            member_id,
            endpoint: format!("m{member_id}:9"),
            log_position: 4096,
            outcome: RecordedOutcome::Refused,
            detail: "Not configured to accept StandbySnapshot".to_owned(),
            time_ms: 5,
            taken_log_position,
            unknown_log_position: None,
        }
    }

    #[test]
    fn what_was_written_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = StandbySnapshots::path_in(dir.path());
        assert_eq!(StandbySnapshots::read(&path).unwrap(), StandbySnapshots::default());
        let snapshots = StandbySnapshots { members: vec![record(0, None), record(1, Some(1024))] };
        replace_file(&path, &snapshots.to_bytes()).unwrap();
        replace_file(&path, &snapshots.to_bytes()).unwrap();
        assert_eq!(StandbySnapshots::read(&path).unwrap(), snapshots);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left beside it");
        assert!(String::from_utf8(snapshots.to_bytes()).unwrap().contains("\"outcome\": \"refused\""));
    }

    #[test]
    fn a_file_that_is_none_is_named_with_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let path = StandbySnapshots::path_in(dir.path());
        for bytes in ["", "{\"members\":[{}]}", "nonsense"] {
            fs::write(&path, bytes).unwrap();
            let message = StandbySnapshots::read(&path).unwrap_err().to_string();
            assert!(message.contains(FILE_NAME) && message.contains("remove it"), "{message}");
        }
    }

    #[test]
    fn a_file_that_cannot_be_written_keeps_what_it_says() {
        let dir = tempfile::tempdir().unwrap();
        let path = StandbySnapshots::path_in(&dir.path().join("missing"));
        assert!(replace_file(&path, b"{}").unwrap_err().to_string().contains("missing"));
    }

    #[test]
    fn what_a_member_has_taken_or_may_have_must_stay() {
        let of = |members| StandbySnapshots { members }.referred_positions();
        assert!(of(vec![]).is_empty());
        assert_eq!(of(vec![record(0, None), record(1, Some(4096)), record(2, Some(1024))]), [4096, 1024]);
        let unknown = MemberRecord { outcome: RecordedOutcome::Unknown, ..record(0, None) };
        assert_eq!(of(vec![unknown.clone()]), [unknown.log_position], "it may have been stored");
        let earlier = MemberRecord { unknown_log_position: Some(64), ..record(0, None) };
        assert_eq!(of(vec![earlier.clone()]), [64], "refused now, and unknown before");
        let taken = MemberRecord { taken_log_position: Some(8192), ..earlier };
        assert_eq!(of(vec![taken]), [8192], "a member fetches the newest that it has");
    }
}
