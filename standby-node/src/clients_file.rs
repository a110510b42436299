//! Who may be a client of a node that leads, read from a file at the start.
//!
//! ```toml
//! [[client]]
//! principal = "trader-1"          # what services see; at most 4096 bytes
//! credentials = "trader-1:secret" # what the client connects with
//! challenge_answer = "…"          # what it must answer then; left out: nothing is asked
//! may_snapshot = true             # whether it may ask for a snapshot; left out: no
//! ```
//! Two clients may not connect with the same credentials. The file holds secrets: nobody but its owner may read it.

use std::collections::HashMap;
use std::fmt;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use consensus_tap::authentication::{AcceptAll, Authenticator, ENCODED_PRINCIPAL_LENGTH_MAX, Verdict};
use consensus_tap::authorisation::{AuthorisationService, DenyAll};
use consensus_tap::codec::session::AdminRequestType;
use serde::Deserialize;

/// The clients that a file names.
#[derive(Clone, Debug)]
pub struct ClientsFile {
    clients: Arc<[Client]>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Client {
    principal: String,
    credentials: String,
    challenge_answer: Option<String>,
    #[serde(default)]
    may_snapshot: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    #[serde(default)]
    client: Vec<Client>,
}

/// Why a file names nobody who could be let in.
#[derive(Debug, thiserror::Error)]
pub enum ClientsFileError {
    /// It could not be read.
    #[error("clients_file = \"{path}\": cannot be read: {source}")]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It is not what it should be.
    #[error("clients_file = \"{path}\": {source}")]
    Parse {
        /// Which file.
        path: PathBuf,
        /// Line, column and what was expected.
        source: Box<toml::de::Error>,
    },
    /// Others may read the secrets in it.
    #[error(
        "clients_file = \"{path}\": others than its owner may read it (mode {mode:o}): run chmod 600 on it"
    )]
    Readable {
        /// Which file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// An entry cannot be.
    #[error("clients_file = \"{path}\": client \"{principal}\": {problem}")]
    Client {
        /// Which file.
        path: PathBuf,
        /// Which entry.
        principal: String,
        /// What is wrong with it, and what to do.
        problem: &'static str,
    },
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("principal", &self.principal).finish_non_exhaustive()
    }
}

impl ClientsFile {
    /// Reads the file at `path`.
    ///
    /// # Errors
    /// [`ClientsFileError`], which names the file and what to do.
    pub fn read(path: &Path) -> Result<Self, ClientsFileError> {
        let read_error = |source| ClientsFileError::Read { path: path.to_owned(), source };
        let text = fs::read_to_string(path).map_err(read_error)?;
        let mode = fs::metadata(path).map_err(read_error)?.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(ClientsFileError::Readable { path: path.to_owned(), mode });
        }
        let content: Content = toml::from_str(&text)
            .map_err(|source| ClientsFileError::Parse { path: path.to_owned(), source: Box::new(source) })?;
        check(&content.client).map_err(|(principal, problem)| ClientsFileError::Client {
            path: path.to_owned(),
            principal: principal.to_owned(),
            problem,
        })?;
        Ok(Self { clients: content.client.into() })
    }

    /// Lets in whom the file names.
    pub fn authenticator(&self) -> FileAuthenticator {
        FileAuthenticator { clients: Arc::clone(&self.clients), challenged: HashMap::new() }
    }

    /// Lets those ask for what the file says.
    pub fn authorisation(&self) -> FileAuthorisation {
        FileAuthorisation { clients: Arc::clone(&self.clients) }
    }
}

/// The first entry that cannot be, and why.
fn check(clients: &[Client]) -> Result<(), (&str, &'static str)> {
    for (index, client) in clients.iter().enumerate() {
        let before = &clients[..index];
        let problem = if client.principal.is_empty() {
            "its principal is empty: services could not tell it from others"
        } else if client.principal.len() > ENCODED_PRINCIPAL_LENGTH_MAX {
            "its principal has more than 4096 bytes"
        } else if client.credentials.is_empty() {
            "its credentials are empty: anybody has those"
        } else if before.iter().any(|other| other.credentials == client.credentials) {
            "a client before it has the same credentials: give each its own"
        } else {
            continue;
        };
        return Err((&client.principal, problem));
    }
    Ok(())
}

/// Who may be a client of a node once it leads, and what clients may ask for.
#[derive(Debug)]
pub struct ClientAccess {
    /// Who a client is.
    pub authenticator: Box<dyn Authenticator>,
    /// What a client may ask for.
    pub authorisation: Box<dyn AuthorisationService>,
}

impl ClientAccess {
    /// Everybody may be a client, and nobody may ask for a snapshot: Aeron's default.
    pub fn open() -> Self {
        Self { authenticator: Box::new(AcceptAll), authorisation: Box::new(DenyAll) }
    }
}

impl From<ClientsFile> for ClientAccess {
    fn from(file: ClientsFile) -> Self {
        Self { authenticator: Box::new(file.authenticator()), authorisation: Box::new(file.authorisation()) }
    }
}

/// Decides by a [`ClientsFile`] who a client is.
#[derive(Debug)]
pub struct FileAuthenticator {
    clients: Arc<[Client]>,
    /// Sessions that were asked for more: which client they said to be.
    challenged: HashMap<i64, usize>,
}

/// What a client is challenged with. Its answer is fixed, so this only tells who asks.
const CHALLENGE: &[u8] = b"standby-node";
/// Clients that never answer are forgotten in favour of others beyond so many.
const CHALLENGED_COUNT_MAX: usize = 4096;

