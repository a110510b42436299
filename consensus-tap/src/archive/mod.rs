//! The archive control protocol, as a client.
