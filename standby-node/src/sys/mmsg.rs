//! `recvmmsg` and `sendmmsg` with GRO and GSO.
