use std::fmt;

/// Why a datagram was dropped: counted on the hot path, put into words elsewhere.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Reject {
    /// Shorter than the fixed part of its type.
    Truncated,
    /// A version other than 0.
    BadVersion,
    /// An extension, or a type of the closed transport security.
    UnknownType,
    /// A known type that has no business here.
    UnexpectedType,
    /// The frame length contradicts the type or the datagram's length.
    BadLength,
    /// A term offset or a length is not a multiple of 32.
    Unaligned,
    /// The frames of a datagram do not follow each other, or belong to different streams or terms.
    BrokenChain,
    /// A frame begins or ends outside its term, or its term id lies before the initial one.
    OutsideTerm,
    /// A term length that is no power of two from 64 KiB to 1 GiB.
    IllegalTermLength,
    /// An MTU that Aeron does not allow, or that is larger than the receive window.
    IllegalMtu,
}

impl Reject {
    /// How many reasons there are.
    pub const COUNT: usize = 10;

    /// Every reason, in the order of [`Self::index`].
    pub const ALL: [Self; Self::COUNT] = [
        Self::Truncated,
        Self::BadVersion,
        Self::UnknownType,
        Self::UnexpectedType,
        Self::BadLength,
        Self::Unaligned,
        Self::BrokenChain,
        Self::OutsideTerm,
        Self::IllegalTermLength,
        Self::IllegalMtu,
    ];

    /// A small dense number, for arrays of counters.
    pub const fn index(self) -> usize {
        self as usize
    }
}

impl fmt::Display for Reject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Truncated => "truncated",
            Self::BadVersion => "version is not 0",
            Self::UnknownType => "unknown frame type",
            Self::UnexpectedType => "frame type is not expected here",
            Self::BadLength => "frame length does not fit",
            Self::Unaligned => "not aligned to 32 bytes",
            Self::BrokenChain => "frames do not follow each other",
            Self::OutsideTerm => "outside its term",
            Self::IllegalTermLength => "illegal term length",
            Self::IllegalMtu => "illegal MTU",
        })
    }
}

impl std::error::Error for Reject {}
