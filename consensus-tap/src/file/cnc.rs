//! cnc.dat: where a process shows its counters, its errors and that it is alive.
//!
//! ```text
//!  0                 128           + to-driver     + to-clients        + metadata        + values      + errors
//!  | header          | ring        | broadcast     | counter metadata  | counter values  | error log   | pad to page |
//!
//!  header: | 0 version | 4 to-driver length | 8 to-clients length | 12 counter metadata length
//!          | 16 counter values length | 20 error log length | 24 i64 client liveness timeout ns
//!          | 32 i64 start timestamp ms | 40 i64 pid | 48 file page size | 52..128 zero |
//!  value record, 128 bytes:    | 0 i64 value | 8 i64 registration id | 16 i64 owner id | 24 i64 reference id |
//!  metadata record, 512 bytes: | 0 state | 4 type id | 8 i64 free-for-reuse deadline ms | 16 key, 112 bytes
//!                              | 128 label length | 132 label, 380 bytes |
//!  error log entry, at multiples of 8: | 0 length | 4 observation count | 8 i64 last timestamp ms
//!                                      | 16 i64 first timestamp ms | 24 text |
//! ```
//! Fields without a type are i32. Same layout as `CncFileDescriptor.java`, `CountersReader.java` and
//! `DistinctErrorLog.java`. The version is written last: a reader waits for it. Multi-byte fields are in the host's
//! order, little endian on every host that Aeron runs on.

pub mod counters;

/// Version that we write, 0.2.0. Readers compare only the major number, which is 0.
pub const CNC_VERSION: i32 = 0x200;
/// Bytes before the to-driver ring.
pub const HEADER_LENGTH: usize = 128;

/// Offset of the version in the file.
pub const VERSION_OFFSET: usize = 0;
const TO_DRIVER_LENGTH_OFFSET: usize = 4;
const TO_CLIENTS_LENGTH_OFFSET: usize = 8;
const METADATA_LENGTH_OFFSET: usize = 12;
const VALUES_LENGTH_OFFSET: usize = 16;
const ERROR_LOG_LENGTH_OFFSET: usize = 20;
const LIVENESS_TIMEOUT_OFFSET: usize = 24;
const START_TIMESTAMP_OFFSET: usize = 32;
const PID_OFFSET: usize = 40;
const PAGE_SIZE_OFFSET: usize = 48;
const _: () = assert!(PAGE_SIZE_OFFSET + size_of::<i32>() <= HEADER_LENGTH);

/// Bytes behind the to-driver ring's records.
pub const RING_TRAILER_LENGTH: usize = 768;
/// Bytes behind the to-clients broadcast's records.
pub const BROADCAST_TRAILER_LENGTH: usize = 128;
const CORRELATION_COUNTER_OFFSET: usize = 512;
const CONSUMER_HEARTBEAT_OFFSET: usize = 640;

/// Bytes of a counter's value record.
pub const VALUE_RECORD_LENGTH: usize = 128;
/// Offset of the registration id in a value record.
pub const REGISTRATION_ID_OFFSET: usize = 8;
/// Offset of the owner id in a value record.
pub const OWNER_ID_OFFSET: usize = 16;
/// Offset of the reference id in a value record.
pub const REFERENCE_ID_OFFSET: usize = 24;

/// Bytes of a counter's metadata record.
pub const METADATA_RECORD_LENGTH: usize = 512;
/// Offset of the type id in a metadata record.
pub const TYPE_ID_OFFSET: usize = 4;
/// Offset of the time from which a freed counter may be used again.
pub const REUSE_DEADLINE_OFFSET: usize = 8;
/// Offset of the key in a metadata record.
pub const KEY_OFFSET: usize = 16;
/// Bytes that a key may have.
pub const KEY_LENGTH_MAX: usize = 112;
/// Offset of the label's length in a metadata record.
pub const LABEL_LENGTH_OFFSET: usize = 128;
/// Offset of the label in a metadata record.
pub const LABEL_OFFSET: usize = 132;
/// Bytes that a label may have.
pub const LABEL_LENGTH_MAX: usize = 380;
const _: () = assert!(LABEL_OFFSET + LABEL_LENGTH_MAX == METADATA_RECORD_LENGTH);
const _: () = assert!(KEY_OFFSET + KEY_LENGTH_MAX == LABEL_LENGTH_OFFSET);

