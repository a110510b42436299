//! From flags and file to a checked configuration: every error names the key, the value and the next step.

mod activation;
mod leading;
mod settings;
mod values;

use std::fmt;
use std::fs;
use std::num::NonZeroU16;
use std::path::{Path, PathBuf};

use clap::Args as _;
use consensus_tap::archive::Credentials;
use consensus_tap::authentication::SharedSecrets;
use consensus_tap::channel::HostPort;
use consensus_tap::file::retention::RetentionPolicy;
use consensus_tap::serving::AllowList;
use consensus_tap::tap::{ReplayStart, Routing, SourceType, TapConfig};
use consensus_tap::wire::TermLength;

pub use self::activation::{ActivationConfig, FenceConfig};
pub use self::leading::LeadingConfig;
pub use self::settings::Settings;
pub use self::values::{
    AppVersion, Credential, EndpointMapping, FileSyncLevel, Layout, Size, Span, ValueError,
};
use crate::agent::idle::IdleStrategy;
use crate::agent::service_snapshots::SnapshotMode;
use crate::net::backend::NetworkBackend;
use crate::store::SyncLevel;

/// Services a node can host, as in Aeron.
pub const SERVICES_MAX: usize = 10;

/// Everything a node needs to know, checked.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// The node's directory.
    pub dir: PathBuf,
    /// Directory of cnc.dat.
    pub aeron_dir: PathBuf,
    /// Names of the services, in order of service id.
    pub services: Vec<String>,
    /// `host:port` to bind.
    pub bind_endpoint: String,
    /// Host and port to bind for what others ask of this node; port 0 for any.
    pub archive_endpoint: HostPort,
    /// Who may use this node's archive.
    pub archive_secrets: SharedSecrets,
    /// Who may ask this node as if it were a member.
    pub consensus_secrets: SharedSecrets,
    /// From where this node may be asked anything.
    pub serve_allow: AllowList,
    /// Most replays at once.
    pub replay_count_max: usize,
    /// Most clients of the archive at once.
    pub control_session_count_max: usize,
    /// What members are told to send to; the bound address when `None`.
    pub response_endpoint: Option<HostPort>,
    /// This node's id.
    pub member_id: i32,
    /// The cluster's id.
    pub cluster_id: i32,
    /// The application's version, `major << 16 | minor << 8 | patch`.
    pub app_version: i32,
    /// How often newer snapshots are asked for, where they are fetched at all (`tap.fetch_snapshots`).
    pub backup_interval: std::time::Duration,
    /// How to follow; `response_endpoint` and `seed` are filled in when the socket is bound.
    pub tap: TapConfig,
    /// Which agent runs where.
    pub layout: Layout,
    /// Core of the receiver's thread.
    pub receiver_core: Option<usize>,
    /// Cores of the service threads.
    pub service_cores: Vec<usize>,
    /// What the busy threads do when idle.
    pub idle: IdleStrategy,
    /// Who moves datagrams.
    pub network: NetworkBackend,
    /// Socket receive buffer, bytes.
    pub socket_receive_buffer: usize,
    /// Socket send buffer, bytes.
    pub socket_send_buffer: usize,
    /// As in Aeron.
    pub file_sync_level: SyncLevel,
    /// Time between two background syncs.
    pub sync_interval: std::time::Duration,
    /// When and how snapshots are taken.
    pub snapshots: SnapshotConfig,
    /// How to lead.
    pub leading: LeadingConfig,
    /// Which snapshots are kept, and with them the log from the oldest of them on; `None`: everything.
    pub retention: Option<RetentionPolicy>,
    /// How this node is activated.
    pub activation: ActivationConfig,
    /// Ballast of audit services, bytes.
    pub audit_ballast: usize,
}

/// When and how a node takes snapshots.
#[derive(Clone, Copy, Debug)]
pub struct SnapshotConfig {
    /// Who writes a service's state.
    pub mode: SnapshotMode,
    /// Whether the members' ordinary snapshots are taken here too.
    pub on_ordinary: bool,
    /// Time after which one is due, nanoseconds.
    pub interval_ns: Option<u64>,
    /// Growth of the log after which one is due, bytes.
    pub log_length: Option<i64>,
    /// Of the recordings.
    pub term_length: TermLength,
}

