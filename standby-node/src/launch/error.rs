//! Why a node does not start.

use service_api::ServiceError;

use crate::agent::runner::RunnerError;
use crate::clients_file::ClientsFileError;
use crate::config::SERVICES_MAX;
use crate::net::socket::SocketError;
use crate::status::FiguresError;
use crate::store::StoreError;
use crate::store::cnc::CncError;
use crate::store::counters::CountersFull;
use crate::store::history::HistoryError;
use crate::sys::affinity::AffinityError;
use crate::sys::uring::UringUnavailable;

/// Why a node cannot start.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// The directory or a file in it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The archive or recording log.
    #[error(transparent)]
    History(#[from] HistoryError),
    /// cnc.dat.
    #[error(transparent)]
    Cnc(#[from] CncError),
    /// More services than a cluster can have.
    #[error("service = \"{}\": a cluster has at most {SERVICES_MAX} services", names.join(","))]
    TooManyServices {
        /// Their names.
        names: Vec<String>,
    },
    /// cnc.dat has no counter left.
    #[error(transparent)]
    Counters(#[from] CountersFull),
    /// What a service shows of itself cannot be shown.
    #[error(transparent)]
    Figures(#[from] FiguresError),
    /// The socket.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// io_uring was asked for and is not there.
    #[error("network = \"io-uring\": {0}")]
    Uring(#[from] UringUnavailable),
    /// A service cannot be made.
    #[error(
        "service {service_id} (\"{name}\") cannot be made: {source}; `service` names what this program hosts, \"audit\" \
         where it is not given"
    )]
    Service {
        /// Its id.
        service_id: u8,
        /// Its name in the configuration.
        name: String,
        /// What the factory said.
        source: ServiceError,
    },
    /// A core that no thread of this process can have.
    #[error("{key} = {}: {source}", source.core)]
    Core {
        /// As configured.
        key: &'static str,
        /// Which core, and which there are.
        source: AffinityError,
    },
    /// The file that names clients.
    #[error(transparent)]
    Clients(#[from] ClientsFileError),
    /// A thread.
    #[error(transparent)]
    Runner(#[from] RunnerError),
}
