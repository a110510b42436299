//! The way to one member's archive: request publication, response image, and the client between them.

use std::net::SocketAddr;

use super::channels::control_response_channel;
use super::config::TapConfig;
use crate::archive::{ArchiveClient, ArchiveClientParams, ArchiveEvent};
use crate::endpoint::Endpoint;
use crate::image::{SubscriptionId, SubscriptionParams};
use crate::publication::{PublicationId, PublicationParams, PublicationState};

/// A control session with the archive of the source.
#[derive(Debug)]
pub(super) struct ArchiveLink {
    pub(super) resolve_token: u64,
    pub(super) client: ArchiveClient,
    pub(super) subscription: SubscriptionId,
    publication: Option<PublicationId>,
    session_id: i32,
    deadline_ns: u64,
    connected: bool,
}

impl ArchiveLink {
    /// Subscribes to the responses; the publication follows when the address is known.
    pub(super) fn new(
        resolve_token: u64,
        session_id: i32,
        correlation_seed: i64,
        endpoint: &mut Endpoint,
        config: &TapConfig,
        now_ns: u64,
    ) -> Self {
        let subscription = endpoint
            .add_subscription(SubscriptionParams::of_session(config.archive_response_stream_id, session_id));
        let client = ArchiveClient::new(ArchiveClientParams {
            response_stream_id: config.archive_response_stream_id,
            response_channel: control_response_channel(&config.response_endpoint, session_id),
            credentials: config.archive_credentials.clone(),
            client_info: concat!("name=standby-node version=", env!("CARGO_PKG_VERSION")).to_owned(),
            message_timeout_ns: config.message_timeout_ns,
            correlation_seed,
        });
        Self {
            resolve_token,
            client,
            subscription,
            publication: None,
            session_id,
            deadline_ns: now_ns + config.connect_timeout_ns,
            connected: false,
        }
    }

    pub(super) fn open(
        &mut self,
        address: SocketAddr,
        endpoint: &mut Endpoint,
        config: &TapConfig,
        now_ns: u64,
    ) {
        let params = PublicationParams::new(self.session_id, config.archive_control_stream_id);
        self.publication = Some(endpoint.add_publication(params, address, now_ns));
        self.deadline_ns = now_ns + config.connect_timeout_ns;
    }

    /// Sends what the client wants sent; an error in words ends the link.
    pub(super) fn on_timeout(&mut self, endpoint: &mut Endpoint, now_ns: u64) -> Result<(), &'static str> {
        const UNREACHABLE: &str = "its archive does not answer at the endpoint that the cluster names";
        let Some(publication) = self.publication else {
            return if now_ns > self.deadline_ns { Err(UNREACHABLE) } else { Ok(()) };
        };
        match endpoint.publication_state(publication) {
            PublicationState::Connected => {}
            _ if self.connected => return Err("its archive closed our control session"),
            _ if now_ns > self.deadline_ns => return Err(UNREACHABLE),
            _ => return Ok(()),
        }
        if !self.connected {
            self.connected = true;
            self.client.on_connected(now_ns);
        }
        self.client.on_timeout(now_ns);
        self.send(publication, endpoint);
        Ok(())
    }

    /// Offers waiting requests; what the publication does not take now waits for the next time.
    fn send(&mut self, publication: PublicationId, endpoint: &mut Endpoint) {
        while let Some(request) = self.client.poll_request() {
            if endpoint.offer(publication, request).is_err() {
                break;
            }
            self.client.request_sent();
        }
    }

    pub(super) fn poll_event(&mut self) -> Option<ArchiveEvent> {
        self.client.poll_event()
    }

    /// Says goodbye as far as the connection allows, and leaves.
    pub(super) fn close(&mut self, endpoint: &mut Endpoint, now_ns: u64) {
        if let Some(publication) = self.publication.take() {
            // What closing takes back must be said before: the end of a replay.
            self.send(publication, endpoint);
            self.client.close();
            self.send(publication, endpoint);
            endpoint.close_publication(publication, now_ns);
        }
        endpoint.remove_subscription(self.subscription, now_ns);
    }
}
