//! `ghostpin providers`

use clap::Args;
use serde::Deserialize;

use super::access::Access;
use super::client::read;
use super::failure::Failure;
use super::print::{or_dash, plural, print, print_json, table};
use crate::provider::merge::ServiceView;
use crate::provider::swarm::SwarmView;

/// Show where sites come from besides the file: the managers of the swarm, and what became of its services.
#[derive(Args, Clone, Debug)]
pub struct ProvidersArgs {
    /// Only services with a problem or a conflict.
    #[arg(long)]
    problems: bool,
    #[command(flatten)]
    access: Access,
}

#[derive(Debug, Deserialize)]
struct Providers {
    swarm: Option<SwarmView>,
}

impl ProvidersArgs {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let body = self.access.client()?.get("/v1/providers").await?;
        if self.access.json {
            return print_json(&body);
        }
        let providers: Providers = read(&body)?;
        print(&providers.swarm.map_or_else(
            || "no provider: all sites come from the file".to_owned(),
            |swarm| told(swarm, self.problems),
        ))
    }
}

fn told(swarm: SwarmView, problems: bool) -> String {
    let ago = |millis: u64| format!("{:.1} s ago", millis as f64 / 1e3);
    let mut text = match swarm.age_ms {
        Some(age) => format!("swarm at index {}, heard {}\n", swarm.index, ago(age)),
        None => "no manager of the swarm has answered yet\n".to_owned(),
    };
    if let Some(error) = &swarm.error {
        text += &format!("NOT IN FORCE: {error}\n");
    }
    let managers = swarm.managers.into_iter().map(|manager| {
        [
            manager.address,
            manager.state,
            or_dash(manager.asked_ms.map_or_else(String::new, ago)),
            or_dash(manager.why),
        ]
    });
    text += &format!("\n{}\n", table(["MANAGER", "STATE", "ASKED", "WHY"], managers));
    let is_troubled = |one: &ServiceView| !one.problems.is_empty() || !one.rivals.is_empty();
    let services: Vec<ServiceView> =
        swarm.services.into_iter().filter(|one| !problems || is_troubled(one)).collect();
    let mut troubles = Vec::new();
    for one in &services {
        troubles.extend(one.problems.iter().map(|problem| format!("{}: {problem}", one.service)));
        if !one.rivals.is_empty() {
            troubles.push(format!(
                "{}: several tasks run; beside the one that is meant: {}",
                one.service,
                one.rivals.join(", ")
            ));
        }
    }
    let rows = services.into_iter().map(|one| [one.service, or_dash(one.site), or_dash(one.candidate)]);
    text += &table(["SERVICE", "SITE", "TASK"], rows);
    if !troubles.is_empty() {
        text += &format!("\n{}:\n{}\n", plural(troubles.len(), "problem"), troubles.join("\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::swarm::ManagerView;

    #[test]
    fn what_is_wrong_is_told_below_the_table() {
        let service = |name: &str, problems: &[&str], rivals: &[&str]| ServiceView {
            service: name.to_owned(),
            site: if problems.is_empty() { name.to_owned() } else { String::new() },
            problems: problems.iter().map(|&text| text.to_owned()).collect(),
            candidate: String::new(),
            rivals: rivals.iter().map(|&text| text.to_owned()).collect(),
            moving: false,
        };
        let manager = ManagerView {
            address: "tcp://a:1".to_owned(),
            state: "fails".to_owned(),
            why: "timeout".to_owned(),
            asked_ms: Some(1_500),
        };
        let swarm = SwarmView {
            managers: vec![manager],
            index: 7,
            age_ms: Some(2_000),
            services: vec![
                service("a", &[], &[]),
                service("b", &["label x: y"], &[]),
                service("c", &[], &["c.2.t"]),
            ],
            ..SwarmView::default()
        };
        assert_eq!(
            told(swarm, true),
            "swarm at index 7, heard 2.0 s ago\n\
             \n\
             MANAGER    STATE  ASKED      WHY\n\
             tcp://a:1  fails  1.5 s ago  timeout\n\
             \n\
             SERVICE  SITE  TASK\n\
             b        -     -\n\
             c        c     -\n\
             \n\
             2 problems:\n\
             b: label x: y\n\
             c: several tasks run; beside the one that is meant: c.2.t\n"
        );
    }
}
