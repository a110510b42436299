//! From recorded bytes to log events: frame walk, reassembly, decoding.
