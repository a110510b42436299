//! `cluster-mark.dat`: who runs in a cluster directory, and its error log.
//!
//! ```text
//!   0            8         12               16                   24                32    40
//!  | SBE header | version | component type | activity timestamp | start timestamp | pid | candidate term id
//!   48               52              56                   60              64         68          72
//!  | archive stream | service stream | cm stream | ingress stream | member id | service id | header length
//!   76                    80          84        136
//!  | error buffer length | cluster id | unused | six strings … | zeros to 8192 | error log (`super::error_log`)
//! ```
//! Version 0 means not ready: it is stored last. An activity timestamp of -1 means ended in order. Same bytes
//! as Aeron's `ClusterMarkFile`, mark schema 110 version 2.

use super::{FormatError, Image, put_ascii};

/// The file's name in the cluster directory.
pub const FILE_NAME: &str = "cluster-mark.dat";
/// Bytes in front of the error log.
pub const HEADER_LENGTH: usize = 8192;
/// Bytes of the error log, the least that Aeron accepts and its default.
pub const ERROR_BUFFER_LENGTH: usize = 1024 * 1024;
/// Bytes of the whole file.
pub const FILE_LENGTH: usize = HEADER_LENGTH + ERROR_BUFFER_LENGTH;
/// 0.3.0, stored last: the file is ready.
pub const VERSION: i32 = super::version(0, 3, 0);
/// `version` after a start that failed.
pub const VERSION_FAILED: i32 = -1;
/// `i32` in the file.
pub const VERSION_OFFSET: u64 = 8;
/// `i64` in the file, epoch milliseconds, renewed each second.
pub const ACTIVITY_TIMESTAMP_OFFSET: u64 = 16;
/// `activity_timestamp` of a process that has ended in order.
pub const TERMINATED: i64 = -1;
/// `activity_timestamp` while a process is taking the file over.
pub const ACTIVATION_IN_PROGRESS: i64 = i64::MAX;

/// Who runs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ComponentType {
    /// Not said.
    Unknown = 0,
    /// A member's consensus module.
    ConsensusModule = 1,
    /// A service container.
    Container = 2,
    /// A backup; a consensus module may take its directory over.
    Backup = 3,
    /// The closed standby; a consensus module refuses its directory.
    Standby = 4,
}

/// The header of the file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ClusterMark {
    /// [`VERSION`] when ready, 0 before, [`VERSION_FAILED`] after a failed start.
    pub version: i32,
    /// Who runs.
    pub component_type: ComponentType,
    /// Epoch milliseconds of the last sign of life, [`TERMINATED`], or [`ACTIVATION_IN_PROGRESS`].
    pub activity_timestamp: i64,
    /// Epoch milliseconds.
    pub start_timestamp: i64,
    /// Process id, as that process sees it.
    pub pid: i64,
    /// -1; candidate terms moved to `node-state.dat`.
    pub candidate_term_id: i64,
    /// Stream of local archive control requests.
    pub archive_stream_id: i32,
    /// Stream from the consensus module to services.
    pub service_stream_id: i32,
    /// Stream from services to the consensus module.
    pub consensus_module_stream_id: i32,
    /// Stream of client ingress.
    pub ingress_stream_id: i32,
    /// Member id of the node.
    pub member_id: i32,
    /// -1 for a node, 0 and up for a service container.
    pub service_id: i32,
    /// Bytes in front of the error log.
    pub header_length: i32,
    /// Bytes of the error log.
    pub error_buffer_length: i32,
    /// Which cluster, where several share a driver.
    pub cluster_id: i32,
    /// Directory that holds the node's cnc.dat.
    pub aeron_directory: String,
    /// Channel between consensus module and services, which tools query.
    pub control_channel: String,
    /// Channel of client ingress.
    pub ingress_channel: String,
    /// Name of the service.
    pub service_name: String,
    /// Class of the authenticator.
    pub authenticator: String,
    /// Directory of the services' mark files; empty means this one.
    pub services_cluster_dir: String,
}

impl Default for ClusterMark {
    /// A backup that is not ready yet, on Aeron's default streams.
    fn default() -> Self {
        Self {
            version: 0,
            component_type: ComponentType::Backup,
            activity_timestamp: 0,
            start_timestamp: 0,
            pid: 0,
            candidate_term_id: -1,
            archive_stream_id: 10,
            service_stream_id: 104,
            consensus_module_stream_id: 105,
            ingress_stream_id: 101,
            member_id: -1,
            service_id: -1,
            header_length: 8192,
            error_buffer_length: 1024 * 1024,
            cluster_id: 0,
            aeron_directory: String::new(),
            control_channel: String::new(),
            ingress_channel: String::new(),
            service_name: String::new(),
            authenticator: String::new(),
            services_cluster_dir: String::new(),
        }
    }
}

