//! `activation.dat`: that this node leads or led, and what it promised to other standbys. A format of our
//! own.
//!
//! ```text
//!   0        8         12       16      20      24        32              40         48
//!  | magic | version | length | crc32 | phase | term id | base position | claim id | recording id | …
//!
//!   56              64        72                80     84                88               92
//!  | forced checks | time ms | grant: claim id | member id | sync level | members length | members …
//! ```
//! Little endian. The length is the file's own, the checksum covers everything behind it. Phase 0: no
//! decision; the fields up to `time ms` and the sync level are zero then. A grant with claim id 0 is none. The file is replaced
//! as a whole.

use super::FormatError;

/// What the file holds.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Activation {
    /// The decision to lead, if there was one.
    pub record: Option<ActivationRecord>,
    /// Which standby was promised that this one does not lead: its member id, and its claim.
    pub grant: Option<(i32, i64)>,
    /// The members of the cluster as they were last named: a restart looks whether they live before it leads.
    pub cluster_members: String,
}

/// A decision to lead.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ActivationRecord {
    /// What became of it.
    pub phase: ActivationPhase,
    /// The term.
    pub leadership_term_id: i64,
    /// Where it begins.
    pub base_log_position: i64,
    /// This node's claim among the standbys.
    pub claim_id: i64,
    /// Recording of the log.
    pub log_recording_id: i64,
    /// The checks that the operator overrode, a bit for each.
    pub forced_checks: u64,
    /// When it was decided, milliseconds since 1970.
    pub time_ms: i64,
    /// The `file_sync_level` at which the term is led, 0 to 2: from 1 on nothing counts that was not durable.
    pub file_sync_level: i32,
}

/// What became of a decision to lead.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ActivationPhase {
    /// It stands: a restart leads again, if nothing speaks against it.
    Leading = 1,
    /// Another node leads: a restart serves nobody, and follows nobody.
    Fenced = 2,
    /// The operator has taken it back, and this node has followed nobody since: it decides nothing any more, but tells
    /// whose the log is.
    Withdrawn = 3,
}

const MAGIC: &[u8; 8] = b"STBYACTV";
const VERSION: u32 = 1;
const CHECKED_FROM: usize = 20;
const FIXED_LENGTH: usize = 92;
/// Longest file that is read.
pub const LENGTH_MAX: usize = 64 * 1024;

impl Activation {
    /// The decision, unless it was taken back.
    pub fn decision(&self) -> Option<&ActivationRecord> {
        self.record.as_ref().filter(|record| record.phase != ActivationPhase::Withdrawn)
    }

    /// Whether this node led the log that it has, last of all: `newest_term_id` is the newest term of that log. Nothing
    /// but a decision of its own says so; a copy of the log has none.
    pub fn led_last(&self, newest_term_id: i64) -> bool {
        self.record.as_ref().is_some_and(|record| match record.phase {
            // It has followed nobody since, so what is newer is not there; the term itself may not be yet.
            ActivationPhase::Leading | ActivationPhase::Fenced => record.leadership_term_id >= newest_term_id,
            ActivationPhase::Withdrawn => record.leadership_term_id == newest_term_id,
        })
    }

