//! The ways into the cluster: one publication to each member while the leader is looked for, then one.

use std::net::SocketAddr;

use super::{ClusterClientConfig, ConnectStep, IngressEndpoint, IngressEndpoints};
use crate::endpoint::{Endpoint, LookupToken, NameLookups};
use crate::publication::{PublicationId, PublicationParams, PublicationState};
use crate::random::next_random;

#[derive(Debug)]
pub(super) struct Ingress {
    links: Vec<Link>,
    /// The link that is used; the others wait to see whether they are.
    chosen: Option<usize>,
    params: PublicationParams,
    random: u64,
}

/// The way to one member.
#[derive(Debug)]
struct Link {
    to: IngressEndpoint,
    lookup: LookupToken,
    publication: Option<PublicationId>,
}

impl Ingress {
    pub(super) fn new(config: &ClusterClientConfig, seed: u64) -> Self {
        Self { links: Vec::new(), chosen: None, params: config.publication_params(), random: seed }
    }

    /// Gives up all links, and opens links to the members of a list, or to one of them.
    pub(super) fn open(
        &mut self,
        endpoints: &IngressEndpoints,
        only: Option<i32>,
        lookups: &mut NameLookups,
        endpoint: &mut Endpoint,
        now_ns: u64,
    ) {
        self.close(endpoint, now_ns);
        for to in endpoints.iter().filter(|to| only.is_none_or(|only| to.member_id == only)) {
            let lookup = lookups.ask(to.endpoint.clone());
            self.links.push(Link { to: to.clone(), lookup, publication: None });
        }
    }

    /// A name was looked up; whatever nobody asked for any more is ignored.
    pub(super) fn on_resolved(
        &mut self,
        lookup: LookupToken,
        address: Option<SocketAddr>,
        endpoint: &mut Endpoint,
        now_ns: u64,
    ) {
        let link = self.links.iter_mut().find(|link| link.lookup == lookup && link.publication.is_none());
        if let (Some(link), Some(address)) = (link, address) {
            // A session that receivers know already is another stream to them.
            self.params.session_id = next_random(&mut self.random) as i32;
            link.publication = Some(endpoint.add_publication(self.params, address, now_ns));
        }
    }

    /// Chooses the first member that takes what we send, unless one is chosen. False while there is none.
    pub(super) fn choose(&mut self, endpoint: &Endpoint) -> bool {
        if self.chosen.is_none() {
            self.chosen = self.links.iter().position(|link| link.is_connected(endpoint));
        }
        self.chosen.is_some()
    }

    /// Goes on with `member_id`, which must be in a list, and forgets the rest. A publication that is there
    /// already is kept.
    pub(super) fn redirect(
        &mut self,
        endpoints: &IngressEndpoints,
        member_id: i32,
        lookups: &mut NameLookups,
        endpoint: &mut Endpoint,
        now_ns: u64,
    ) {
        let named = endpoints.endpoint_of(member_id);
        let is_same = |link: &Link| link.to.member_id == member_id && Some(&link.to.endpoint) == named;
        match self.links.iter().position(is_same) {
            Some(kept) => {
                self.chosen = Some(kept);
                self.keep_chosen(endpoint, now_ns);
                // It is used once it is connected.
                self.chosen = None;
            }
            None => self.open(endpoints, Some(member_id), lookups, endpoint, now_ns),
        }
    }

    /// Closes all publications but the chosen one.
    pub(super) fn keep_chosen(&mut self, endpoint: &mut Endpoint, now_ns: u64) {
        let Some(chosen) = self.chosen else { return };
        let kept = self.links.swap_remove(chosen);
        self.close(endpoint, now_ns);
        self.links.push(kept);
        self.chosen = Some(0);
    }

    /// Closes all publications: what they took is still sent.
    pub(super) fn close(&mut self, endpoint: &mut Endpoint, now_ns: u64) {
        for publication in self.links.drain(..).filter_map(|link| link.publication) {
            endpoint.close_publication(publication, now_ns);
        }
        self.chosen = None;
    }

    /// The publication in use.
    pub(super) fn publication(&self) -> Option<PublicationId> {
        self.links.get(self.chosen?)?.publication
    }

    /// The only or the chosen link's endpoint, for errors.
    pub(super) fn endpoints_in_words(&self) -> String {
        let endpoints: IngressEndpoints = self.links.iter().map(|link| link.to.clone()).collect();
        endpoints.to_string()
    }

    /// How far the links are, for errors.
    pub(super) fn step(&self) -> ConnectStep {
        if self.links.iter().all(|link| link.publication.is_none()) {
            ConnectStep::AwaitAddress
        } else {
            ConnectStep::AwaitPublication
        }
    }
}

impl Link {
    fn is_connected(&self, endpoint: &Endpoint) -> bool {
        self.publication
            .is_some_and(|publication| endpoint.publication_state(publication) == PublicationState::Connected)
    }
}