impl ClusterMark {
    /// Reads the header of a file; the error log may be left out of `bytes`.
    ///
    /// # Errors
    /// When it is cut short, has another schema or major version, or a string reaches out of the header.
    /// Files of before 1.44 (without SBE header) are refused.
    pub fn parse(bytes: &[u8]) -> Result<Self, FormatError> {
        let image = Image { bytes: bytes.get(..HEADER_LENGTH).unwrap_or(bytes) };
        check_sbe_header(image, SCHEMA_ID)?;
        let i64_at = |at: usize| image.i64(at, "mark file header");
        let i32_at = |at: usize| image.i32(at, "mark file header");
        image.take(0, STRINGS_OFFSET, "mark file header")?;
        let version = i32_at(8)?;
        if version != VERSION_FAILED && super::major(version) != super::major(VERSION) {
            let found = format_args!("{version:#x}");
            return Err(FormatError::unexpected(8, "version", "major version 0 (0x0xxxx)", found));
        }
        let component_type = match i32_at(12)? {
            0 => ComponentType::Unknown,
            1 => ComponentType::ConsensusModule,
            2 => ComponentType::Container,
            3 => ComponentType::Backup,
            4 => ComponentType::Standby,
            found => return Err(FormatError::unexpected(12, "component type", "0 to 4", found)),
        };
        let (aeron_directory, next) = image.ascii(STRINGS_OFFSET, "aeron directory")?;
        let (control_channel, next) = image.ascii(next, "control channel")?;
        let (ingress_channel, next) = image.ascii(next, "ingress channel")?;
        let (service_name, next) = image.ascii(next, "service name")?;
        let (authenticator, next) = image.ascii(next, "authenticator")?;
        // Java's service containers and backups write only five; the sixth then reads as zero length.
        let (services_cluster_dir, _) = image.ascii(next, "services cluster directory")?;
        Ok(Self {
            version,
            component_type,
            activity_timestamp: i64_at(16)?,
            start_timestamp: i64_at(24)?,
            pid: i64_at(32)?,
            candidate_term_id: i64_at(40)?,
            archive_stream_id: i32_at(48)?,
            service_stream_id: i32_at(52)?,
            consensus_module_stream_id: i32_at(56)?,
            ingress_stream_id: i32_at(60)?,
            member_id: i32_at(64)?,
            service_id: i32_at(68)?,
            header_length: i32_at(72)?,
            error_buffer_length: i32_at(76)?,
            cluster_id: i32_at(80)?,
            aeron_directory,
            control_channel,
            ingress_channel,
            service_name,
            authenticator,
            services_cluster_dir,
        })
    }

    /// The header's [`HEADER_LENGTH`] bytes.
    ///
    /// # Errors
    /// When a string is not ASCII or all together do not fit.
    pub fn encode(&self) -> Result<Vec<u8>, FormatError> {
        let mut out = Vec::with_capacity(HEADER_LENGTH);
        put_sbe_header(&mut out, SCHEMA_ID);
        out.extend_from_slice(&self.version.to_le_bytes());
        out.extend_from_slice(&(self.component_type as i32).to_le_bytes());
        for value in [self.activity_timestamp, self.start_timestamp, self.pid, self.candidate_term_id] {
            out.extend_from_slice(&value.to_le_bytes());
        }
        for value in [
            self.archive_stream_id,
            self.service_stream_id,
            self.consensus_module_stream_id,
            self.ingress_stream_id,
            self.member_id,
            self.service_id,
            self.header_length,
            self.error_buffer_length,
            self.cluster_id,
        ] {
            out.extend_from_slice(&value.to_le_bytes());
        }
        out.resize(STRINGS_OFFSET, 0);
        put_ascii(&mut out, &self.aeron_directory, "aeron directory")?;
        put_ascii(&mut out, &self.control_channel, "control channel")?;
        put_ascii(&mut out, &self.ingress_channel, "ingress channel")?;
        put_ascii(&mut out, &self.service_name, "service name")?;
        put_ascii(&mut out, &self.authenticator, "authenticator")?;
        put_ascii(&mut out, &self.services_cluster_dir, "services cluster directory")?;
        fill_header(out)
    }
}

