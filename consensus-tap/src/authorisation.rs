//! Who may ask the cluster for an operator's action: asked with the principal that the authenticator gave a
//! client.

use std::fmt;

use crate::codec::session::AdminRequestType;

/// Decides on the admin requests of clients, as Aeron's `AuthorisationService` does.
pub trait AuthorisationService: fmt::Debug + Send {
    /// Whether the client with this encoded principal may have this done.
    fn is_authorised(&mut self, request: AdminRequestType, encoded_principal: &[u8]) -> bool;
}

/// Denies every admin request: Aeron's default.
#[derive(Clone, Copy, Debug, Default)]
pub struct DenyAll;

impl AuthorisationService for DenyAll {
    fn is_authorised(&mut self, _request: AdminRequestType, _encoded_principal: &[u8]) -> bool {
        false
    }
}

/// Allows every admin request to every client.
#[derive(Clone, Copy, Debug, Default)]
pub struct AllowAll;

impl AuthorisationService for AllowAll {
    fn is_authorised(&mut self, _request: AdminRequestType, _encoded_principal: &[u8]) -> bool {
        true
    }
}
