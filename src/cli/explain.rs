//! `ghostpin explain`

use clap::Args;
use serde::Deserialize;

use super::access::Access;
use super::client::{encoded, read};
use super::failure::Failure;
use super::print::{print, print_json};

/// Say why a URL goes where it goes, and what a request would meet now. Nothing is sent there.
#[derive(Args, Clone, Debug)]
pub struct ExplainArgs {
    /// Such as `https://blog.example/a-post/`; the scheme may be left out.
    #[arg(value_name = "URL")]
    url: String,
    #[command(flatten)]
    access: Access,
}

#[derive(Debug, Deserialize)]
struct Explained {
    sentences: Vec<String>,
}

impl ExplainArgs {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let body = self.access.client()?.get(&format!("/v1/explain?url={}", encoded(&self.url))).await?;
        match self.access.json {
            true => print_json(&body),
            false => print(&read::<Explained>(&body)?.sentences.join("\n")),
        }
    }
}