/// State of a record that was never used: readers stop here.
pub const RECORD_UNUSED: i32 = 0;
/// State of a counter in use.
pub const RECORD_ALLOCATED: i32 = 1;
/// State of a freed counter: readers skip it.
pub const RECORD_RECLAIMED: i32 = -1;
/// Reuse deadline of a counter in use.
pub const NOT_FREE_TO_REUSE: i64 = i64::MAX;

/// Bytes before the text of an error log entry.
pub const ERROR_HEADER_LENGTH: usize = 24;
/// Offset of the observation count in an error log entry.
pub const ERROR_COUNT_OFFSET: usize = 4;
/// Offset of the time of the last observation in an error log entry.
pub const ERROR_LAST_TIMESTAMP_OFFSET: usize = 8;
/// Offset of the time of the first observation in an error log entry.
pub const ERROR_FIRST_TIMESTAMP_OFFSET: usize = 16;
/// Error log entries begin at multiples of this many bytes.
pub const ERROR_ALIGNMENT: usize = 8;

const ERROR_LOG_LENGTH_MIN: usize = 4096;

/// Lengths of the sections: what the header says about where everything is. Bytes throughout.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct CncLayout {
    to_driver_length: usize,
    to_clients_length: usize,
    metadata_length: usize,
    values_length: usize,
    error_log_length: usize,
    page_size: usize,
}

/// What else the header says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct CncIdentity {
    /// After how long without a keepalive the driver gives a client up.
    pub client_liveness_timeout_ns: i64,
    /// When the process made the file, epoch ms.
    pub start_timestamp_ms: i64,
    /// The process.
    pub pid: i64,
}

/// Why a file is no cnc.dat that we can read.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum CncFormatError {
    /// The file ends before its header does.
    #[error("the file ends within its header")]
    Truncated,
    /// The version is still 0: the process that makes the file has not finished.
    #[error("the file is not ready: its version is still 0")]
    NotReady,
    /// The major version is not 0.
    #[error("version {}.{}.{} of cnc.dat is not supported, only 0.x", .0 >> 16, .0 >> 8 & 0xff, .0 & 0xff)]
    Version(i32),
    /// A section's length is impossible.
    #[error("length {length} of the {section} section is not possible")]
    SectionLength {
        /// Which section.
        section: &'static str,
        /// What the header says.
        length: i32,
    },
    /// The sections together are longer than the file.
    #[error("the sections end at {expected}, but the file has {found} bytes")]
    FileLength {
        /// End of the last section.
        expected: usize,
        /// Length of the file.
        found: usize,
    },
}

impl CncLayout {
    /// The layout for `counter_capacity` counters and an error log of `error_log_length` bytes. The rings stay
    /// small: nobody sends commands to this process.
    ///
    /// # Panics
    /// When `counter_capacity` is not a power of two from 64 to 2^20, or `error_log_length` is not a multiple of
    /// 4096 from 4096 to 1 GiB: both are settings that the caller has checked.
    pub fn new(counter_capacity: usize, error_log_length: usize) -> Self {
        assert!(counter_capacity.is_power_of_two(), "counters are counted in powers of two");
        assert!((64..=1 << 20).contains(&counter_capacity), "{counter_capacity} counters are out of range");
        assert!(error_log_length.is_multiple_of(ERROR_LOG_LENGTH_MIN), "the error log is made of pages");
        assert!(
            (ERROR_LOG_LENGTH_MIN..=1 << 30).contains(&error_log_length),
            "error log length out of range"
        );
        Self {
            to_driver_length: 64 * 1024 + RING_TRAILER_LENGTH,
            to_clients_length: 64 * 1024 + BROADCAST_TRAILER_LENGTH,
            metadata_length: counter_capacity * METADATA_RECORD_LENGTH,
            values_length: counter_capacity * VALUE_RECORD_LENGTH,
            error_log_length,
            page_size: 4096,
        }
    }

