//! `ghostpin edges`

use clap::Args;

use super::access::Access;
use super::client::read;
use super::failure::Failure;
use super::print::{or_dash, print, table};
use crate::control::fleet::{EdgeView, FleetView};

/// List the edges of the fleet: who decides, and whom handoffs wait for.
#[derive(Args, Clone, Debug)]
pub struct EdgesArgs {
    #[command(flatten)]
    access: Access,
}

impl EdgesArgs {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let body = self.access.client()?.get("/v1/edges").await?;
        if self.access.json {
            print(&String::from_utf8_lossy(&body));
            return Ok(());
        }
        print(&listing(read(&body)?));
        Ok(())
    }
}

fn listing(fleet: FleetView) -> String {
    let is_led = !fleet.controller.is_empty();
    let mut text = table(["EDGE", "LEASE", "APPLIED", "WAITED FOR BY", ""], fleet.edges.into_iter().map(row));
    if !is_led {
        text += "\nNo edge decides now: nothing moves until one is elected.\n";
    }
    text
}

fn row(edge: EdgeView) -> [String; 5] {
    let marks = [(edge.controller, "controller"), (edge.this, "this one")];
    let marks: Vec<&str> = marks.into_iter().filter(|(is_so, _)| *is_so).map(|(_, word)| word).collect();
    [edge.name, edge.lease, edge.watermark.to_string(), or_dash(edge.pending.join(", ")), marks.join(", ")]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edge(name: &str, pending: &[&str], controller: bool) -> EdgeView {
        EdgeView {
            name: name.to_owned(),
            lease: "1f".to_owned(),
            watermark: 7,
            pending: pending.iter().map(|&site| site.to_owned()).collect(),
            controller,
            this: !controller,
        }
    }

    #[test]
    fn it_says_who_decides_and_who_is_waited_for() {
        let edges = vec![edge("a", &[], true), edge("b", &["blog", "shop"], false)];
        assert_eq!(
            listing(FleetView { controller: "a".to_owned(), edges }),
            "EDGE  LEASE  APPLIED  WAITED FOR BY\n\
             a     1f     7        -              controller\n\
             b     1f     7        blog, shop     this one\n"
        );
    }

    #[test]
    fn it_says_that_nobody_decides() {
        let text = listing(FleetView { controller: String::new(), edges: vec![edge("b", &[], false)] });
        assert!(text.contains("nothing moves"), "{text}");
    }
}
