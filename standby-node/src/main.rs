//! `standby-node`: the operator's binary, which hosts the reference service `audit`, or no service at all.

use std::process::ExitCode;

use service_api::ClusteredService;
use standby_node::audit::Audit;
use standby_node::config::NodeConfig;
use standby_node::sys::clock;

fn main() -> ExitCode {
    standby_node::cli::main(service)
}

fn service(name: &str, config: &NodeConfig) -> Result<Box<dyn ClusteredService>, String> {
    match name {
        "audit" => {
            let audit = Audit::new(clock::monotonic_ns).with_ballast(config.audit_ballast);
            Ok(Box::new(audit.map_err(|error| format!("audit_ballast: {error}"))?))
        }
        other => Err(format!("service = \"{other}\": this binary hosts audit, or none")),
    }
}
