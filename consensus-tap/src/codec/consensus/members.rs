//! The two strings in which Aeron Cluster lists its members.
//!
//! ```text
//! clusterMembers:   id,ingress,consensus,log,catchup,archive[,archiveResponse[,egressResponse]]|…
//! ingressEndpoints: id=endpoint,…
//! ```
//! Same grammar as `ClusterMember.parse` and `AeronCluster` of 1.51.0. Endpoints stay text here: a channel
//! may put them into a URI as they are, and [`HostPort`](crate::channel::HostPort) reads them where an
//! address is needed.

/// One member of a `clusterMembers` string.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ClusterMember {
    /// The member's id.
    pub id: i32,
    /// Where clients send.
    pub ingress_endpoint: String,
    /// Where members and non-members send consensus messages.
    pub consensus_endpoint: String,
    /// Where the leader's log arrives.
    pub log_endpoint: String,
    /// Where a replay of the leader's log arrives.
    pub catchup_endpoint: String,
    /// The control channel of the member's archive.
    pub archive_endpoint: String,
    /// The control address of the archive's response channels, where the member has them.
    pub archive_response_endpoint: Option<String>,
    /// The control address of egress response channels, where the member has them.
    pub egress_response_endpoint: Option<String>,
}

/// One entry of an `ingressEndpoints` string.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct IngressEndpoint<'a> {
    /// The member's id.
    pub member_id: i32,
    /// Where clients send.
    pub endpoint: &'a str,
}

/// Why a list of members could not be read.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum MembersError {
    /// A member has too few or too many parts.
    #[error(
        "cluster member `{member}` has {found} parts; expected \
         `id,ingress,consensus,log,catchup,archive[,archiveResponse[,egressResponse]]`, members joined by `|`"
    )]
    PartCount {
        /// The member's text.
        member: String,
        /// How many parts it has.
        found: usize,
    },
    /// An id is not a number.
    #[error("cluster member `{member}` has the id `{id}`; expected a whole number of 32 bits")]
    BadId {
        /// The member's text.
        member: String,
        /// What stands for its id.
        id: String,
    },
    /// An endpoint that every member has is empty.
    #[error("cluster member `{member}` has no {what} endpoint; expected `host:port`")]
    EmptyEndpoint {
        /// The member's text.
        member: String,
        /// Which endpoint.
        what: &'static str,
    },
    /// Two members share an id.
    #[error("two cluster members have the id {id}; every member needs its own")]
    DuplicateId {
        /// The id.
        id: i32,
    },
    /// An ingress endpoint lacks its id.
    #[error("ingress endpoint `{entry}` has no `=`; expected `id=host:port`, members joined by `,`")]
    MissingEquals {
        /// The entry's text.
        entry: String,
    },
    /// The list is longer than any cluster's.
    #[error("the list names more than {MEMBER_COUNT_MAX} members; check that it is a member list")]
    TooMany,
}

/// Most members that a list may name; a guard against a hostile string, far above any real cluster.
pub const MEMBER_COUNT_MAX: usize = 64;

/// Reads a `clusterMembers` string, as `BackupResponse` and the configuration have it. Empty: no members.
///
/// # Errors
/// [`MembersError`] names the member and what would be right.
pub fn parse_cluster_members(text: &str) -> Result<Vec<ClusterMember>, MembersError> {
    let mut members: Vec<ClusterMember> = Vec::new();
    for member in text.split('|').filter(|_| !text.is_empty()) {
        if members.len() == MEMBER_COUNT_MAX {
            return Err(MembersError::TooMany);
        }
        let parsed = parse_member(member)?;
        if members.iter().any(|other| other.id == parsed.id) {
            return Err(MembersError::DuplicateId { id: parsed.id });
        }
        members.push(parsed);
    }
    Ok(members)
}

impl ClusterMember {
    /// Whether this is how a standby lists itself: one endpoint for everything, which no member can have.
    pub fn is_standby(&self) -> bool {
        self.is_one_node() && self.ingress_endpoint == self.consensus_endpoint
    }

