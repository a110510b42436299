//! What a node needs to know to lead.

use std::path::PathBuf;

use consensus_tap::channel::HostPort;
use consensus_tap::wire::TermLength;

use super::{ConfigError, Settings, Size, Span, count, value};
use crate::agent::egress_ring::SESSION_COUNT_MAX;

/// How a node leads, once it does.
#[derive(Clone, Debug)]
pub struct LeadingConfig {
    /// Whether a directory without a log becomes a cluster of its own at the start.
    pub bootstrap: bool,
    /// Host and port to bind for clients; port 0 for any.
    pub ingress_endpoint: HostPort,
    /// Names the clients; everybody may be one without.
    pub clients_file: Option<PathBuf>,
    /// Stream on which clients send.
    pub ingress_stream_id: i32,
    /// Term length of a log that this node creates.
    pub log_term_length: TermLength,
    /// Longest frame of a log that this node creates, bytes with its header.
    pub log_mtu: i32,
    /// Term length of what goes to one client; no reply is longer than an eighth of it.
    pub egress_term_length: TermLength,
    /// Most sessions at once.
    pub session_count_max: usize,
    /// How long a client may be silent.
    pub session_timeout_ns: u64,
    /// What clients are told to wait at most for another leader: twice as long.
    pub leader_heartbeat_timeout_ns: u64,
}

/// What fits into a frame of Aeron's, aligned.
const MTU_RANGE: std::ops::RangeInclusive<u64> = 256..=65_504;
/// Aeron's default.
const MTU_DEFAULT: u64 = 1408;
/// Aeron's default.
const SEGMENT_LENGTH_DEFAULT: i32 = 128 * 1024 * 1024;

impl LeadingConfig {
    /// Length of the log's segment files, as an archive with Aeron's defaults makes them.
    pub fn log_segment_length(&self) -> i32 {
        self.log_term_length.bytes().max(SEGMENT_LENGTH_DEFAULT)
    }

    pub(super) fn new(settings: &Settings, host: &HostPort) -> Result<Self, ConfigError> {
        let span_ns =
            |span: Option<Span>, default_ms: u64| span.map_or(default_ms * 1_000_000, Span::as_nanos);
        Ok(Self {
            bootstrap: settings.bootstrap.unwrap_or(false),
            ingress_endpoint: ingress_endpoint(settings, host)?,
            clients_file: settings.clients_file.clone(),
            ingress_stream_id: settings.ingress_stream_id.unwrap_or(101),
            log_term_length: term_length("log_term_length", settings.log_term_length, 64 << 20)?,
            log_mtu: log_mtu(settings)?,
            egress_term_length: term_length("egress_term_length", settings.egress_term_length, 4 << 20)?,
            session_count_max: session_count_max(settings)?,
            session_timeout_ns: span_ns(settings.session_timeout, 10_000),
            leader_heartbeat_timeout_ns: span_ns(settings.leader_heartbeat_timeout, 10_000),
        })
    }
}

/// Where clients send: beside what others ask of this node, unless it is said where.
fn ingress_endpoint(settings: &Settings, host: &HostPort) -> Result<HostPort, ConfigError> {
    const KEY: &str = "ingress_endpoint";
    if let Some(text) = &settings.ingress_endpoint {
        return text.parse().map_err(|_| value(KEY, text, "write host:port, e.g. 10.0.0.9:9011"));
    }
    let port = match settings.port {
        None | Some(0) => 0,
        Some(port) => port.checked_add(2).ok_or_else(|| {
            value("port", port, "has no two ports behind it: set archive_endpoint and ingress_endpoint too")
        })?,
    };
    Ok(host.with_port(port))
}

fn term_length(key: &'static str, size: Option<Size>, default: u64) -> Result<TermLength, ConfigError> {
    let bytes = size.map_or(default, |size| size.0);
    let length = i32::try_from(bytes).ok().and_then(|bytes| TermLength::new(bytes).ok());
    length.ok_or_else(|| value(key, bytes, "must be a power of two from 64k to 1g"))
}

fn session_count_max(settings: &Settings) -> Result<usize, ConfigError> {
    let most = count(settings.max_sessions, 10);
    if most > SESSION_COUNT_MAX {
        return Err(value("max_sessions", most, &format!("set it from 1 to {SESSION_COUNT_MAX}")));
    }
    Ok(most)
}

fn log_mtu(settings: &Settings) -> Result<i32, ConfigError> {
    let bytes = settings.log_mtu.map_or(MTU_DEFAULT, |size| size.0);
    if !MTU_RANGE.contains(&bytes) || !bytes.is_multiple_of(32) {
        return Err(value("log_mtu", bytes, "must be a multiple of 32 from 256 to 65504"));
    }
    Ok(bytes as i32)
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU16;

    use super::super::NodeConfig;
    use super::*;

    fn minimal() -> Settings {
        Settings {
            dir: Some("d".into()),
            host: Some("localhost".into()),
            consensus_endpoints: Some(vec!["a:1".into()]),
            ..Settings::default()
        }
    }

    #[test]
    fn clients_find_the_node_two_ports_after_ours_unless_it_is_set() {
        let bound = |port, ingress_endpoint: Option<&str>| {
            let ingress_endpoint = ingress_endpoint.map(str::to_owned);
            let settings = Settings { port, ingress_endpoint, ..minimal() };
            NodeConfig::new(settings, 2).map(|config| config.leading.ingress_endpoint.to_string())
        };
        assert_eq!(bound(None, None).unwrap(), "localhost:0");
        assert_eq!(bound(Some(9010), None).unwrap(), "localhost:9012");
        assert_eq!(bound(Some(9010), Some("[::1]:7")).unwrap(), "[::1]:7");
        assert!(bound(Some(u16::MAX - 1), None).unwrap_err().to_string().contains("ingress_endpoint"));
        assert!(bound(None, Some("9010")).unwrap_err().to_string().contains("host:port"));
    }

    #[test]
    fn a_log_has_terms_and_frames_that_aeron_can_read() {
        for (key, settings) in [
            ("log_term_length", Settings { log_term_length: Some(Size(3 << 20)), ..minimal() }),
            ("log_term_length", Settings { log_term_length: Some(Size(32 << 10)), ..minimal() }),
            ("log_mtu", Settings { log_mtu: Some(Size(1400)), ..minimal() }),
            ("log_mtu", Settings { log_mtu: Some(Size(65_536)), ..minimal() }),
        ] {
            let message = NodeConfig::new(settings, 2).unwrap_err().to_string();
            assert!(message.starts_with(key), "{message}");
        }
        let leading = NodeConfig::new(minimal(), 2).unwrap().leading;
        assert_eq!((leading.log_term_length.bytes(), leading.log_mtu), (64 << 20, 1408));
    }

    #[test]
    fn there_are_no_more_sessions_than_services_can_reply_to() {
        let most = |count| {
            let settings = Settings { max_sessions: NonZeroU16::new(count), ..minimal() };
            NodeConfig::new(settings, 2).map(|config| config.leading.session_count_max)
        };
        assert_eq!((most(0).unwrap(), most(4096).unwrap()), (10, 4096), "10 where none is set");
        let message = most(4097).unwrap_err().to_string();
        assert!(message.contains("max_sessions") && message.contains("4097"), "{message}");
        assert!(message.contains("from 1 to 4096"), "{message}");
    }

    #[test]
    fn who_begins_a_cluster_needs_no_members() {
        let alone = Settings { consensus_endpoints: None, bootstrap: Some(true), ..minimal() };
        assert!(NodeConfig::new(alone, 2).unwrap().tap.consensus_endpoints.is_empty());
    }
}
