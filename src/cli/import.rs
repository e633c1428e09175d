//! `ghostpin import`

use std::path::PathBuf;

use clap::Args;

use super::failure::Failure;
use super::print::print;
use crate::import::{Format, import};

/// Print the configuration of ghostpin that another proxy's file becomes, and as comments what could not be taken over.
#[derive(Args, Clone, Debug)]
pub struct ImportArgs {
    /// A `nginx.conf`, a Caddyfile, a `haproxy.cfg`, a dynamic configuration of Traefik or a compose file with its labels.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Whose file it is, if its name doesn't tell.
    #[arg(long, value_name = "PROXY")]
    from: Option<Format>,
}

impl ImportArgs {
    pub(super) fn run(self) -> Result<(), Failure> {
        print(&import(&self.file, self.from).map_err(Failure::Usage)?)
    }
}