/// What is wrong with a configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file could not be read.
    #[error("cannot read configuration file {path}: {source}")]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is not what it should be.
    #[error("configuration file {path}: {source}{}", suggestion(near.as_deref()))]
    Parse {
        /// Which file.
        path: PathBuf,
        /// The key that was meant, perhaps, where one is unknown.
        near: Option<String>,
        /// Line, column and what was expected.
        source: Box<toml::de::Error>,
    },
    /// A key that has no default is missing.
    #[error("{key} is not set: give --{flag}, or `{key} = …` in the configuration file")]
    Missing {
        /// As in the file.
        key: &'static str,
        /// As a flag.
        flag: String,
    },
    /// A value is out of its range.
    #[error("{key} = \"{value}\": {problem}")]
    Value {
        /// As in the file.
        key: &'static str,
        /// What was given.
        value: String,
        /// What is wrong, and what would be right.
        problem: String,
    },
}

impl Settings {
    /// Reads a configuration file.
    ///
    /// # Errors
    /// [`ConfigError`], with line and column where the file itself is wrong.
    pub fn from_file(path: &Path) -> Result<Self, ConfigError> {
        let text =
            fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        toml::from_str(&text).map_err(|source| ConfigError::Parse {
            path: path.to_owned(),
            near: Self::key_that_was_meant(&text),
            source: Box::new(source),
        })
    }

    /// The key that the first unknown one of `text` is most like, if it is like any.
    fn key_that_was_meant(text: &str) -> Option<String> {
        let table: toml::Table = text.parse().ok()?;
        let command = Self::augment_args(clap::Command::new("run"));
        let known: Vec<&str> = command.get_arguments().map(|argument| argument.get_id().as_str()).collect();
        let unknown = table.keys().find(|key| !known.contains(&key.as_str()))?.replace('-', "_");
        let likeness = |key: &str| strsim::jaro_winkler(&unknown, key);
        let near = known.into_iter().max_by(|one, other| likeness(one).total_cmp(&likeness(other)))?;
        (likeness(near) > LIKE_ENOUGH).then(|| near.to_owned())
    }
}

fn suggestion(near: Option<&str>) -> String {
    near.map(|key| format!("did you mean `{key}`?\n")).unwrap_or_default()
}

/// Of 1 for the same word.
const LIKE_ENOUGH: f64 = 0.8;

