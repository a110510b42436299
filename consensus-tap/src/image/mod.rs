//! The receive side of a stream.

mod fragment_assembler;

pub use fragment_assembler::{AssembledMessage, FragmentAssembler};