/// Bytes of the fixed part, in front of the strings; the same in both kinds of mark file.
pub(super) const STRINGS_OFFSET: usize = SBE_HEADER_LENGTH + 128;
const SBE_HEADER_LENGTH: usize = 8;
const BLOCK_LENGTH: u16 = 128;
const TEMPLATE_ID: u16 = 200;
const SCHEMA_ID: u16 = 110;
const SCHEMA_VERSION: u16 = 2;

/// Writes the SBE header of a mark file.
pub(super) fn put_sbe_header(out: &mut Vec<u8>, schema_id: u16) {
    for field in [BLOCK_LENGTH, TEMPLATE_ID, schema_id, SCHEMA_VERSION] {
        out.extend_from_slice(&field.to_le_bytes());
    }
}

/// Checks the SBE header of a mark file.
pub(super) fn check_sbe_header(image: Image<'_>, schema_id: u16) -> Result<(), FormatError> {
    let expected = [("block length", BLOCK_LENGTH), ("template id", TEMPLATE_ID), ("schema id", schema_id)];
    for (at, (what, expected)) in (0..).step_by(2).zip(expected) {
        let found = image.u16(at, what)?;
        if found != expected {
            return Err(FormatError::unexpected(at, what, expected, found));
        }
    }
    Ok(())
}

/// Fills a header up to its full length with zeros.
pub(super) fn fill_header(mut out: Vec<u8>) -> Result<Vec<u8>, FormatError> {
    if out.len() > HEADER_LENGTH {
        return Err(FormatError::unexpected(STRINGS_OFFSET, "strings", "8192 bytes in all", out.len()));
    }
    out.resize(HEADER_LENGTH, 0);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn mark() -> ClusterMark {
        ClusterMark {
            version: VERSION,
            activity_timestamp: 7,
            pid: 4711,
            member_id: 9,
            aeron_directory: "/dev/shm/a".into(),
            control_channel: "aeron:ipc?term-length=128k".into(),
            services_cluster_dir: "/x".into(),
            ..ClusterMark::default()
        }
    }

    #[test]
    fn the_fixed_part_lies_where_java_reads_it() {
        let bytes = mark().encode().unwrap();
        assert_eq!(bytes[..8], [0x80, 0, 0xc8, 0, 0x6e, 0, 2, 0]);
        assert_eq!(bytes[8..16], [0, 3, 0, 0, 3, 0, 0, 0]);
        assert_eq!(bytes[16..24], 7_i64.to_le_bytes());
        assert_eq!(bytes[64..68], 9_i32.to_le_bytes());
        assert_eq!(bytes[72..76], 8192_i32.to_le_bytes());
        assert_eq!(bytes[136..140], 10_i32.to_le_bytes());
        assert_eq!(bytes.len(), HEADER_LENGTH);
        assert_eq!(FILE_LENGTH, 1_056_768);
    }

    #[test]
    fn a_header_is_read_back_and_a_cut_one_names_its_offset() {
        let bytes = mark().encode().unwrap();
        assert_eq!(ClusterMark::parse(&bytes), Ok(mark()));
        let error = ClusterMark::parse(&bytes[..145]).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("at offset 140: aeron directory is cut short: expected 10"), "{text}");
        assert!(ClusterMark::parse(&[]).is_err());
    }

    #[test]
    fn an_archives_mark_file_is_refused() {
        let mut bytes = mark().encode().unwrap();
        bytes[4] = 100;
        assert_eq!(ClusterMark::parse(&bytes).unwrap_err().offset(), 4);
    }

    #[test]
    fn strings_that_do_not_fit_are_refused() {
        let long = ClusterMark { control_channel: "x".repeat(9000), ..mark() };
        assert!(long.encode().is_err());
        let foreign = ClusterMark { aeron_directory: "/home/zoë".into(), ..mark() };
        assert!(foreign.encode().is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(
            tail in prop::collection::vec(any::<u8>(), 0..400),
            cut in 0_usize..8192,
        ) {
            let _ = ClusterMark::parse(&tail);
            let mut bytes = mark().encode().unwrap();
            bytes.truncate(cut);
            bytes.extend_from_slice(&tail);
            let _ = ClusterMark::parse(&bytes);
        }
    }
}
