//! What to do if the answer is not what is wanted.

use super::Explanation;
use crate::control::view::SiteView;

pub(super) fn for_an_unknown_host(host: &str) -> String {
    format!(
        "To have it answered, add `{host}` to the `hosts` of a site, look with `ghostpin check`, and then `ghostpin reload`."
    )
}

pub(super) fn for_a_site(answer: &Explanation, view: &SiteView) -> Vec<String> {
    let name = &view.summary.name;
    let others: Vec<&str> = view
        .candidates
        .iter()
        .filter(|candidate| !candidate.pinned)
        .map(|candidate| candidate.address.as_str())
        .collect();
    let mut advice = Vec::new();
    if view.on_hold {
        advice.push(format!("To let requests in again: `ghostpin release {name}`."));
    } else if view.summary.phase == "vacant" {
        let start = "To have it served, start one of its backends";
        advice.push(match (view.failover, others.is_empty()) {
            ("manual", false) => format!(
                "{start}, or say which one takes over (`failover` is manual): `ghostpin handoff {name} --to {}`.",
                others.join("|")
            ),
            _ => format!("{start}; what their probes see stands above, and `ghostpin site {name} --watch` shows when it changes."),
        });
    } else if view.summary.phase != "serving" {
        advice.push(format!("To see how it goes on: `ghostpin site {name} --watch`."));
    } else if answer.route.is_none() && !others.is_empty() {
        advice.push(format!(
            "To have another backend answer: `ghostpin handoff {name} --to {}`.",
            others.join("|")
        ));
    } else if answer.route.is_none() {
        advice.push(format!("It has no other backend: to move it, add one to `backends` of site `{name}`, then `ghostpin reload`."));
    }
    if view.candidates.iter().any(|candidate| candidate.conflict) {
        advice.push(
            "Two instances are running: stop the one that isn't pinned, before both of them write."
                .to_owned(),
        );
    }
    advice
}
