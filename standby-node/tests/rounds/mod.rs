//! What a round leaves on the disk.

pub(crate) mod led_log;
