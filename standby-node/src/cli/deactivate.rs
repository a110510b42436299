//! `deactivate`: take back the decision to lead, so that a stopped node's next start follows again.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use consensus_tap::file::activation::{Activation, ActivationPhase, ActivationRecord};

use super::output::{print, stopped};
use crate::store::activation_record;

#[derive(Args, Debug)]
pub(super) struct DeactivateArgs {
    /// Directory of the node, which must not run
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
}

pub(super) fn deactivate(args: &DeactivateArgs) -> Result<ExitCode, String> {
    let directory = stopped(&args.dir)?;
    let path = activation_record::path_in(&directory.cluster());
    let found = activation_record::read(&path).map_err(|error| error.to_string())?;
    let record = found.decision().cloned();
    let Activation { grant, cluster_members, .. } = found;
    if record.is_none() && grant.is_none() {
        print("this node has neither led nor promised not to: nothing to take back\n")?;
        return Ok(ExitCode::SUCCESS);
    }
    // Who was fenced does not lead what others go on with; who was not may lead its own log again, by `--bootstrap`.
    let withdrawn = record.clone().filter(|record| record.phase == ActivationPhase::Leading);
    let withdrawn = withdrawn.map(|record| ActivationRecord { phase: ActivationPhase::Withdrawn, ..record });
    let cleared = Activation { record: withdrawn, grant: None, cluster_members };
    activation_record::replace(&path, &cleared).map_err(|error| error.to_string())?;
    if let Some(record) = record {
        print(&format!(
            "the decision to lead from position {} on in term {} is taken back: the next start follows. What \
             was recorded behind that position is no part of any other cluster's log, so members that do not \
             have it make this node DIVERGED: `reseed` it then\n",
            record.base_log_position, record.leadership_term_id
        ))?;
    }
    if let Some((member_id, _)) = grant {
        print(&format!(
            "the promise to standby {member_id} is taken back: be sure that it neither leads nor will\n"
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}
