//! Files of Aeron, its archive and its cluster: bytes in, values out.
