//! Where the members of a cluster take ingress: `0=host:port,1=host:port`.
//!
//! So an operator configures a client, and so a redirect and a `NewLeaderEvent` tell it.

use std::fmt;
use std::str::FromStr;

use crate::channel::{HostPort, HostPortError};

/// The ingress endpoints of a cluster's members, in the order in which they were named.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct IngressEndpoints(Vec<IngressEndpoint>);

/// Where one member takes ingress.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct IngressEndpoint {
    /// The member.
    pub member_id: i32,
    /// Where it listens.
    pub endpoint: HostPort,
}

impl IngressEndpoints {
    /// The entries.
    pub fn iter(&self) -> std::slice::Iter<'_, IngressEndpoint> {
        self.0.iter()
    }

    /// Where a member listens; `None` when it is not named.
    pub fn endpoint_of(&self, member_id: i32) -> Option<&HostPort> {
        self.0.iter().find(|entry| entry.member_id == member_id).map(|entry| &entry.endpoint)
    }
}

impl FromStr for IngressEndpoints {
    type Err = IngressEndpointsError;

    /// Reads a list. Of a member that is named twice, the last endpoint counts, as in Java.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut entries: Vec<IngressEndpoint> = Vec::new();
        for entry in text.split(',') {
            let (member_id, endpoint) = entry
                .split_once('=')
                .ok_or_else(|| IngressEndpointsError::NoMemberId { entry: entry.to_owned() })?;
            let member_id = member_id
                .parse()
                .map_err(|_| IngressEndpointsError::BadMemberId { entry: entry.to_owned() })?;
            let endpoint = endpoint.parse()?;
            match entries.iter_mut().find(|known| known.member_id == member_id) {
                Some(known) => known.endpoint = endpoint,
                None => entries.push(IngressEndpoint { member_id, endpoint }),
            }
        }
        Ok(Self(entries))
    }
}

impl FromIterator<IngressEndpoint> for IngressEndpoints {
    fn from_iter<I: IntoIterator<Item = IngressEndpoint>>(entries: I) -> Self {
        Self(entries.into_iter().collect())
    }
}

impl fmt::Display for IngressEndpoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, IngressEndpoint { member_id, endpoint }) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "," };
            write!(f, "{separator}{member_id}={endpoint}")?;
        }
        Ok(())
    }
}

/// Why a text is no list of ingress endpoints.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum IngressEndpointsError {
    /// An entry has no `=`.
    #[error("`{entry}` is no ingress endpoint; expected `member=host:port`, such as `0=10.0.0.1:9002`")]
    NoMemberId {
        /// The entry.
        entry: String,
    },
    /// What stands before the `=` is no member id.
    #[error("the member id of `{entry}` is no number; expected e.g. `0=10.0.0.1:9002`")]
    BadMemberId {
        /// The entry.
        entry: String,
    },
    /// What stands behind the `=` is no endpoint.
    #[error("an ingress endpoint is wrong: {0}")]
    BadEndpoint(#[from] HostPortError),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_survives_the_round_trip_through_text() {
        let text = "0=localhost:9002,1=10.0.0.2:9002,9=[fd00::7]:9002";
        let endpoints: IngressEndpoints = text.parse().unwrap();
        assert_eq!(endpoints.to_string(), text);
        assert_eq!(endpoints.iter().count(), 3);
        assert_eq!(endpoints.endpoint_of(1), Some(&"10.0.0.2:9002".parse().unwrap()));
        assert_eq!(endpoints.endpoint_of(2), None);
    }

    #[test]
    fn the_last_endpoint_of_a_member_counts() {
        let endpoints: IngressEndpoints = "3=a:1,3=b:2".parse().unwrap();
        assert_eq!(endpoints.to_string(), "3=b:2");
    }

    #[test]
    fn what_is_no_list_is_refused_with_what_was_expected() {
        for text in ["", "localhost:9002", "0=", "0=localhost", "x=localhost:1", "0=a:1,", "0=a:1;1=b:1"] {
            let error = text.parse::<IngressEndpoints>().unwrap_err().to_string();
            assert!(error.contains("expected"), "{text}: {error}");
        }
    }
}
