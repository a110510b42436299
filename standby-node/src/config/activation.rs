//! What a node needs to know to be activated.

use consensus_tap::channel::HostPort;

use super::{ConfigError, Settings, Span, choice, value};

/// How a node is activated.
#[derive(Clone, Debug)]
pub struct ActivationConfig {
    /// What makes sure that nobody else serves; `None`: nothing does, and the node refuses.
    pub fence: Option<FenceConfig>,
    /// How long the fence may take.
    pub fence_timeout_ns: u64,
    /// The other standbys: member id, and where each serves what others ask of it.
    pub standbys: Vec<(i32, HostPort)>,
    /// For how long nothing may be heard of a member or standby that counts as silent.
    pub liveness_timeout_ns: u64,
    /// Whether members are probed.
    pub probe: bool,
}

/// A fence.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum FenceConfig {
    /// The operator says that none is needed.
    NotNeeded,
    /// A command for the shell, which must succeed.
    Command(String),
}

#[derive(Clone, Copy, Default)]
enum Probe {
    #[default]
    On,
    Off,
}

const PROBES: &[(&str, Probe)] = &[("on", Probe::On), ("off", Probe::Off)];

impl ActivationConfig {
    pub(super) fn new(settings: &Settings, member_id: i32) -> Result<Self, ConfigError> {
        let span_ns =
            |span: Option<Span>, default_ms: u64| span.map_or(default_ms * 1_000_000, Span::as_nanos);
        let standbys = standbys(settings.standby_endpoints.clone().unwrap_or_default(), member_id)?;
        let fence = match settings.fence.as_deref().map(str::trim) {
            // Who begins a cluster and names nobody who could take it over says that there is nobody to fence.
            None if settings.bootstrap == Some(true) && standbys.is_empty() => Some(FenceConfig::NotNeeded),
            // Not only at the restart that needs it.
            None if settings.bootstrap == Some(true) => {
                let problem = "is needed with standby_endpoints: after a restart this node leads again once it is \
                               sure that no standby serves meanwhile; write a command that makes sure, or \"none\"";
                return Err(value("fence", "", problem));
            }
            None => None,
            Some("") => {
                return Err(value("fence", "", "write a command that must succeed, or \"none\""));
            }
            Some("none") => Some(FenceConfig::NotNeeded),
            Some(command) => Some(FenceConfig::Command(command.to_owned())),
        };
        let liveness_timeout_ns = span_ns(settings.liveness_timeout, 1_000);
        if liveness_timeout_ns < LIVENESS_TIMEOUT_MIN_NS {
            let found = settings.liveness_timeout.map_or_else(String::new, |span| format!("{:?}", span.0));
            // A living driver answers five times a second.
            return Err(value("liveness_timeout", found, "must be 500ms or more"));
        }
        Ok(Self {
            fence,
            fence_timeout_ns: span_ns(settings.fence_timeout, 30_000),
            standbys,
            liveness_timeout_ns,
            probe: matches!(choice("probe", settings.probe.clone(), PROBES)?, Probe::On),
        })
    }
}

const LIVENESS_TIMEOUT_MIN_NS: u64 = 500_000_000;

fn standbys(texts: Vec<String>, member_id: i32) -> Result<Vec<(i32, HostPort)>, ConfigError> {
    const KEY: &str = "standby_endpoints";
    let mut standbys: Vec<(i32, HostPort)> = Vec::new();
    for text in texts {
        let problem = "write member-id=host:port, with the archive_endpoint of that standby, e.g. \
                       101=10.0.0.10:9101";
        let standby = text.split_once('=').and_then(|(id, endpoint)| {
            let endpoint: HostPort = endpoint.trim().parse().ok()?;
            Some((id.trim().parse::<i32>().ok()?, endpoint)).filter(|(_, endpoint)| endpoint.port != 0)
        });
        let (id, endpoint) = standby.ok_or_else(|| value(KEY, &text, problem))?;
        if id == member_id {
            return Err(value(KEY, &text, "is this node's own member_id: name the others only"));
        }
        if standbys.iter().any(|(known, _)| *known == id) {
            return Err(value(KEY, &text, "is named twice: each standby has a member_id of its own"));
        }
        standbys.push((id, endpoint));
    }
    Ok(standbys)
}

#[cfg(test)]
mod tests {
    use super::super::NodeConfig;
    use super::*;

    fn config(adapt: impl FnOnce(&mut Settings)) -> Result<ActivationConfig, String> {
        let mut settings = Settings {
            dir: Some("d".into()),
            host: Some("localhost".into()),
            consensus_endpoints: Some(vec!["a:1".into()]),
            ..Settings::default()
        };
        adapt(&mut settings);
        NodeConfig::new(settings, 2).map(|config| config.activation).map_err(|error| error.to_string())
    }

    #[test]
    fn without_a_fence_there_is_none_and_none_must_be_said() {
        let fence = |text: Option<&str>| config(|s| s.fence = text.map(str::to_owned)).map(|c| c.fence);
        assert_eq!(fence(None).unwrap(), None);
        assert_eq!(fence(Some("none")).unwrap(), Some(FenceConfig::NotNeeded));
        assert_eq!(fence(Some("stonith off")).unwrap(), Some(FenceConfig::Command("stonith off".into())));
        assert!(fence(Some(" ")).unwrap_err().starts_with("fence"));
    }

    #[test]
    fn who_begins_a_cluster_needs_a_fence_once_it_names_a_standby() {
        let fence = |text: Option<&str>, standbys: &[&str]| {
            config(|s| {
                s.bootstrap = Some(true);
                s.fence = text.map(str::to_owned);
                s.standby_endpoints = Some(standbys.iter().map(|text| (*text).to_owned()).collect());
            })
            .map(|config| config.fence)
        };
        assert_eq!(fence(None, &[]).unwrap(), Some(FenceConfig::NotNeeded));
        assert_eq!(fence(Some("none"), &["101=s:1"]).unwrap(), Some(FenceConfig::NotNeeded));
        let message = fence(None, &["101=s:1"]).unwrap_err();
        assert!(message.starts_with("fence") && message.contains("standby_endpoints"), "{message}");
    }

    #[test]
    fn other_standbys_are_named_with_their_ids() {
        let standbys = |texts: &[&str]| {
            let texts = texts.iter().map(|text| (*text).to_owned()).collect();
            config(|s| s.standby_endpoints = Some(texts)).map(|config| config.standbys)
        };
        assert_eq!(standbys(&["101=s:9101"]).unwrap(), [(101, "s:9101".parse().unwrap())]);
        for (texts, word) in [
            (&["s:9101"][..], "member-id=host:port"),
            (&["101=s:0"], "member-id=host:port"),
            (&["100=s:9101"], "own member_id"),
            (&["101=s:9101", "101=t:9101"], "twice"),
        ] {
            let message = standbys(texts).unwrap_err();
            assert!(message.starts_with("standby_endpoints") && message.contains(word), "{message}");
        }
    }

    #[test]
    fn members_are_probed_unless_it_is_said_that_they_are_not() {
        let probe = |text: Option<&str>| config(|s| s.probe = text.map(str::to_owned)).map(|c| c.probe);
        assert!(probe(None).unwrap() && !probe(Some("off")).unwrap());
        assert!(probe(Some("maybe")).unwrap_err().contains("on, off"));
    }
}
