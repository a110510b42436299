//! A publication of ours to one peer, which goes where the peer's name points.
//!
//! ```text
//!   due ──> looked up ──> published ─┐ its owner hears nothing: looked up again,
//!    ^          │ no address  ^      │ for a name may move
//!    └── 1 s ───┘             └──────┘
//! ```

use std::net::SocketAddr;

use crate::channel::HostPort;
use crate::endpoint::{Endpoint, LookupToken, NameLookups};
use crate::publication::{PublicationId, PublicationParams};

/// The shortest there is: a peer is told little, or nothing.
const TERM_LENGTH: i32 = 64 * 1024;
/// After so long a name that did not resolve is looked up again.
pub(super) const LOOKUP_RETRY_NS: u64 = 1_000_000_000;

/// See the module.
#[derive(Debug)]
pub(super) struct PeerLink {
    name: HostPort,
    stream_id: i32,
    /// How soon a name that did resolve may be due again.
    lookup_again_ns: u64,
    lookup: Option<LookupToken>,
    lookup_due_ns: u64,
    destination: Option<Destination>,
    /// What destinations before this one last heard.
    last_sign_ns: Option<u64>,
}

#[derive(Clone, Copy, Debug)]
struct Destination {
    address: SocketAddr,
    publication: PublicationId,
    since_ns: u64,
}

impl PeerLink {
    /// The name is due at once.
    pub(super) fn new(name: HostPort, stream_id: i32, lookup_again_ns: u64) -> Self {
        Self {
            name,
            stream_id,
            lookup_again_ns,
            lookup: None,
            lookup_due_ns: 0,
            destination: None,
            last_sign_ns: None,
        }
    }

    pub(super) fn publication(&self) -> Option<PublicationId> {
        self.destination.map(|destination| destination.publication)
    }

    /// Since when the publication goes where it goes now.
    pub(super) fn since_ns(&self) -> Option<u64> {
        self.destination.map(|destination| destination.since_ns)
    }

    /// When the peer's driver last sent a status message.
    pub(super) fn last_sign_ns(&self, endpoint: &Endpoint) -> Option<u64> {
        let heard_ns =
            self.publication().and_then(|publication| endpoint.last_status_message_ns(publication));
        heard_ns.or(self.last_sign_ns)
    }

    /// Whether the name may be looked up now.
    pub(super) fn is_lookup_due(&self, now_ns: u64) -> bool {
        self.lookup.is_none() && now_ns >= self.lookup_due_ns
    }

    /// Leaves the name alone until then.
    pub(super) fn postpone_lookup(&mut self, until_ns: u64) {
        self.lookup_due_ns = until_ns;
    }

    pub(super) fn look_up(&mut self, lookups: &mut NameLookups) {
        self.lookup = Some(lookups.ask(self.name.clone()));
    }

    /// Whether this lookup is the one that is waited for.
    pub(super) fn awaits(&self, token: LookupToken) -> bool {
        self.lookup == Some(token)
    }

    /// The name was looked up, or could not be (`None`). A new address gets a publication with this session id.
    pub(super) fn on_resolved(
        &mut self,
        address: Option<SocketAddr>,
        session_id: i32,
        now_ns: u64,
        endpoint: &mut Endpoint,
    ) {
        self.lookup = None;
        let again_ns = if address.is_some() { self.lookup_again_ns } else { LOOKUP_RETRY_NS };
        self.lookup_due_ns = now_ns + again_ns;
        let is_new = |address: &SocketAddr| self.destination.is_none_or(|to| to.address != *address);
        let Some(address) = address.filter(is_new) else { return };
        self.close(now_ns, endpoint);
        let params = PublicationParams {
            term_length: TERM_LENGTH,
            ..PublicationParams::new(session_id, self.stream_id)
        };
        let publication = endpoint.add_publication(params, address, now_ns);
        self.destination = Some(Destination { address, publication, since_ns: now_ns });
    }

    /// Ends the publication; what was heard is remembered.
    pub(super) fn close(&mut self, now_ns: u64, endpoint: &mut Endpoint) {
        self.last_sign_ns = self.last_sign_ns(endpoint);
        if let Some(destination) = self.destination.take() {
            endpoint.close_publication(destination.publication, now_ns);
        }
    }
}
