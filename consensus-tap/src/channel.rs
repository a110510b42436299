//! Channel URIs: `aeron:udp?endpoint=host:port|session-id=7`.
