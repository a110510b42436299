//! io_uring: multishot receive into provided buffers.
