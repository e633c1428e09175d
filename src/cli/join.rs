//! `ghostpin join`

use std::path::PathBuf;

use clap::Args;

use super::access::DEFAULT_CONFIG;
use super::failure::Failure;

/// Bring the pins of this edge's store into the fleet's, with their epochs. This ghostpin must be stopped.
#[derive(Args, Clone, Debug)]
pub struct JoinArgs {
    /// The configuration file, with its [cluster] table.
    #[arg(long, value_name = "FILE", default_value = DEFAULT_CONFIG)]
    config: PathBuf,
    /// Print what became of the pins as JSON.
    #[arg(long)]
    json: bool,
}

#[cfg(feature = "cluster")]
impl JoinArgs {
    pub(super) async fn run(self) -> Result<(), Failure> {
        use super::print::print;
        use crate::cluster::join::{Joined, join};
        use crate::config::Config;
        use crate::control::store::PinStore;

        let refused = |error: &dyn std::fmt::Display| Failure::Refused(error.to_string());
        let config = Config::load(&std::path::absolute(&self.config).map_err(|error| refused(&error))?)
            .map_err(|errors| refused(&errors))?;
        let Some(cluster) = &config.cluster else {
            let why = "it has no [cluster] table: add one that names the fleet's etcd";
            return Err(Failure::Refused(format!("{}: {why}", self.config.display())));
        };
        if !config.server.state.exists() {
            let why = "there is no pin store yet, and nothing to bring along: just start ghostpin";
            return Err(Failure::Refused(format!("{}: {why}", config.server.state.display())));
        }
        // Whoever serves by this store holds it, so an edge that still runs is refused here.
        let mut store = PinStore::open(&config.server.state, false).map_err(|error| refused(&error))?.store;
        let pins = store.read_all().map_err(|error| refused(&error))?;
        let joined = join(cluster, &pins).await.map_err(|error| refused(&error))?;
        let Joined { written, raised, known } = joined;
        print(&match self.json {
            true => serde_json::json!({ "written": written, "raised": raised, "known": known }).to_string(),
            false => format!(
                "{written} pins written, {raised} of the fleet's raised to a newer epoch, {known} that the fleet has already: start ghostpin"
            ),
        })
    }
}

#[cfg(not(feature = "cluster"))]
impl JoinArgs {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let why = "this ghostpin was built without [cluster]: build with `--features cluster`";
        Err(Failure::Refused(format!("{}: {why}", self.config.display())))
    }
}