    /// Whether this is how a standby lists itself, or one that leads: one endpoint for everything but its clients. A
    /// member of Aeron's has a port of its own for its log, for consensus and for its archive's control.
    pub fn is_one_node(&self) -> bool {
        let others = [&self.log_endpoint, &self.catchup_endpoint, &self.archive_endpoint];
        others.iter().all(|endpoint| **endpoint == self.consensus_endpoint)
    }
}

/// A member list with a standby's own entry behind the others: `endpoint` for everything it is asked. An entry for
/// the same endpoint is left out, and so are those of other standbys unless `with_standbys`.
///
/// # Errors
/// [`MembersError::DuplicateId`] when another member of the list has the standby's id, so that who asks for it would
/// be sent elsewhere; else as [`parse_cluster_members`], with the standby's own entry counted.
pub fn list_with_standby(
    text: &str,
    with_standbys: bool,
    member_id: i32,
    endpoint: &str,
) -> Result<String, MembersError> {
    let members = parse_cluster_members(text)?;
    if members.len() == MEMBER_COUNT_MAX {
        return Err(MembersError::TooMany);
    }
    let mut list = String::with_capacity(text.len() + 16 + 6 * endpoint.len());
    for (member, part) in members.iter().zip(text.split('|')) {
        if member.consensus_endpoint == endpoint || (member.is_standby() && !with_standbys) {
            continue;
        }
        if member.id == member_id {
            return Err(MembersError::DuplicateId { id: member_id });
        }
        list.push_str(part);
        list.push('|');
    }
    let own = [endpoint; 5].join(",");
    list.push_str(&format!("{member_id},{own}"));
    Ok(list)
}

/// Reads an `ingressEndpoints` string, as redirects and `NewLeaderEvent` have it. Empty: no members.
///
/// # Errors
/// [`MembersError`] names the entry and what would be right.
pub fn parse_ingress_endpoints(text: &str) -> Result<Vec<IngressEndpoint<'_>>, MembersError> {
    let mut endpoints = Vec::new();
    for entry in text.split(',').filter(|_| !text.is_empty()) {
        if endpoints.len() == MEMBER_COUNT_MAX {
            return Err(MembersError::TooMany);
        }
        let (id, endpoint) =
            entry.split_once('=').ok_or_else(|| MembersError::MissingEquals { entry: entry.into() })?;
        let member_id = parse_id(id, entry)?;
        if endpoint.is_empty() {
            return Err(MembersError::EmptyEndpoint { member: entry.into(), what: "ingress" });
        }
        endpoints.push(IngressEndpoint { member_id, endpoint });
    }
    Ok(endpoints)
}

fn parse_member(text: &str) -> Result<ClusterMember, MembersError> {
    // Counted before collecting: the text may come from the network.
    let found = text.split(',').count();
    if !(6..=8).contains(&found) {
        return Err(MembersError::PartCount { member: text.into(), found });
    }
    let mut parts = text.split(',');
    let id = parse_id(parts.next().unwrap_or_default(), text)?;
    let mut endpoint = |what| match parts.next() {
        Some(endpoint) if !endpoint.is_empty() => Ok(endpoint.to_owned()),
        _ => Err(MembersError::EmptyEndpoint { member: text.into(), what }),
    };
    let ingress_endpoint = endpoint("ingress")?;
    let consensus_endpoint = endpoint("consensus")?;
    let log_endpoint = endpoint("log")?;
    let catchup_endpoint = endpoint("catchup")?;
    let archive_endpoint = endpoint("archive")?;
    let mut optional = || parts.next().filter(|endpoint| !endpoint.is_empty()).map(str::to_owned);
    Ok(ClusterMember {
        id,
        ingress_endpoint,
        consensus_endpoint,
        log_endpoint,
        catchup_endpoint,
        archive_endpoint,
        archive_response_endpoint: optional(),
        egress_response_endpoint: optional(),
    })
}