impl NodeConfig {
    /// Checks settings and fills in defaults. `core_count` decides the default layout.
    ///
    /// # Errors
    /// [`ConfigError`] for the first key that is missing or wrong.
    pub fn new(settings: Settings, core_count: usize) -> Result<Self, ConfigError> {
        let dir = settings.dir.clone().ok_or_else(|| missing("dir"))?;
        let host = host(settings.host.clone().ok_or_else(|| missing("host"))?)?;
        let leading = LeadingConfig::new(&settings, &host)?;
        let activation = ActivationConfig::new(&settings, settings.member_id.unwrap_or(MEMBER_ID_DEFAULT))?;
        let services = service_names(settings.service)?;
        let layout =
            settings.layout.unwrap_or(if core_count >= 4 { Layout::Dedicated } else { Layout::Shared });
        let credentials = |initial: Option<&Credential>| match (initial, &settings.challenge_answer) {
            (None, None) => Credentials::None,
            (Some(initial), None) => Credentials::Simple(initial.0.clone().into_bytes()),
            (initial, Some(answer)) => Credentials::ChallengeResponse {
                initial: initial.map(|initial| initial.0.clone().into_bytes()).unwrap_or_default(),
                answer: answer.0.clone().into_bytes(),
            },
        };
        let span_ns =
            |span: Option<Span>, default_ms: u64| span.map_or(default_ms * 1_000_000, Span::as_nanos);
        let response_endpoint = settings
            .response_endpoint
            .as_ref()
            .map(|text| endpoint("response_endpoint", text))
            .transpose()?;
        if response_endpoint.is_none() && is_everywhere(&host) {
            let problem = "is every address of this host, and members must be told one: set response_endpoint to \
                           host:port as they reach it, or host to one address";
            return Err(value("host", &host.host, problem));
        }
        let member_id = settings.member_id.unwrap_or(MEMBER_ID_DEFAULT);
        let consensus_endpoints = match settings.consensus_endpoints {
            None if leading.bootstrap => Vec::new(),
            texts => consensus_endpoints(texts)?,
        };
        let tap = TapConfig {
            member_id,
            consensus_endpoints,
            // Known for sure only when the socket is bound.
            response_endpoint: host.clone(),
            endpoint_map: settings
                .endpoint_map
                .unwrap_or_default()
                .into_iter()
                .map(|mapping| (mapping.named, mapping.reached))
                .collect(),
            source_type: choice("source_type", settings.source_type, SOURCE_TYPES)?,
            routing: choice("routing", settings.routing, ROUTINGS)?,
            replay_start: choice("replay_start", settings.replay_start, REPLAY_STARTS)?,
            // Without services nothing here loads a snapshot, so it may be for any number of them.
            service_count: (!services.is_empty()).then_some(services.len() as u8),
            fetch_snapshots: settings.fetch_snapshots.unwrap_or(services.is_empty()),
            consensus_stream_id: settings.consensus_stream_id.unwrap_or(108),
            archive_control_stream_id: settings.archive_control_stream_id.unwrap_or(10),
            archive_response_stream_id: 20,
            receive_window_length: window("receive_window", settings.receive_window, 2 << 20)?,
            cluster_credentials: credentials(settings.credentials.as_ref()),
            archive_credentials: credentials(settings.archive_credentials.as_ref()),
            connect_timeout_ns: span_ns(settings.connect_timeout, 1_000),
            response_timeout_ns: span_ns(settings.response_timeout, 2_000),
            message_timeout_ns: span_ns(settings.message_timeout, 10_000),
            progress_timeout_ns: span_ns(settings.progress_timeout, 10_000),
            source_timeout_ns: span_ns(settings.source_timeout, 5_000),
            heartbeat_interval_ns: 1_000_000_000,
            source_position_interval_ns: 100_000_000,
            seed: 0,
        };
        let audit_ballast = settings.audit_ballast.map_or(0, |size| size.0 as usize);
        if !audit_ballast.is_multiple_of(8) {
            return Err(value("audit_ballast", audit_ballast, "must be a multiple of 8"));
        }
        let snapshots = SnapshotConfig {
            mode: settings.snapshot_mode.unwrap_or_default(),
            on_ordinary: settings.snapshot_on_ordinary.unwrap_or(false),
            interval_ns: settings.snapshot_interval.map(Span::as_nanos),
            log_length: settings.snapshot_log_length.map(|size| i64::try_from(size.0).unwrap_or(i64::MAX)),
            term_length: snapshot_term_length(settings.snapshot_term_length)?,
        };
        Ok(Self {
            aeron_dir: settings.aeron_dir.unwrap_or_else(|| dir.join("aeron")),
            dir,
            services,
            archive_endpoint: archive_endpoint(settings.archive_endpoint.as_deref(), &host, settings.port)?,
            archive_secrets: SharedSecrets {
                credentials: settings.archive_server_credentials.map(|text| text.0.into_bytes()),
                challenge_answer: settings.archive_server_challenge_answer.map(|text| text.0.into_bytes()),
            },
            consensus_secrets: SharedSecrets {
                credentials: settings.consensus_server_credentials.map(|text| text.0.into_bytes()),
                challenge_answer: settings.consensus_server_challenge_answer.map(|text| text.0.into_bytes()),
            },
            serve_allow: allow_list(settings.serve_allow.unwrap_or_default())?,
            replay_count_max: count(settings.max_concurrent_replays, 20),
            control_session_count_max: count(settings.max_control_sessions, 64),
            bind_endpoint: host.with_port(settings.port.unwrap_or(0)).to_string(),
            response_endpoint,
            member_id,
            cluster_id: settings.cluster_id.unwrap_or(0),
            backup_interval: settings.backup_interval.map_or(BACKUP_INTERVAL_DEFAULT, |span| span.0),
            app_version: settings.app_version.map_or(APP_VERSION_DEFAULT, |version| version.0.0),
            tap,
            layout,
            receiver_core: settings.receiver_core,
            service_cores: settings.service_cores.unwrap_or_default(),
            idle: settings.idle.unwrap_or(match layout {
                Layout::Dedicated => IdleStrategy::Spin,
                Layout::Shared => IdleStrategy::BACKOFF,
            }),
            network: settings.network.unwrap_or(NetworkBackend::Mmsg),
            socket_receive_buffer: settings.socket_receive_buffer.map_or(4 << 20, |size| size.0 as usize),
            socket_send_buffer: settings.socket_send_buffer.map_or(1 << 20, |size| size.0 as usize),
            file_sync_level: settings.file_sync_level.map_or(SyncLevel::None, |level| level.0),
            sync_interval: settings.sync_interval.map_or(std::time::Duration::from_secs(1), |span| span.0),
            snapshots,
            leading,
            activation,
            retention: settings
                .retain_snapshots
                .map(|count| RetentionPolicy::KeepSnapshots(usize::from(count.get()))),
            audit_ballast,
        })
    }
}