impl Authenticator for FileAuthenticator {
    fn on_connect(&mut self, session_id: i64, credentials: &[u8]) -> Verdict {
        // Each is looked at, wherever the right one is: how long that takes tells nothing.
        let mut found = None;
        for (index, client) in self.clients.iter().enumerate() {
            if are_equal(client.credentials.as_bytes(), credentials) {
                found = Some(index);
            }
        }
        let Some(index) = found else { return Verdict::Rejected };
        if self.clients[index].challenge_answer.is_none() {
            return Verdict::Accepted(self.clients[index].principal.clone().into_bytes());
        }
        if self.challenged.len() >= CHALLENGED_COUNT_MAX {
            self.challenged.clear();
        }
        self.challenged.insert(session_id, index);
        Verdict::Challenged(CHALLENGE.to_vec())
    }

    fn on_challenge_response(&mut self, session_id: i64, credentials: &[u8]) -> Verdict {
        let Some(index) = self.challenged.remove(&session_id) else { return Verdict::Rejected };
        let client = &self.clients[index];
        match &client.challenge_answer {
            Some(answer) if are_equal(answer.as_bytes(), credentials) => {
                Verdict::Accepted(client.principal.clone().into_bytes())
            }
            _ => Verdict::Rejected,
        }
    }
}

/// Decides by a [`ClientsFile`] what a client may ask for.
#[derive(Debug)]
pub struct FileAuthorisation {
    clients: Arc<[Client]>,
}

impl AuthorisationService for FileAuthorisation {
    fn is_authorised(&mut self, request: AdminRequestType, encoded_principal: &[u8]) -> bool {
        let is_it = |client: &&Client| client.principal.as_bytes() == encoded_principal;
        request == AdminRequestType::Snapshot
            && self.clients.iter().filter(is_it).any(|client| client.may_snapshot)
    }
}

/// Takes as long for wrong bytes as for right ones of the same length.
fn are_equal(expected: &[u8], found: &[u8]) -> bool {
    expected.len() == found.len() && expected.iter().zip(found).fold(0, |diff, (a, b)| diff | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("clients.toml");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        (dir, path)
    }

    const TWO: &str = "
        [[client]]
        principal = \"ann\"
        credentials = \"ann:1\"
        may_snapshot = true
        [[client]]
        principal = \"bob\"
        credentials = \"bob:2\"
        challenge_answer = \"forty-two\"
    ";

    fn accepted(principal: &str) -> Verdict {
        Verdict::Accepted(principal.as_bytes().to_vec())
    }

    #[test]
    fn clients_are_known_by_their_credentials_and_answers() {
        let (_dir, path) = file(TWO);
        let mut authenticator = ClientsFile::read(&path).unwrap().authenticator();
        assert_eq!(authenticator.on_connect(1, b"ann:1"), accepted("ann"));
        for wrong in [&b""[..], b"ann:2", b"ann", b"bob:1"] {
            assert_eq!(authenticator.on_connect(2, wrong), Verdict::Rejected);
        }
        assert_eq!(authenticator.on_connect(3, b"bob:2"), Verdict::Challenged(CHALLENGE.to_vec()));
        assert_eq!(authenticator.on_challenge_response(3, b"forty-two"), accepted("bob"));
        assert_eq!(authenticator.on_challenge_response(3, b"forty-two"), Verdict::Rejected, "answered once");
        assert_eq!(authenticator.on_connect(4, b"bob:2"), Verdict::Challenged(CHALLENGE.to_vec()));
        assert_eq!(authenticator.on_challenge_response(4, b"forty-three"), Verdict::Rejected);
        assert_eq!(authenticator.on_challenge_response(5, b"forty-two"), Verdict::Rejected, "never asked");
    }

    #[test]
    fn only_who_may_asks_for_a_snapshot() {
        let (_dir, path) = file(TWO);
        let mut authorisation = ClientsFile::read(&path).unwrap().authorisation();
        assert!(authorisation.is_authorised(AdminRequestType::Snapshot, b"ann"));
        assert!(!authorisation.is_authorised(AdminRequestType::Snapshot, b"bob"));
        assert!(!authorisation.is_authorised(AdminRequestType::Snapshot, b""));
    }

    #[test]
    fn a_file_that_cannot_be_is_refused_in_words() {
        let client = |principal: &str, credentials: &str| {
            format!("[[client]]\nprincipal = \"{principal}\"\ncredentials = \"{credentials}\"\n")
        };
        for (text, word) in [
            ("client = 7".to_owned(), "client"),
            ("[[client]]\nprincipal = \"a\"".to_owned(), "credentials"),
            (client("a", "x") + "password = \"y\"", "password"),
            (client("", "x"), "principal is empty"),
            (client(&"p".repeat(4097), "x"), "4096"),
            (client("a", ""), "credentials are empty"),
            (client("a", "x") + &client("b", "x"), "same credentials"),
        ] {
            let (_dir, path) = file(&text);
            let error = ClientsFile::read(&path).unwrap_err().to_string();
            assert!(error.contains(word) && error.contains("clients.toml"), "{error}");
        }
        let (_dir, path) = file(TWO);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(ClientsFile::read(&path).unwrap_err().to_string().contains("chmod 600"));
        assert!(ClientsFile::read(Path::new("nowhere")).unwrap_err().to_string().contains("nowhere"));
    }

    #[test]
    fn secrets_are_not_printed() {
        let (_dir, path) = file(TWO);
        let text = format!("{:?}", ClientsFile::read(&path).unwrap().authenticator());
        assert!(text.contains("ann") && !text.contains("ann:1") && !text.contains("forty"), "{text}");
    }
}