fn parse_id(id: &str, member: &str) -> Result<i32, MembersError> {
    id.parse().map_err(|_| MembersError::BadId { member: member.into(), id: id.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_read_with_and_without_response_endpoints() {
        let members = parse_cluster_members("0,i:1,c:1,l:1,u:1,a:1|2,i:2,c:2,l:2,u:2,a:2,r:2,e:2").unwrap();
        assert_eq!(members.len(), 2);
        assert_eq!((members[0].id, members[0].archive_endpoint.as_str()), (0, "a:1"));
        assert_eq!(members[0].archive_response_endpoint, None);
        assert_eq!((members[1].id, members[1].consensus_endpoint.as_str()), (2, "c:2"));
        assert_eq!(members[1].archive_response_endpoint.as_deref(), Some("r:2"));
        assert_eq!(members[1].egress_response_endpoint.as_deref(), Some("e:2"));
        assert_eq!(parse_cluster_members(""), Ok(Vec::new()));
    }

    #[test]
    fn a_member_that_cannot_be_read_is_named() {
        let error = parse_cluster_members("0,i,c,l,u,a|1,i,c,l").unwrap_err();
        assert_eq!(error, MembersError::PartCount { member: "1,i,c,l".into(), found: 4 });
        assert_eq!(
            parse_cluster_members("x,i,c,l,u,a").unwrap_err().to_string(),
            "cluster member `x,i,c,l,u,a` has the id `x`; expected a whole number of 32 bits"
        );
        assert!(matches!(
            parse_cluster_members("1,i,,l,u,a").unwrap_err(),
            MembersError::EmptyEndpoint { what: "consensus", .. }
        ));
        assert_eq!(
            parse_cluster_members("1,i,c,l,u,a|1,i,c,l,u,a").unwrap_err(),
            MembersError::DuplicateId { id: 1 }
        );
    }

    #[test]
    fn ingress_endpoints_are_read_in_their_order() {
        let endpoints = parse_ingress_endpoints("2=h:2,0=[::1]:9").unwrap();
        assert_eq!(endpoints[0], IngressEndpoint { member_id: 2, endpoint: "h:2" });
        assert_eq!(endpoints[1], IngressEndpoint { member_id: 0, endpoint: "[::1]:9" });
        assert_eq!(parse_ingress_endpoints(""), Ok(Vec::new()));
        assert_eq!(
            parse_ingress_endpoints("h:2").unwrap_err(),
            MembersError::MissingEquals { entry: "h:2".into() }
        );
    }

    #[test]
    fn a_standby_lists_itself_behind_the_members_once() {
        let members = "0,i:1,c:1,l:1,u:1,a:1|1,i:2,c:2,l:2,u:2,a:2,r:2";
        let own = "100,s:9,s:9,s:9,s:9,s:9";
        let list = list_with_standby(members, true, 100, "s:9").unwrap();
        assert_eq!(list, format!("{members}|{own}"));
        assert_eq!(list_with_standby(&list, true, 100, "s:9").unwrap(), list, "not twice");
        assert_eq!(list_with_standby("", true, 100, "s:9").unwrap(), own);

        let parsed = parse_cluster_members(&list).unwrap();
        assert_eq!(parsed.iter().map(ClusterMember::is_standby).collect::<Vec<_>>(), [false, false, true]);
    }

    #[test]
    fn other_standbys_are_listed_or_left_out_and_a_taken_id_is_an_error() {
        let chain = "0,i:1,c:1,l:1,u:1,a:1|100,s:9,s:9,s:9,s:9,s:9";
        let own = "101,t:9,t:9,t:9,t:9,t:9";
        assert_eq!(list_with_standby(chain, true, 101, "t:9").unwrap(), format!("{chain}|{own}"));
        let without = list_with_standby(chain, false, 101, "t:9").unwrap();
        assert_eq!(without, format!("0,i:1,c:1,l:1,u:1,a:1|{own}"));
        assert_eq!(
            list_with_standby(chain, true, 100, "t:9"),
            Err(MembersError::DuplicateId { id: 100 }),
            "who asks for 100 would be sent to the other"
        );
        assert_eq!(list_with_standby(chain, true, 0, "t:9"), Err(MembersError::DuplicateId { id: 0 }));
    }

    #[test]
    fn a_hostile_list_is_refused_before_it_grows() {
        let text = vec!["1,i,c,l,u,a"; 100].join("|");
        assert_eq!(parse_cluster_members(&text).unwrap_err(), MembersError::DuplicateId { id: 1 });
        let text = (0..100).map(|id| format!("{id}=h")).collect::<Vec<_>>().join(",");
        assert_eq!(parse_ingress_endpoints(&text).unwrap_err(), MembersError::TooMany);
    }
}