impl NodeConfig {
    /// Where others reach what this node serves, once its port is bound: the host that members are told, where all
    /// addresses of this one are.
    pub fn served_endpoint(&self, bound_port: u16) -> HostPort {
        self.told_endpoint(&self.archive_endpoint, bound_port)
    }

    /// Where others reach what is bound at `endpoint`, once its port is bound: the host that members are told, where
    /// `endpoint` is all addresses of this one.
    pub fn told_endpoint(&self, endpoint: &HostPort, bound_port: u16) -> HostPort {
        let told = self.response_endpoint.as_ref().filter(|_| is_everywhere(endpoint));
        told.unwrap_or(endpoint).with_port(bound_port)
    }
}

const SOURCE_TYPES: &[(&str, SourceType)] =
    &[("any", SourceType::Any), ("leader", SourceType::Leader), ("follower", SourceType::Follower)];
const ROUTINGS: &[(&str, Routing)] = &[("all", Routing::All), ("single", Routing::Single)];
const REPLAY_STARTS: &[(&str, ReplayStart)] =
    &[("latest-snapshot", ReplayStart::LatestSnapshot), ("beginning", ReplayStart::Beginning)];

/// Beyond what clusters give their members.
const MEMBER_ID_DEFAULT: i32 = 100;

/// Aeron's default.
const BACKUP_INTERVAL_DEFAULT: std::time::Duration = std::time::Duration::from_secs(3600);

/// Aeron's default, 0.0.1.
const APP_VERSION_DEFAULT: i32 = 1;

/// The longest and shortest receive windows that Aeron can make use of: half of the longest term, one datagram.
const WINDOW_RANGE: std::ops::RangeInclusive<u64> = (64 << 10)..=(512 << 20);

fn choice<T: Copy + Default>(
    key: &'static str,
    text: Option<String>,
    choices: &[(&str, T)],
) -> Result<T, ConfigError> {
    let Some(text) = text else { return Ok(T::default()) };
    choices.iter().find(|(name, _)| name.eq_ignore_ascii_case(&text)).map(|(_, choice)| *choice).ok_or_else(
        || {
            let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
            value(key, &text, &format!("write one of {}", names.join(", ")))
        },
    )
}

fn window(key: &'static str, size: Option<Size>, default: u64) -> Result<i32, ConfigError> {
    let bytes = size.map_or(default, |size| size.0);
    if !WINDOW_RANGE.contains(&bytes) {
        return Err(value(key, bytes, "must be from 64k to 512m"));
    }
    Ok(bytes as i32)
}

fn snapshot_term_length(size: Option<Size>) -> Result<TermLength, ConfigError> {
    let bytes = size.map_or(16 << 20, |size| size.0);
    let length = i32::try_from(bytes).ok().and_then(|bytes| TermLength::new(bytes).ok());
    length.ok_or_else(|| value("snapshot_term_length", bytes, "must be a power of two from 64k to 1g"))
}

fn service_names(names: Option<Vec<String>>) -> Result<Vec<String>, ConfigError> {
    let names = names.unwrap_or_else(|| vec!["audit".to_owned()]);
    if names == ["none"] {
        return Ok(Vec::new());
    }
    if names.len() > SERVICES_MAX {
        return Err(value("service", names.join(","), "a cluster has at most ten services"));
    }
    Ok(names)
}

fn consensus_endpoints(texts: Option<Vec<String>>) -> Result<Vec<HostPort>, ConfigError> {
    let texts = texts.filter(|texts| !texts.is_empty()).ok_or_else(|| missing("consensus_endpoints"))?;
    texts.iter().map(|text| endpoint("consensus_endpoints", text.trim())).collect()
}

fn endpoint(key: &'static str, text: &str) -> Result<HostPort, ConfigError> {
    let endpoint: HostPort =
        text.parse().map_err(|_| value(key, text, "write host:port, e.g. node0.example:9003"))?;
    if endpoint.port == 0 {
        return Err(value(key, text, "port 0 cannot be sent to: give the port that listens there"));
    }
    Ok(endpoint)
}