    /// The file's bytes.
    ///
    /// # Panics
    /// When the member list is longer than [`LENGTH_MAX`] allows.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(256);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        // Length and checksum are filled in when the rest is there.
        bytes.extend_from_slice(&[0; 8]);
        let record = self.record.as_ref();
        let number = |of: fn(&ActivationRecord) -> i64| record.map_or(0, of).to_le_bytes();
        bytes.extend_from_slice(&record.map_or(0, |record| record.phase as i32).to_le_bytes());
        bytes.extend_from_slice(&number(|record| record.leadership_term_id));
        bytes.extend_from_slice(&number(|record| record.base_log_position));
        bytes.extend_from_slice(&number(|record| record.claim_id));
        bytes.extend_from_slice(&number(|record| record.log_recording_id));
        bytes.extend_from_slice(&record.map_or(0, |record| record.forced_checks).to_le_bytes());
        bytes.extend_from_slice(&number(|record| record.time_ms));
        let (member_id, claim_id) = self.grant.unwrap_or((0, 0));
        bytes.extend_from_slice(&claim_id.to_le_bytes());
        bytes.extend_from_slice(&member_id.to_le_bytes());
        let file_sync_level = record.map_or(0, |record| record.file_sync_level);
        bytes.extend_from_slice(&file_sync_level.to_le_bytes());
        let members = self.cluster_members.as_str();
        assert!(members.len() <= LENGTH_MAX - FIXED_LENGTH, "a member list of {} bytes", members.len());
        bytes.extend_from_slice(&(members.len() as u32).to_le_bytes());
        bytes.extend_from_slice(members.as_bytes());
        let length = bytes.len() as u32;
        bytes[12..16].copy_from_slice(&length.to_le_bytes());
        let checksum = crc32fast::hash(&bytes[CHECKED_FROM..]);
        bytes[16..CHECKED_FROM].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// Reads the file's bytes.
    ///
    /// # Errors
    /// [`FormatError`], with where and what was expected: it is never guessed whether a node leads.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        if bytes.len() < FIXED_LENGTH || bytes.len() > LENGTH_MAX {
            return Err(FormatError::unexpected(
                0,
                "length",
                format!("{FIXED_LENGTH} to {LENGTH_MAX}"),
                bytes.len(),
            ));
        }
        let u32_at = |at: usize| u32::from_le_bytes(std::array::from_fn(|i| bytes[at + i]));
        let i32_at = |at: usize| i32::from_le_bytes(std::array::from_fn(|i| bytes[at + i]));
        let i64_at = |at: usize| i64::from_le_bytes(std::array::from_fn(|i| bytes[at + i]));
        if &bytes[..8] != MAGIC {
            let found = format!("{:02x?}", &bytes[..8]);
            return Err(FormatError::unexpected(0, "magic", format!("{MAGIC:02x?}"), found));
        }
        if u32_at(8) != VERSION {
            return Err(FormatError::unexpected(8, "version", VERSION, u32_at(8)));
        }
        if u32_at(12) as usize != bytes.len() {
            return Err(FormatError::unexpected(12, "length", bytes.len(), u32_at(12)));
        }
        let checksum = crc32fast::hash(&bytes[CHECKED_FROM..]);
        if u32_at(16) != checksum {
            return Err(FormatError::unexpected(
                16,
                "checksum",
                format!("{checksum:08x}"),
                format!("{:08x}", u32_at(16)),
            ));
        }
        let members = bytes.get(FIXED_LENGTH..FIXED_LENGTH.saturating_add(u32_at(88) as usize));
        let Some(Ok(cluster_members)) = members.map(std::str::from_utf8) else {
            return Err(FormatError::unexpected(
                88,
                "members",
                "a text that ends within the file",
                u32_at(88),
            ));
        };
        let phase = match i32_at(20) {
            0 => None,
            1 => Some(ActivationPhase::Leading),
            2 => Some(ActivationPhase::Fenced),
            3 => Some(ActivationPhase::Withdrawn),
            other => return Err(FormatError::unexpected(20, "phase", "0 to 3", other)),
        };
        let record = phase.map(|phase| ActivationRecord {
            phase,
            leadership_term_id: i64_at(24),
            base_log_position: i64_at(32),
            claim_id: i64_at(40),
            log_recording_id: i64_at(48),
            forced_checks: i64_at(56) as u64,
            time_ms: i64_at(64),
            file_sync_level: i32_at(84),
        });
        if !(0..=2).contains(&i32_at(84)) {
            return Err(FormatError::unexpected(84, "sync level", "0, 1 or 2", i32_at(84)));
        }
        let grant = Some((i32_at(80), i64_at(72))).filter(|(_, claim_id)| *claim_id != 0);
        Ok(Self { record, grant, cluster_members: cluster_members.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn activation() -> Activation {
        Activation {
            record: Some(ActivationRecord {
                phase: ActivationPhase::Leading,
                leadership_term_id: 17,
                base_log_position: 4096,
                claim_id: 5,
                log_recording_id: 3,
                forced_checks: 9,
                time_ms: 1,
                file_sync_level: 2,
            }),
            grant: Some((101, 7)),
            cluster_members: "0,a:1,b:1,c:1,d:1,e:1".to_owned(),
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let nothing = Activation::default();
        let in_phase = |phase| ActivationRecord { phase, ..activation().record.unwrap() };
        let (fenced, withdrawn) = (in_phase(ActivationPhase::Fenced), in_phase(ActivationPhase::Withdrawn));
        for written in [
            activation(),
            Activation { record: Some(withdrawn), grant: None, ..activation() },
            Activation { grant: None, ..activation() },
            Activation { record: Some(fenced), grant: None, cluster_members: String::new() },
            Activation { record: None, grant: Some((0, -1)), cluster_members: String::new() },
            nothing,
        ] {
            assert_eq!(Activation::decode(&written.encode()), Ok(written));
        }
    }

    #[test]
    fn only_a_decision_says_whose_a_log_is() {
        let in_phase = |phase| {
            let record = ActivationRecord { phase, ..activation().record.unwrap() };
            Activation { record: Some(record), ..activation() }
        };
        let led = |activation: &Activation| [16, 17, 18].map(|newest| activation.led_last(newest));
        let (leading, withdrawn) = (in_phase(ActivationPhase::Leading), in_phase(ActivationPhase::Withdrawn));
        assert_eq!(led(&leading), [true, true, false]);
        assert_eq!(led(&in_phase(ActivationPhase::Fenced)), [true, true, false]);
        assert_eq!(led(&withdrawn), [false, true, false]);
        assert_eq!(led(&Activation::default()), [false; 3]);
        assert!(leading.decision().is_some() && withdrawn.decision().is_none());
    }

    #[test]
    fn a_flipped_bit_and_a_missing_byte_are_never_a_decision() {
        let bytes = activation().encode();
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(Activation::decode(&flipped).is_err(), "bit {bit}");
        }
        for length in 0..bytes.len() {
            assert!(Activation::decode(&bytes[..length]).is_err(), "{length} bytes");
        }
        let error = Activation::decode(&bytes[..bytes.len() - 1]).unwrap_err();
        assert_eq!(error.offset(), 12);
    }
}
