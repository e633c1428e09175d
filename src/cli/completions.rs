//! `ghostpin completions`

use std::io::Write;

use clap::Args;
use clap_complete::Shell;

use super::Cli;
use super::failure::Failure;
use super::print::print;

/// Print what a shell needs to complete verbs and options: for bash, zsh or fish.
#[derive(Args, Clone, Debug)]
pub struct CompletionsArgs {
    /// The shell.
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

impl CompletionsArgs {
    pub(super) fn run(self) -> Result<(), Failure> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::shown(), "ghostpin", &mut script);
        script.flush().map_err(|error| Failure::Refused(error.to_string()))?;
        print(&String::from_utf8_lossy(&script))
    }
}