    /// Reads the header of a file of `file_length` bytes and checks that every section lies within it.
    ///
    /// # Errors
    /// [`CncFormatError`] when the file is not ready, of another major version, or its lengths are impossible.
    pub fn decode(header: &[u8], file_length: usize) -> Result<(Self, CncIdentity), CncFormatError> {
        let header = header.first_chunk::<HEADER_LENGTH>().ok_or(CncFormatError::Truncated)?;
        let i32_at =
            |at: usize| i32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let i64_at = |at: usize| i64::from(i32_at(at) as u32) | i64::from(i32_at(at + 4)) << 32;
        match i32_at(VERSION_OFFSET) {
            0 => return Err(CncFormatError::NotReady),
            version if version >> 16 != 0 => return Err(CncFormatError::Version(version)),
            _ => {}
        }
        let section = |section: &'static str, at: usize, trailer: usize, unit: usize| {
            let length = i32_at(at);
            usize::try_from(length)
                .ok()
                .filter(|bytes| *bytes >= trailer + unit && (bytes - trailer).is_multiple_of(unit))
                .ok_or(CncFormatError::SectionLength { section, length })
        };
        let layout = Self {
            to_driver_length: section("to-driver", TO_DRIVER_LENGTH_OFFSET, RING_TRAILER_LENGTH, 8)?,
            to_clients_length: section("to-clients", TO_CLIENTS_LENGTH_OFFSET, BROADCAST_TRAILER_LENGTH, 8)?,
            metadata_length: section("counter metadata", METADATA_LENGTH_OFFSET, 0, METADATA_RECORD_LENGTH)?,
            values_length: section("counter values", VALUES_LENGTH_OFFSET, 0, VALUE_RECORD_LENGTH)?,
            error_log_length: section("error log", ERROR_LOG_LENGTH_OFFSET, 0, ERROR_ALIGNMENT)?,
            page_size: usize::try_from(i32_at(PAGE_SIZE_OFFSET))
                .ok()
                .filter(|size| *size > 0)
                .unwrap_or(4096),
        };
        if layout.end() > file_length {
            return Err(CncFormatError::FileLength { expected: layout.end(), found: file_length });
        }
        let identity = CncIdentity {
            client_liveness_timeout_ns: i64_at(LIVENESS_TIMEOUT_OFFSET),
            start_timestamp_ms: i64_at(START_TIMESTAMP_OFFSET),
            pid: i64_at(PID_OFFSET),
        };
        Ok((layout, identity))
    }

    /// The header, with the version still 0: the caller stores it last, when the file is ready.
    pub fn encode(&self, identity: &CncIdentity) -> [u8; HEADER_LENGTH] {
        let mut header = [0; HEADER_LENGTH];
        let mut put = |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
        for (at, length) in [
            (TO_DRIVER_LENGTH_OFFSET, self.to_driver_length),
            (TO_CLIENTS_LENGTH_OFFSET, self.to_clients_length),
            (METADATA_LENGTH_OFFSET, self.metadata_length),
            (VALUES_LENGTH_OFFSET, self.values_length),
            (ERROR_LOG_LENGTH_OFFSET, self.error_log_length),
            (PAGE_SIZE_OFFSET, self.page_size),
        ] {
            // `new` and `decode` keep every length below 2^31.
            put(at, &(length as i32).to_le_bytes());
        }
        put(LIVENESS_TIMEOUT_OFFSET, &identity.client_liveness_timeout_ns.to_le_bytes());
        put(START_TIMESTAMP_OFFSET, &identity.start_timestamp_ms.to_le_bytes());
        put(PID_OFFSET, &identity.pid.to_le_bytes());
        header
    }

    /// Bytes of the file: all sections, padded to a page.
    pub fn file_length(&self) -> usize {
        self.end().next_multiple_of(self.page_size)
    }

    /// How many counters there is room for: those that have both a metadata and a value record.
    pub fn counter_capacity(&self) -> usize {
        (self.metadata_length / METADATA_RECORD_LENGTH).min(self.values_length / VALUE_RECORD_LENGTH)
    }

    /// File offset of the driver's heartbeat, epoch ms; -1 once the process has gone in order.
    pub fn heartbeat_offset(&self) -> usize {
        HEADER_LENGTH + self.to_driver_length - RING_TRAILER_LENGTH + CONSUMER_HEARTBEAT_OFFSET
    }

    /// File offset of the counter that client and correlation ids are drawn from.
    pub fn correlation_counter_offset(&self) -> usize {
        HEADER_LENGTH + self.to_driver_length - RING_TRAILER_LENGTH + CORRELATION_COUNTER_OFFSET
    }

    /// File offset of the metadata record of counter `id`.
    pub fn metadata_offset(&self, id: usize) -> usize {
        HEADER_LENGTH + self.to_driver_length + self.to_clients_length + id * METADATA_RECORD_LENGTH
    }

    /// File offset of the value record of counter `id`.
    pub fn value_offset(&self, id: usize) -> usize {
        self.metadata_offset(0) + self.metadata_length + id * VALUE_RECORD_LENGTH
    }

    /// File offset of the error log.
    pub fn error_log_offset(&self) -> usize {
        self.value_offset(0) + self.values_length
    }

    /// Bytes of the error log.
    pub fn error_log_length(&self) -> usize {
        self.error_log_length
    }

    fn end(&self) -> usize {
        self.error_log_offset() + self.error_log_length
    }
}

