//! A cluster whose leader can be kept from committing: the log reaches no other member, and all else goes on.

use super::cluster::{Cluster, ClusterConfig};
use super::relay::Relay;

/// A member's log endpoint as the other members know it, behind a relay that can be cut.
pub(crate) struct LogRelays {
    relays: Vec<Relay>,
}

impl LogRelays {
    /// Three members whose log passes through relays, while all else between them goes straight.
    pub(crate) fn cluster(test: &str) -> (Cluster, Self) {
        // Placeholders: the relays must exist before the members, whose ports are known later.
        let nowhere = ([127, 0, 0, 1], 9).into();
        let relays: Vec<_> = (0..3).map(|id| Relay::start(0, nowhere, id)).collect();
        let config = ClusterConfig::new(test, 3).flags(&[
            "--heartbeat-timeout-ms",
            "4000",
            "--canvass-timeout-ms",
            "8000",
        ]);
        let cluster = Cluster::start_each(config, |own, base| {
            let entry = |id: u16| {
                let port = |offset| format!("localhost:{}", base + 10 * id + offset);
                let relay = &relays[usize::from(id)];
                relay.set_target(([127, 0, 0, 1], base + 10 * id + 3).into());
                let log = if id == own { port(3) } else { format!("localhost:{}", relay.address().port()) };
                [id.to_string(), port(1), port(2), log, port(4), port(0)].join(",")
            };
            vec!["--members".to_owned(), (0..3).map(entry).collect::<Vec<_>>().join("|")]
        });
        (cluster, Self { relays })
    }

    /// No log reaches any member, or it does again. Nothing else is touched.
    pub(crate) fn set_cut(&self, is_cut: bool) {
        self.relays.iter().for_each(|relay| relay.set_partition(is_cut));
    }
}