fn allow_list(texts: Vec<String>) -> Result<AllowList, ConfigError> {
    let network = |text: &String| {
        text.trim().parse().map_err(|_| {
            value("serve_allow", text, "write an address or address/bits, e.g. 10.1.0.0/16 or 192.0.2.7")
        })
    };
    texts.iter().map(network).collect::<Result<_, _>>().map(AllowList::new)
}

fn count(set: Option<NonZeroU16>, default: usize) -> usize {
    set.map_or(default, |count| usize::from(count.get()))
}

/// Where others ask: beside the first socket, unless it is said where.
fn archive_endpoint(text: Option<&str>, host: &HostPort, port: Option<u16>) -> Result<HostPort, ConfigError> {
    const KEY: &str = "archive_endpoint";
    if let Some(text) = text {
        return text.parse().map_err(|_| value(KEY, text, "write host:port, e.g. 10.0.0.9:9010"));
    }
    let port = match port {
        None | Some(0) => 0,
        Some(port) => port
            .checked_add(1)
            .ok_or_else(|| value("port", port, "is the last one there is: set archive_endpoint too"))?,
    };
    Ok(host.with_port(port))
}

/// A host that can be bound; its port is not known before it is.
fn host(text: String) -> Result<HostPort, ConfigError> {
    let is_bare_ipv6 = text.contains(':') && !text.starts_with('[');
    let bracketed = if is_bare_ipv6 { format!("[{text}]") } else { text.clone() };
    format!("{bracketed}:0").parse().map_err(|_| {
        value(
            "host",
            text,
            "write a name or an address without a port, e.g. 10.0.0.7 or fd00::7; `port` is a key of its own",
        )
    })
}

/// Whether binding `host` takes every address, so that none is left to be told to others.
fn is_everywhere(host: &HostPort) -> bool {
    host.socket_addr().is_some_and(|address| address.ip().is_unspecified())
}

fn missing(key: &'static str) -> ConfigError {
    ConfigError::Missing { key, flag: key.replace('_', "-") }
}