/// A counter's label, cut to what a metadata record holds. Bytes that are not ASCII become `?`.
pub fn label_bytes(label: &str) -> Vec<u8> {
    let printable = |byte: char| if byte.is_ascii() { byte as u8 } else { b'?' };
    label.chars().map(printable).take(LABEL_LENGTH_MAX).collect()
}

/// The label that Aeron gives a counter of a cluster: `<name> - clusterId=<id>`.
pub fn cluster_label(name: &str, cluster_id: i32) -> String {
    format!("{name} - clusterId={cluster_id}")
}

/// The label that Aeron gives a counter of one service: `<name> - clusterId=<id> serviceId=<id>`.
pub fn cluster_service_label(name: &str, cluster_id: i32, service_id: i32) -> String {
    format!("{name} - clusterId={cluster_id} serviceId={service_id}")
}

/// The key of a cluster counter: its cluster id.
pub fn cluster_key(cluster_id: i32) -> [u8; 4] {
    cluster_id.to_le_bytes()
}

/// The key of a counter of one service: cluster id, service id.
pub fn cluster_service_key(cluster_id: i32, service_id: i32) -> [u8; 8] {
    let mut key = [0; 8];
    key[..4].copy_from_slice(&cluster_id.to_le_bytes());
    key[4..].copy_from_slice(&service_id.to_le_bytes());
    key
}

/// Key and label of a recording's position (type 100), as an archive makes them.
pub fn recording_position_counter(
    recording_id: i64,
    session_id: i32,
    stream_id: i32,
    channel: &str,
    source_identity: &str,
    archive_id: i64,
) -> (Vec<u8>, String) {
    let identity_max = KEY_LENGTH_MAX - 24;
    let identity = &source_identity.as_bytes()[..source_identity.len().min(identity_max)];
    let mut key = Vec::with_capacity(KEY_LENGTH_MAX);
    key.extend_from_slice(&recording_id.to_le_bytes());
    key.extend_from_slice(&session_id.to_le_bytes());
    key.extend_from_slice(&(identity.len() as i32).to_le_bytes());
    key.extend_from_slice(identity);
    key.extend_from_slice(&archive_id.to_le_bytes());
    let label =
        format!("rec-pos: {recording_id} {session_id} {stream_id} {channel} - archiveId={archive_id}");
    (key, label)
}

#[cfg(test)]
#[path = "cnc/tests.rs"]
mod tests;
