//! Identities and positions, as types of their own so that one cannot be passed for another.

use std::fmt;

macro_rules! id {
    ($(#[$meta:meta])* $name:ident($raw:ty)) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        pub struct $name(pub $raw);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id! {
    /// A client's session with the cluster. Positive for clients; services' own messages carry
    /// negative ids, which never reach a service.
    ClusterSessionId(i64)
}
id! {
    /// One leader's reign. Grows with every election; -1 before the first.
    LeadershipTermId(i64)
}
id! {
    /// An absolute byte position in the cluster's log, across leadership terms. A multiple of 32.
    LogPosition(i64)
}
id! {
    /// A member of the cluster, as numbered in its member list.
    MemberId(i32)
}
id! {
    /// A service within a node, 0 to 9.
    ServiceId(u8)
}
