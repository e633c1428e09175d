//! `ghostpin man`

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::{Args, Command, CommandFactory};
use clap_mangen::Man;

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
            .and_then(|()| write(&self.folder))
            .map_err(|error| Failure::Refused(format!("{folder}: the pages can't be written: {error}")))?;
        print(&format!("{folder}/ghostpin.1, and a page for each verb beside it"))
    }
}

fn write(folder: &Path) -> io::Result<()> {
    let mut all = Cli::command().disable_help_subcommand(true);
    all.build();
    // Of a verb alone it would be "handoff 0.1.0", as if that were a program.
    let page = |command: &Command| {
        Man::new(command.clone()).source(concat!("ghostpin ", env!("CARGO_PKG_VERSION"))).generate_to(folder)
    };
    page(&all)?;
    for verb in all.get_subcommands().filter(|verb| !verb.is_hide_set()) {
        page(verb)?;
    }
    Ok(())
}
