//! Carries beacons between standbys: out to every one that is configured, in from those that may be heard.
//!
//! Every beacon says all there is to say, so one that is lost, or finds nobody listening, is not sent again.
//! Each bears the sender's credentials, for a receiver that restarted knows nothing of what was shown before.

use std::collections::VecDeque;
use std::net::SocketAddr;

use super::allow_list::AllowList;
use super::consensus_server::RefusedRequest;
use super::peer_link::{LOOKUP_RETRY_NS, PeerLink};
use crate::authentication::{Authenticator, SharedSecrets, Verdict};
use crate::channel::HostPort;
use crate::codec::message::Secret;
use crate::codec::standby::{STANDBY_STREAM_ID, StandbyBeacon};
use crate::endpoint::{Endpoint, LookupToken, NameLookups};
use crate::publication::PublicationState;
use crate::random::next_random;
use crate::transition::{Beacon, Grant, NO_CLAIM, TransitionState, UNREAD};

/// Beacons that nobody took: the next ones say the same and more.
const RECEIVED_COUNT_MAX: usize = 64;
/// Reports that nobody took are counted only.
const REPORT_COUNT_MAX: usize = 16;

/// Settings of what goes between standbys.
#[derive(Clone, Debug, Default)]
pub struct StandbyLinkConfig {
    /// The cluster. Beacons of another one are not heard.
    pub cluster_id: i32,
    /// The other standbys: member id, and where each is reached.
    pub standbys: Vec<(i32, HostPort)>,
    /// What their authenticators get.
    pub credentials: Vec<u8>,
    /// What ours asks for.
    pub secrets: SharedSecrets,
    /// Who is heard.
    pub allow_list: AllowList,
    /// Seeds session ids.
    pub seed: u64,
}

/// See the module.
#[derive(Debug)]
pub(super) struct StandbyLink {
    config: StandbyLinkConfig,
    peers: Vec<PeerLink>,
    received: VecDeque<Beacon>,
    refused: VecDeque<RefusedRequest>,
    random: u64,
    message: Vec<u8>,
}

impl StandbyLink {
    pub(super) fn new(config: StandbyLinkConfig) -> Self {
        // Where nobody listens the name is soon due again.
        let peer = |(_, endpoint): &(i32, HostPort)| {
            PeerLink::new(endpoint.clone(), STANDBY_STREAM_ID, LOOKUP_RETRY_NS)
        };
        Self {
            peers: config.standbys.iter().map(peer).collect(),
            random: config.seed,
            config,
            received: VecDeque::new(),
            refused: VecDeque::new(),
            message: Vec::new(),
        }
    }

    /// Tells everybody who listens.
    pub(super) fn tell(&mut self, beacon: &Beacon, endpoint: &mut Endpoint) {
        self.message.clear();
        let grant = beacon.grant.unwrap_or(Grant { member_id: 0, claim_id: NO_CLAIM });
        StandbyBeacon {
            member_id: beacon.member_id,
            state: beacon.state as i32,
            incarnation: beacon.incarnation,
            sequence: beacon.sequence,
            leadership_term_id: beacon.leadership_term_id,
            log_position: beacon.log_position,
            claim_id: beacon.claim_id,
            grant_claim_id: grant.claim_id,
            grant_member_id: grant.member_id,
            cluster_id: self.config.cluster_id,
            log_term_count: beacon.log_term_id.saturating_add(1),
            encoded_credentials: Secret(&self.config.credentials),
        }
        .encode(&mut self.message);
        for publication in self.peers.iter().filter_map(PeerLink::publication) {
            // Who does not listen now hears the next one.
            let _ = endpoint.offer(publication, &self.message);
        }
    }

    /// A message came on the standbys' stream.
    pub(super) fn on_message(&mut self, bytes: &[u8], from: SocketAddr) {
        match self.hear(bytes, from) {
            Ok(beacon) if self.received.len() < RECEIVED_COUNT_MAX => self.received.push_back(beacon),
            Ok(_) => {}
            Err(reason) if self.refused.len() < REPORT_COUNT_MAX => {
                self.refused.push_back(RefusedRequest { from, reason: format!("StandbyBeacon: {reason}") });
            }
            Err(_) => {}
        }
    }

    fn hear(&mut self, bytes: &[u8], from: SocketAddr) -> Result<Beacon, String> {
        if !self.config.allow_list.allows(from) {
            return Err(format!("{} is not in this standby's serve_allow", from.ip()));
        }
        let message = StandbyBeacon::parse(bytes).map_err(|error| error.to_string())?;
        let member_id = message.member_id;
        match self.config.secrets.on_connect(i64::from(member_id), message.encoded_credentials.0) {
            Verdict::Accepted(_) => {}
            Verdict::Challenged(_) => {
                return Err("this standby asks for an answer to a challenge, and standbys show each other \
                            credentials only: set consensus_server_credentials instead of \
                            consensus_server_challenge_answer"
                    .to_owned());
            }
            Verdict::Rejected => {
                return Err(format!("standby {member_id} failed authentication: set its `credentials`"));
            }
        }
        if message.cluster_id != self.config.cluster_id {
            return Err(format!("standby {member_id} is of cluster {}", message.cluster_id));
        }
        if !self.config.standbys.iter().any(|(id, _)| *id == member_id) {
            return Err(format!("standby {member_id} is not in this standby's standby_endpoints"));
        }
        let state = TransitionState::from_value(i64::from(message.state));
        let state = state.ok_or_else(|| format!("standby {member_id} is in a state {}", message.state))?;
        let grant = Grant { member_id: message.grant_member_id, claim_id: message.grant_claim_id };
        Ok(Beacon {
            member_id,
            state,
            incarnation: message.incarnation,
            sequence: message.sequence,
            leadership_term_id: message.leadership_term_id,
            log_position: message.log_position,
            log_term_id: message.log_term_count.checked_sub(1).filter(|id| *id >= 0).unwrap_or(UNREAD),
            claim_id: message.claim_id,
            grant: Some(grant).filter(|grant| grant.claim_id != NO_CLAIM),
        })
    }

