//! What standbys say to each other: a schema and a stream of our own, so that no member takes it for anything
//! of its own.
//!
//! ```text
//!  StandbyBeacon, schema 7223, template 1, block 72, little endian:
//!  0           4       8             16         24                32             40         48
//! | member id | state | incarnation | sequence | leadership term | log position | claim id | granted claim |
//!  56                         60           64               72
//! | member id of that claim | cluster id | log's term + 1 | then credentials: u32 length, bytes
//! ```
//! A newer version only appends fields; what a sender's block lacks reads as null.

use super::message::{Schema, Secret, sbe_message};
use super::sbe::{DecodeError, Message};

/// The schema of what standbys say to each other.
pub const STANDBY_SCHEMA: Schema = Schema { id: 7223, version: 1 };
/// The stream on which they say it, far from all that Aeron Cluster uses.
pub const STANDBY_STREAM_ID: i32 = 7223;

sbe_message! {
    /// How a standby stands, told to every other one on change and ten times a second. See
    /// [`crate::transition::Beacon`].
    StandbyBeacon<'a> = 1 of STANDBY_SCHEMA, block 72 {
        /// Who says it.
        member_id: i32,
        /// [`crate::transition::TransitionState`] by value.
        state: i32,
        /// Greater with each start of the sender.
        incarnation: i64,
        /// Greater with each beacon of one incarnation.
        sequence: i64,
        /// The newest leadership term that the sender knows, -1 for none; of an active one its own.
        leadership_term_id: i64,
        /// End of the sender's log, -1 without one.
        log_position: i64,
        /// The sender's claim to lead, 0 for none.
        claim_id: i64,
        /// The claim that the sender has granted, 0 for none.
        grant_claim_id: i64,
        /// Who makes that claim.
        grant_member_id: i32,
        /// The sender's cluster.
        cluster_id: i32,
        /// The leadership term that the sender's log ends in, plus 1; 0 of a sender that does not know, or does not know
        /// this field.
        log_term_count: i64,
    }
    var {
        /// What the receiver's authenticator is asked.
        encoded_credentials: Secret<'a>;
    }
}

impl<'a> StandbyBeacon<'a> {
    /// Reads a beacon from the bytes of a message.
    ///
    /// # Errors
    /// [`DecodeError`] when they are of another schema or template, or end early.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        Self::decode(&Message::parse(bytes)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_beacon_survives_the_wire_and_another_schema_is_refused() {
        let beacon = StandbyBeacon {
            member_id: 100,
            state: 3,
            incarnation: 1 << 40,
            sequence: 9,
            leadership_term_id: 17,
            log_position: 4096,
            claim_id: 0x5555_0000_0001,
            grant_claim_id: 7,
            grant_member_id: 101,
            cluster_id: 0,
            log_term_count: 17,
            encoded_credentials: Secret(b"u:p"),
        };
        let mut bytes = Vec::new();
        beacon.encode(&mut bytes);
        assert_eq!(bytes.len(), 8 + 72 + 4 + 3);
        assert_eq!(bytes[..8], [72, 0, 1, 0, 0x37, 0x1c, 1, 0]);
        assert_eq!(StandbyBeacon::parse(&bytes), Ok(beacon));
        bytes[4] = 111;
        bytes[5] = 0;
        assert_eq!(StandbyBeacon::parse(&bytes), Err(DecodeError::UnexpectedSchema(111)));
    }
}
