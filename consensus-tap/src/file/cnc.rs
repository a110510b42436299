//! The CnC file: written on its own branch.
