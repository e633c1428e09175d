//! `ghostpin edges`

use clap::Args;

use super::access::Access;
use super::client::read;
use super::failure::Failure;
use super::print::{bad, or_dash, table};
use super::watch::{Feed, Shown, Watch};
use crate::control::fleet::{EdgeView, FencedView, FleetView};

/// So many sites that wait are named.
const WAITING_MAX: usize = 20;

/// List the edges of the fleet: who decides, and whom handoffs wait for.
#[derive(Args, Clone, Debug)]
pub struct EdgesArgs {
    #[command(flatten)]
    watch: Watch,
    #[command(flatten)]
    access: Access,
}

impl EdgesArgs {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let path = "/v1/edges".to_owned();
        let shown = Shown { access: &self.access, watch: &self.watch, path, feed: Feed::One };
        shown.run(|body| Ok(listing(read(body)?))).await
    }
}

fn listing(fleet: FleetView) -> String {
    let is_led = !fleet.controller.is_empty();
    let mut text = table(
        ["EDGE", "VERSION", "LEASE", "APPLIED", "HAS REQUESTS OF", ""],
        fleet.edges.into_iter().map(row),
    );
    let waiting: Vec<&FencedView> = fleet.fenced.iter().filter(|site| !site.waits_for.is_empty()).collect();
    for FencedView { site, epoch, revision, waits_for } in waiting.iter().take(WAITING_MAX) {
        let names = waits_for.join(", ");
        text += &format!("\n{site}: epoch {epoch} is fenced since {revision}, and waits for {names}");
    }
    if waiting.len() > WAITING_MAX {
        text += &format!("\n... and {} more sites wait", waiting.len() - WAITING_MAX);
    }
    if !waiting.is_empty() {
        text.push('\n');
    }
    if !is_led {
        text += &format!("\n{}\n", bad("No edge decides now: nothing moves until one is elected."));
    }
    text
}

fn row(edge: EdgeView) -> [String; 6] {
    let marks = [(edge.controller, "controller"), (edge.this, "this one")];
    let marks: Vec<&str> = marks.into_iter().filter(|(is_so, _)| *is_so).map(|(_, word)| word).collect();
    let (applied, pending) = (edge.watermark.to_string(), or_dash(edge.pending.join(", ")));
    [edge.name, or_dash(edge.version), edge.lease, applied, pending, marks.join(", ")]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::fleet::Revision;
    use crate::core::{Epoch, SiteName};

    fn edge(name: &str, pending: &[&str], controller: bool) -> EdgeView {
        EdgeView {
            name: name.to_owned(),
            version: "0.1.0".to_owned(),
            lease: "1f".to_owned(),
            watermark: 7,
            pending: pending.iter().map(|&site| site.to_owned()).collect(),
            controller,
            this: !controller,
        }
    }

    #[test]
    fn it_says_who_decides_and_who_is_waited_for() {
        let edges = vec![edge("a", &[], true), edge("b", &["blog"], false)];
        let fenced = [("blog", 7), ("forum", 9), ("held", 5)];
        let fenced = fenced.map(|(site, revision)| (SiteName::from(site), Epoch(3), Revision(revision)));
        assert_eq!(
            listing(FleetView::new(edges, fenced)),
            "EDGE  VERSION  LEASE  APPLIED  HAS REQUESTS OF\n\
             a     0.1.0    1f     7        -                controller\n\
             b     0.1.0    1f     7        blog             this one\n\
             \n\
             blog: epoch 3 is fenced since 7, and waits for b\n\
             forum: epoch 3 is fenced since 9, and waits for a, b\n"
        );
    }

    #[test]
    fn of_two_processes_in_an_upgrade_it_says_which_one_is_waited_for() {
        let new =
            EdgeView { lease: "2a".to_owned(), watermark: 9, version: String::new(), ..edge("a", &[], true) };
        let fenced = [(SiteName::from("blog"), Epoch(3), Revision(8))];
        let text = listing(FleetView::new(vec![edge("a", &[], false), new], fenced));
        assert!(text.contains("a     -        2a     9"), "{text}");
        assert!(text.ends_with("blog: epoch 3 is fenced since 8, and waits for a (lease 1f)\n"), "{text}");
    }

    #[test]
    fn of_many_sites_that_wait_it_names_a_few() {
        let fenced = (0..100).map(|n| (SiteName::from(format!("s{n}").as_str()), Epoch(1), Revision(8)));
        let text = listing(FleetView::new(vec![edge("a", &[], true)], fenced));
        assert_eq!(
            (text.matches("waits for a").count(), text.ends_with("... and 80 more sites wait\n")),
            (20, true)
        );
    }

    #[test]
    fn it_says_that_nobody_decides() {
        let text = listing(FleetView::new(vec![edge("b", &[], false)], []));
        assert!(text.contains("nothing moves"), "{text}");
    }
}
