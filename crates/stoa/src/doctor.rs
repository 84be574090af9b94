//! What `stoa doctor` asks: the machine, its requirements, and the mechanisms that are in force.

use crate::daemon::Identity;
use stoa_core::Failure;
use stoa_hw::CgroupLayout;
use stoa_proto::stoa as pb;
use stoa_run::Runs;

/// Answers `Doctor`.
pub(crate) async fn examine(runs: &Runs, identity: &Identity) -> Result<pb::DoctorReply, Failure> {
    let mechanisms = runs.mechanisms().await?;
    let inventory = &identity.inventory;
    let requirements = stoa_hw::requirements(inventory)
        .into_iter()
        .map(|requirement| pb::Requirement {
            name: requirement.name.to_owned(),
            have: requirement.have,
            minimum: requirement.minimum.to_owned(),
            recommended: requirement.recommended.to_owned(),
            verdict: requirement.verdict.as_str().to_owned(),
        })
        .collect();
    let disks = inventory.disks.iter().map(|disk| format!("disk {}: {}, {}", disk.name, disk.size, disk.kind));
    let gpus = inventory.gpus.iter().map(|gpu| format!("GPU {gpu}"));
    let cgroups = match inventory.cgroups.layout() {
        CgroupLayout::None => "not mounted",
        CgroupLayout::V1 => "version 1",
        CgroupLayout::V2 => "version 2",
        CgroupLayout::Mixed => "version 1 and 2",
    };
    let cgroups = std::iter::once(format!("control groups: {cgroups}"));
    Ok(pb::DoctorReply {
        host: Some(stoa_core::run::Host::from(inventory).into()),
        mechanisms: mechanisms.into_iter().map(Into::into).collect(),
        requirements,
        facts: disks.chain(gpus).chain(cgroups).collect(),
    })
}