    /// A name was looked up, or could not be (`None`). False when it was not for a standby.
    pub(super) fn on_resolved(
        &mut self,
        token: LookupToken,
        address: Option<SocketAddr>,
        now_ns: u64,
        endpoint: &mut Endpoint,
    ) -> bool {
        let Some(peer) = self.peers.iter_mut().find(|peer| peer.awaits(token)) else { return false };
        let session_id = next_random(&mut self.random) as i32;
        peer.on_resolved(address, session_id, now_ns, endpoint);
        true
    }

    /// Has names looked up where nobody listens.
    pub(super) fn on_timeout(
        &mut self,
        now_ns: u64,
        endpoint: &Endpoint,
        lookups: &mut NameLookups,
    ) -> usize {
        let mut work = 0;
        for peer in self.peers.iter_mut().filter(|peer| peer.is_lookup_due(now_ns)) {
            let is_connected = peer
                .publication()
                .is_some_and(|to| endpoint.publication_state(to) == PublicationState::Connected);
            if !is_connected {
                peer.look_up(lookups);
                work += 1;
            }
        }
        work
    }

    /// The next beacon, oldest first.
    pub(super) fn poll_beacon(&mut self) -> Option<Beacon> {
        self.received.pop_front()
    }

    /// The next message that was turned away.
    pub(super) fn poll_refused(&mut self) -> Option<RefusedRequest> {
        self.refused.pop_front()
    }

    pub(super) fn close(&mut self, now_ns: u64, endpoint: &mut Endpoint) {
        for mut peer in self.peers.drain(..) {
            peer.close(now_ns, endpoint);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(secrets: SharedSecrets) -> StandbyLink {
        let standbys = vec![(101, "s:9101".parse().unwrap())];
        StandbyLink::new(StandbyLinkConfig { standbys, secrets, ..StandbyLinkConfig::default() })
    }

    fn bytes(member_id: i32, cluster_id: i32, state: i32, credentials: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        StandbyBeacon {
            member_id,
            state,
            incarnation: 1,
            sequence: 2,
            leadership_term_id: 3,
            log_position: 4,
            claim_id: 5,
            grant_claim_id: 6,
            grant_member_id: 100,
            cluster_id,
            log_term_count: 3,
            encoded_credentials: Secret(credentials),
        }
        .encode(&mut bytes);
        bytes
    }

    fn refusal(link: &mut StandbyLink, bytes: &[u8]) -> Option<String> {
        link.on_message(bytes, "10.0.0.2:9".parse().unwrap());
        link.poll_refused().map(|refused| refused.reason)
    }

    #[test]
    fn a_beacon_of_a_configured_standby_is_heard_as_it_was_said() {
        let mut link = link(SharedSecrets::default());
        assert_eq!(refusal(&mut link, &bytes(101, 0, 3, b"")), None);
        let expected = Beacon {
            member_id: 101,
            state: TransitionState::Claim,
            incarnation: 1,
            sequence: 2,
            leadership_term_id: 3,
            log_position: 4,
            log_term_id: 2,
            claim_id: 5,
            grant: Some(Grant { member_id: 100, claim_id: 6 }),
        };
        assert_eq!((link.poll_beacon(), link.poll_beacon()), (Some(expected), None));
    }

    #[test]
    fn whoever_is_not_to_be_heard_is_refused_in_words() {
        let secrets = SharedSecrets { credentials: Some(b"u:p".to_vec()), challenge_answer: None };
        let mut asking = link(secrets);
        assert_eq!(refusal(&mut asking, &bytes(101, 0, 0, b"u:p")), None);
        for (message, word) in [
            (bytes(101, 0, 0, b"u:q"), "authentication"),
            (bytes(101, 9, 0, b"u:p"), "cluster 9"),
            (bytes(102, 0, 0, b"u:p"), "standby_endpoints"),
            (bytes(101, 0, 77, b"u:p"), "state 77"),
            (vec![0; 7], "truncated"),
        ] {
            let reason = refusal(&mut asking, &message).expect("it is refused");
            assert!(reason.contains(word), "{reason}");
        }
        let challenging = SharedSecrets { credentials: None, challenge_answer: Some(b"a".to_vec()) };
        let reason = refusal(&mut link(challenging), &bytes(101, 0, 0, b"")).expect("it is refused");
        assert!(reason.contains("consensus_server_credentials"), "{reason}");
        let mut closed = link(SharedSecrets::default());
        closed.config.allow_list = AllowList::new(vec!["10.1.0.0/16".parse().unwrap()]);
        let reason = refusal(&mut closed, &bytes(101, 0, 0, b"")).expect("it is refused");
        assert!(reason.contains("serve_allow"), "{reason}");
    }
}
