//! How the message families spell out their schema: one table a message, from which both directions follow.
//!
//! `sbe_message!` takes the fields of the block in wire order and then the var data in wire order, as the
//! schema's XML lists them; offsets follow from the order, and the block length is checked against the sum
//! of the fields when the crate compiles. `sbe_enum!` makes an enum that keeps values it does not know.

use super::sbe::{DecodeError, Encoder, Message, NULL_I32, TailReader};
use std::fmt;

/// A schema's identity, as every message header carries it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Schema {
    /// The schema's id.
    pub id: u16,
    /// The version that the encoders here write. Decoders accept any.
    pub version: u16,
}

/// A protocol version as messages carry it: `major << 16 | minor << 8 | patch`. The null value is 0.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct SemanticVersion(pub i32);

impl SemanticVersion {
    /// What a sender of an old schema version leaves out.
    pub const NULL: Self = Self(0);

    /// The version `major.minor.patch`.
    pub const fn new(major: u8, minor: u8, patch: u8) -> Self {
        Self(i32::from_be_bytes([0, major, minor, patch]))
    }

    /// The part that two peers must agree on.
    pub const fn major(self) -> u8 {
        self.0.to_be_bytes()[1]
    }
}

impl fmt::Display for SemanticVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [_, major, minor, patch] = self.0.to_be_bytes();
        write!(f, "{major}.{minor}.{patch}")
    }
}

/// Encoded credentials: compared and sent like any bytes, but never printed.
#[derive(Clone, Copy, Default, Eq, PartialEq)]
pub struct Secret<'a>(pub &'a [u8]);

impl fmt::Debug for Secret<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({} bytes)", self.0.len())
    }
}

/// A field of fixed length in a message's block.
pub(crate) trait BlockField: Sized {
    const LENGTH: usize;

