//! `node-state.dat`: the newest term for which this node was, or voted for, a candidate.
//!
//! ```text
//!   0         4     8                24                  32          40             48           64
//!  | version | pad | frame header 301 | candidate term id | timestamp | log position | header 304 | zeros to 1 MiB
//! ```
//! The first eight bytes have no frame header. A frame header is `u16 block length, u16 template id, u16 schema
//! id (112), u16 version (10), i32 frame length, i32 padding`; frames follow one another, each padded to 8
//! bytes, up to the footer (304). The candidate term id is stored last. Same bytes as Aeron's `NodeStateFile`.

use super::{Edit, FormatError, Image, to_u64};

/// The file's name in the cluster directory.
pub const FILE_NAME: &str = "node-state.dat";
/// Bytes of the file.
pub const FILE_LENGTH: usize = 1 << 20;

/// The candidate term of this node.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct CandidateTerm {
    /// -1 before the first.
    pub candidate_term_id: i64,
    /// Epoch milliseconds, -1 before the first.
    pub timestamp: i64,
    /// Log position of the node then, -1 before the first.
    pub log_position: i64,
}

impl Default for CandidateTerm {
    fn default() -> Self {
        Self { candidate_term_id: -1, timestamp: -1, log_position: -1 }
    }
}

/// What the file holds, and where.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct NodeState {
    /// The candidate term.
    pub candidate_term: CandidateTerm,
    /// Where its three fields start in the file.
    offset: usize,
}

impl NodeState {
    /// Reads the image of a file; zeros behind the footer may be left out.
    ///
    /// # Errors
    /// When the major version is not 0, the frames end without a candidate term before a footer, or the file
    /// is cut short.
    pub fn parse(bytes: &[u8]) -> Result<Self, FormatError> {
        let image = Image { bytes };
        let version = image.i32(0, "version")?;
        if super::major(version) != super::major(VERSION) {
            let found = format_args!("{version:#x}");
            return Err(FormatError::unexpected(0, "version", "major version 0 (0x0xxxx)", found));
        }
        let mut candidate = None;
        let mut offset = NODE_STATE_HEADER_LENGTH;
        loop {
            image.take(offset, FRAME_HEADER_LENGTH, "frame header")?;
            match image.u16(offset + 2, "template id")? {
                TEMPLATE_FOOTER => break,
                TEMPLATE_CANDIDATE_TERM if candidate.is_none() => {
                    let fields = offset + FRAME_HEADER_LENGTH;
                    image.take(fields, CANDIDATE_TERM_LENGTH, "candidate term")?;
                    candidate = Some(fields);
                }
                _ => {}
            }
            let length = image.i32(offset + 8, "frame length")?;
            let length = usize::try_from(length)
                .ok()
                .filter(|length| *length >= FRAME_HEADER_LENGTH)
                .ok_or_else(|| {
                    FormatError::unexpected(
                        offset + 8,
                        "frame length",
                        "16 or more, or a footer before",
                        length,
                    )
                })?;
            offset = offset.saturating_add(length.next_multiple_of(FRAME_ALIGNMENT));
        }
        let Some(fields) = candidate else {
            return Err(FormatError::unexpected(
                offset,
                "frame",
                "a candidate term (301)",
                "the footer (304)",
            ));
        };
        let candidate_term = CandidateTerm {
            candidate_term_id: image.i64(fields, "candidate term id")?,
            timestamp: image.i64(fields + 8, "timestamp")?,
            log_position: image.i64(fields + 16, "log position")?,
        };
        Ok(Self { candidate_term, offset: fields })
    }

    /// The first bytes of a new file; zeros follow up to [`FILE_LENGTH`].
    pub fn encode_new(candidate_term: CandidateTerm) -> Vec<u8> {
        let mut out = Vec::with_capacity(64);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        put_frame_header(&mut out, 24, TEMPLATE_CANDIDATE_TERM, 40);
        let CandidateTerm { candidate_term_id, timestamp, log_position } = candidate_term;
        for value in [candidate_term_id, timestamp, log_position] {
            out.extend_from_slice(&value.to_le_bytes());
        }
        put_frame_header(&mut out, 0, TEMPLATE_FOOTER, 16);
        out
    }

    /// The edits that store another candidate term, its id last.
    pub fn edits(&self, candidate_term: CandidateTerm) -> Vec<Edit> {
        let CandidateTerm { candidate_term_id, timestamp, log_position } = candidate_term;
        [(16, log_position), (8, timestamp), (0, candidate_term_id)]
            .map(|(at, value)| Edit { offset: to_u64(self.offset + at), bytes: value.to_le_bytes().to_vec() })
            .to_vec()
    }
}

const VERSION: i32 = super::version(0, 3, 0);
const NODE_STATE_HEADER_LENGTH: usize = 8;
const FRAME_HEADER_LENGTH: usize = 16;
const FRAME_ALIGNMENT: usize = 8;
const CANDIDATE_TERM_LENGTH: usize = 24;
const TEMPLATE_CANDIDATE_TERM: u16 = 301;
const TEMPLATE_FOOTER: u16 = 304;

fn put_frame_header(out: &mut Vec<u8>, block_length: u16, template_id: u16, frame_length: i32) {
    for field in [block_length, template_id, 112, 10] {
        out.extend_from_slice(&field.to_le_bytes());
    }
    out.extend_from_slice(&frame_length.to_le_bytes());
    out.extend_from_slice(&[0; 4]);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_new_file_has_javas_layout() {
        let expected = "0003000000000000 18002d0170000a002800000000000000 ffffffffffffffff ffffffffffffffff \
                        ffffffffffffffff 0000300170000a001000000000000000";
        let expected = hex::decode(expected.replace(' ', "")).unwrap();
        assert_eq!(NodeState::encode_new(CandidateTerm::default()), expected);
    }

    #[test]
    fn an_update_stores_the_term_id_last() {
        let mut bytes = NodeState::encode_new(CandidateTerm::default());
        let state = NodeState::parse(&bytes).unwrap();
        let term = CandidateTerm { candidate_term_id: 12, timestamp: 34, log_position: 56 };
        let edits = state.edits(term);
        assert_eq!(edits.last().unwrap().offset, 24);
        for edit in &edits {
            let at = usize::try_from(edit.offset).unwrap();
            bytes[at..at + 8].copy_from_slice(&edit.bytes);
        }
        assert_eq!(NodeState::parse(&bytes).unwrap().candidate_term, term);
    }

    #[test]
    fn a_file_without_its_footer_is_refused_with_the_offset() {
        let bytes = NodeState::encode_new(CandidateTerm::default());
        assert_eq!(NodeState::parse(&bytes[..60]).unwrap_err().offset(), 48);
        let mut zeroed = bytes.clone();
        zeroed[48..].fill(0);
        zeroed.resize(4096, 0);
        assert_eq!(NodeState::parse(&zeroed).unwrap_err().offset(), 56);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(
            noise in prop::collection::vec(any::<u8>(), 0..200),
            at in 0_usize..64,
        ) {
            let _ = NodeState::parse(&noise);
            let mut bytes = NodeState::encode_new(CandidateTerm::default());
            bytes.splice(at.., noise);
            let _ = NodeState::parse(&bytes);
        }
    }
}