fn value(key: &'static str, value: impl fmt::Display, problem: &str) -> ConfigError {
    ConfigError::Value { key, value: value.to_string(), problem: problem.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn minimal() -> Settings {
        Settings {
            dir: Some("d".into()),
            host: Some("localhost".into()),
            consensus_endpoints: Some(vec!["a:1".into(), "b:2".into()]),
            ..Settings::default()
        }
    }

    #[test]
    fn three_keys_are_enough() {
        let config = NodeConfig::new(minimal(), 2).unwrap();
        assert_eq!(config.services, ["audit"]);
        assert_eq!(config.layout, Layout::Shared);
        assert_eq!(NodeConfig::new(minimal(), 4).unwrap().layout, Layout::Dedicated);
        assert_eq!(config.bind_endpoint, "localhost:0");
    }

    #[test]
    fn a_node_without_services_is_a_backup() {
        let none = Settings { service: Some(vec!["none".into()]), ..minimal() };
        let backup = NodeConfig::new(none, 2).unwrap();
        assert_eq!((backup.tap.service_count, backup.tap.fetch_snapshots), (None, true));
        assert_eq!(backup.backup_interval.as_secs(), 3600);
        let warm = NodeConfig::new(minimal(), 2).unwrap();
        assert_eq!((warm.tap.service_count, warm.tap.fetch_snapshots), (Some(1), false));
    }

    #[test]
    fn the_archive_endpoint_is_the_port_after_ours_unless_it_is_set() {
        let bound = |port, archive_endpoint: Option<&str>| {
            let archive_endpoint = archive_endpoint.map(str::to_owned);
            let settings = Settings { port, archive_endpoint, ..minimal() };
            NodeConfig::new(settings, 2).map(|config| config.archive_endpoint.to_string())
        };
        assert_eq!(bound(None, None).unwrap(), "localhost:0");
        assert_eq!(bound(Some(9010), None).unwrap(), "localhost:9011");
        assert_eq!(bound(Some(9010), Some("[::1]:0")).unwrap(), "[::1]:0");
        assert!(bound(Some(u16::MAX), None).unwrap_err().to_string().contains("archive_endpoint"));
        assert!(bound(None, Some("9010")).unwrap_err().to_string().contains("host:port"));
    }

    #[test]
    fn what_is_served_is_told_at_an_address_that_can_be_reached() {
        let served = |host: &str, response_endpoint: Option<&str>| {
            let response_endpoint = response_endpoint.map(str::to_owned);
            let settings = Settings { host: Some(host.into()), response_endpoint, ..minimal() };
            NodeConfig::new(settings, 2).unwrap().served_endpoint(9011).to_string()
        };
        assert_eq!(served("node0", None), "node0:9011");
        assert_eq!(served("node0", Some("nat:7")), "node0:9011");
        assert_eq!(served("0.0.0.0", Some("nat:7")), "nat:9011");
    }

    #[test]
    fn networks_that_may_ask_are_read_and_a_wrong_one_is_named() {
        let allowed = |text: &str| {
            let serve_allow = Some(vec!["10.1.0.0/16".to_owned(), text.to_owned()]);
            NodeConfig::new(Settings { serve_allow, ..minimal() }, 2).map(|config| config.serve_allow)
        };
        assert!(allowed("::1").unwrap().allows("[::1]:9".parse().unwrap()));
        assert!(!allowed("::1").unwrap().allows("192.0.2.1:9".parse().unwrap()));
        let message = allowed("localhost").unwrap_err().to_string();
        assert!(message.contains("serve_allow") && message.contains("localhost"), "{message}");
    }

    #[test]
    fn a_missing_key_is_named_with_its_flag() {
        let settings = Settings { consensus_endpoints: None, ..minimal() };
        let message = NodeConfig::new(settings, 2).unwrap_err().to_string();
        assert!(message.contains("--consensus-endpoints"), "{message}");
    }

    #[test]
    fn a_wrong_value_is_named_with_key_and_choices() {
        let settings = Settings { source_type: Some("boss".into()), ..minimal() };
        let message = NodeConfig::new(settings, 2).unwrap_err().to_string();
        assert!(message.contains("source_type") && message.contains("boss") && message.contains("follower"));
        let settings = Settings { consensus_endpoints: Some(vec!["a:0".into()]), ..minimal() };
        assert!(NodeConfig::new(settings, 2).unwrap_err().to_string().contains("port 0"));
    }

    #[test]
    fn an_ipv6_host_may_be_written_with_or_without_brackets() {
        for host in ["fd00::7", "[fd00::7]"] {
            let settings = Settings { host: Some(host.into()), port: Some(9100), ..minimal() };
            let config = NodeConfig::new(settings, 2).unwrap();
            assert_eq!(config.bind_endpoint, "[fd00::7]:9100");
            assert_eq!(config.tap.response_endpoint.host, "fd00::7");
        }
        for wrong in ["10.0.0.7:9100", "[fd00::7]:9100", "fd00::7::", "", "a b"] {
            let settings = Settings { host: Some(wrong.into()), ..minimal() };
            let message = NodeConfig::new(settings, 2).unwrap_err().to_string();
            assert!(
                message.starts_with(&format!("host = \"{wrong}\": write a name or an address")),
                "{message}"
            );
        }
    }

    #[test]
    fn every_address_at_once_is_a_host_only_where_members_are_told_another() {
        for host in ["0.0.0.0", "::", "[::]"] {
            let settings = Settings { host: Some(host.into()), ..minimal() };
            let message = NodeConfig::new(settings.clone(), 2).unwrap_err().to_string();
            assert!(message.contains("host = ") && message.contains("response_endpoint"), "{message}");
            let told = Settings { response_endpoint: Some("10.0.0.7:9100".into()), ..settings };
            assert!(NodeConfig::new(told, 2).is_ok(), "{host}");
        }
    }

    #[test]
    fn flags_override_the_file_and_unknown_keys_are_refused() {
        let file: Settings = toml::from_str("host = \"file\"\nport = 7\nreceive_window = \"1m\"").unwrap();
        let flags = Settings { host: Some("flag".into()), ..Settings::default() };
        let merged = flags.over(file);
        assert_eq!((merged.host.as_deref(), merged.port), (Some("flag"), Some(7)));
        let error = toml::from_str::<Settings>("hots = \"typo\"").unwrap_err().to_string();
        assert!(error.contains("hots"), "{error}");
    }

    #[test]
    fn every_flag_can_be_written_in_the_file_under_its_own_name() {
        let command = Settings::augment_args(clap::Command::new("run"));
        for argument in command.get_arguments() {
            let key = argument.get_id().as_str();
            let error = toml::from_str::<Settings>(&format!("{key} = {{}}")).unwrap_err().to_string();
            assert!(!error.contains("unknown field"), "{key}: {error}");
        }
    }
}