    fn read(message: &Message<'_>, offset: usize) -> Self;

    fn write(self, encoder: Encoder<'_>) -> Encoder<'_>;
}

impl BlockField for i64 {
    const LENGTH: usize = 8;

    fn read(message: &Message<'_>, offset: usize) -> Self {
        message.i64(offset)
    }

    fn write(self, encoder: Encoder<'_>) -> Encoder<'_> {
        encoder.i64(self)
    }
}

impl BlockField for i32 {
    const LENGTH: usize = 4;

    fn read(message: &Message<'_>, offset: usize) -> Self {
        message.i32(offset)
    }

    fn write(self, encoder: Encoder<'_>) -> Encoder<'_> {
        encoder.i32(self)
    }
}

impl BlockField for SemanticVersion {
    const LENGTH: usize = 4;

    fn read(message: &Message<'_>, offset: usize) -> Self {
        match message.i32(offset) {
            NULL_I32 => Self::NULL,
            version => Self(version),
        }
    }

    fn write(self, encoder: Encoder<'_>) -> Encoder<'_> {
        encoder.i32(self.0)
    }
}

/// A field of variable length behind a message's block. `Default` stands for one that the sender's version lacks.
pub(crate) trait VarField<'a>: Default {
    fn read(tail: &mut TailReader<'a>) -> Result<Self, DecodeError>;

    fn write(self, encoder: Encoder<'_>) -> Encoder<'_>;
}

impl<'a> VarField<'a> for &'a str {
    fn read(tail: &mut TailReader<'a>) -> Result<Self, DecodeError> {
        tail.ascii()
    }

    fn write(self, encoder: Encoder<'_>) -> Encoder<'_> {
        encoder.bytes(self.as_bytes())
    }
}

impl<'a> VarField<'a> for &'a [u8] {
    fn read(tail: &mut TailReader<'a>) -> Result<Self, DecodeError> {
        tail.bytes()
    }

    fn write(self, encoder: Encoder<'_>) -> Encoder<'_> {
        encoder.bytes(self)
    }
}

impl<'a> VarField<'a> for Secret<'a> {
    fn read(tail: &mut TailReader<'a>) -> Result<Self, DecodeError> {
        tail.bytes().map(Self)
    }

    fn write(self, encoder: Encoder<'_>) -> Encoder<'_> {
        encoder.bytes(self.0)
    }
}

/// Reads a var data field that exists `since` a schema version (none named: since the first).
pub(crate) fn read_var<'a, T: VarField<'a>>(
    tail: &mut TailReader<'a>,
    version: u16,
    since: &[u16],
) -> Result<T, DecodeError> {
    if since.iter().any(|since| version < *since) { Ok(T::default()) } else { T::read(tail) }
}

/// Checks that `message` is the one that a decoder was written for.
pub(crate) fn expect(message: &Message<'_>, schema: Schema, template_id: u16) -> Result<(), DecodeError> {
    if message.header.schema_id != schema.id {
        return Err(DecodeError::UnexpectedSchema(message.header.schema_id));
    }
    if message.header.template_id != template_id {
        return Err(DecodeError::UnexpectedTemplate(message.header.template_id));
    }
    Ok(())
}

/// Defines one message: `Name<'a> = template of SCHEMA, block length { fields } var { fields }`.
///
/// A lifetime is named exactly when the message has var data. Non-ASCII characters in a string that is
/// encoded are the caller's fault and reach the wire as they are.
macro_rules! sbe_message {
    (@define [$($meta:tt)*] [$name:ident] [$($generics:tt)*] [$message:lifetime]
        = $template:literal of $schema:path, block $block_length:literal
        { $( $(#[$field_meta:meta])* $field:ident: $field_type:ty, )+ }
        $( var { $( $(#[$var_meta:meta])* $var:ident: $var_type:ty $(, since $since:literal)?; )+ } )?
    ) => {
        $($meta)*
        #[derive(Clone, Copy, Debug, Eq, PartialEq)]
        pub struct $name $($generics)* {
            $( $(#[$field_meta])* pub $field: $field_type, )+
            $( $( $(#[$var_meta])* pub $var: $var_type, )+ )?
        }

        impl $($generics)* $name $($generics)* {
            /// Which message of the schema this is.
            pub const TEMPLATE_ID: u16 = $template;
            /// Bytes of the block that `encode` writes.
            pub const BLOCK_LENGTH: u16 = $block_length;

            /// Reads the message; block fields that the sender's version lacks read as null.
            ///
            /// # Errors
            /// [`DecodeError`](crate::codec::sbe::DecodeError) when `message` is another one, ends early,
            /// or has a string that is not ASCII.
            pub fn decode(
                message: &$crate::codec::sbe::Message<$message>,
            ) -> Result<Self, $crate::codec::sbe::DecodeError> {
                use $crate::codec::message::BlockField;
                $crate::codec::message::expect(message, $schema, Self::TEMPLATE_ID)?;
                let mut offset = 0;
                $(
                    let $field = <$field_type as BlockField>::read(message, offset);
                    offset += <$field_type as BlockField>::LENGTH;
                )+
                debug_assert_eq!(offset, usize::from(Self::BLOCK_LENGTH));
                $(
                    let mut tail = message.tail_reader();
                    let version = message.header.version;
                    $( let $var = $crate::codec::message::read_var(&mut tail, version, &[$($since)?])?; )+
                )?
                Ok(Self { $( $field, )+ $( $( $var, )+ )? })
            }

            /// Appends the message, header first, to `out`.
            pub fn encode(&self, out: &mut Vec<u8>) {
                use $crate::codec::message::BlockField;
                let header = $crate::codec::sbe::MessageHeader {
                    block_length: Self::BLOCK_LENGTH,
                    template_id: Self::TEMPLATE_ID,
                    schema_id: $schema.id,
                    version: $schema.version,
                };
                let encoder = $crate::codec::sbe::Encoder::new(out, header);
                $( let encoder = BlockField::write(self.$field, encoder); )+
                $( $( let encoder = $crate::codec::message::VarField::write(self.$var, encoder); )+ )?
                let _ = encoder;
            }
        }

        const _: () = {
            let fields = 0 $( + <$field_type as $crate::codec::message::BlockField>::LENGTH )+;
            assert!(fields == $block_length);
        };
    };
    ($(#[$meta:meta])* $name:ident<$life:lifetime> $($rest:tt)+) => {
        $crate::codec::message::sbe_message! {
            @define [$(#[$meta])*] [$name] [<$life>] [$life] $($rest)+
        }
    };
    ($(#[$meta:meta])* $name:ident $($rest:tt)+) => {
        $crate::codec::message::sbe_message! {
            @define [$(#[$meta])*] [$name] [] ['_] $($rest)+
        }
    };
}
pub(crate) use sbe_message;

/// Defines an `int32` enum that keeps values of later versions, and null, in `Other`.
macro_rules! sbe_enum {
    ($(#[$meta:meta])* $name:ident { $( $(#[$value_meta:meta])* $variant:ident = $value:literal, )+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, Eq, PartialEq)]
        pub enum $name {
            $( $(#[$value_meta])* $variant, )+
            /// A value that this version of the schema does not name.
            Other(i32),
        }

        impl $name {
            /// The enum of a value on the wire.
            pub const fn from_i32(value: i32) -> Self {
                match value {
                    $( $value => Self::$variant, )+
                    other => Self::Other(other),
                }
            }

            /// The value on the wire.
            pub const fn to_i32(self) -> i32 {
                match self {
                    $( Self::$variant => $value, )+
                    Self::Other(other) => other,
                }
            }
        }

        impl $crate::codec::message::BlockField for $name {
            const LENGTH: usize = 4;

            fn read(message: &$crate::codec::sbe::Message<'_>, offset: usize) -> Self {
                Self::from_i32(message.i32(offset))
            }

            fn write(self, encoder: $crate::codec::sbe::Encoder<'_>) -> $crate::codec::sbe::Encoder<'_> {
                encoder.i32(self.to_i32())
            }
        }
    };
}
pub(crate) use sbe_enum;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_packs_its_parts_as_aeron_does() {
        assert_eq!(SemanticVersion::new(0, 3, 0).0, 768);
        assert_eq!(SemanticVersion::new(1, 12, 0).0, 68608);
        assert_eq!(SemanticVersion(68608).to_string(), "1.12.0");
        assert_eq!(SemanticVersion(65536).major(), 1);
    }

    #[test]
    fn a_secret_is_not_printed() {
        assert_eq!(format!("{:?}", Secret(b"admin:admin")), "Secret(11 bytes)");
    }
}
