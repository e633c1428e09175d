//! `ghostpin man`

use std::fs;
use std::path::PathBuf;

use clap::{Args, CommandFactory};

use super::Cli;
use super::failure::Failure;
use super::print::print;

/// Write the manual pages, one for each verb: `man DIR/ghostpin.1`.
#[derive(Args, Clone, Debug)]
pub struct ManArgs {
    /// The folder to write to; made if it isn't there.
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

impl ManArgs {
    pub(super) fn run(self) -> Result<(), Failure> {
        let folder = self.folder.display();
        fs::create_dir_all(&self.folder)
            .and_then(|()| clap_mangen::generate_to(Cli::command(), &self.folder))
            .map_err(|error| Failure::Refused(format!("{folder}: the pages can't be written: {error}")))?;
        print(&format!("{folder}/ghostpin.1, and a page for each verb beside it"))
    }
}
