//! `ghostpin upgrade`

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use clap::Args;

use super::access::DEFAULT_CONFIG;
use super::failure::Failure;
use super::print::{complain, print};
use crate::config::Config;
use crate::upgrade::request::{self, Outcome, Request};

/// Have another process take over from the one that runs, without a request that fails: a new version, or the same one with
/// keys that need a restart. Returns when the new one serves. If there is anything wrong with it, the old one goes on.
#[derive(Args, Clone, Debug)]
pub struct UpgradeArgs {
    /// The configuration file. The new process reads it, and its `server.state` says which process is meant.
    #[arg(long, value_name = "FILE", default_value = DEFAULT_CONFIG)]
    config: PathBuf,
    /// The program to start. Otherwise, whatever lies now where the running one was started from.
    #[arg(value_name = "BINARY")]
    program: Option<PathBuf>,
    /// Print the outcome as JSON.
    #[arg(long)]
    json: bool,
}

impl UpgradeArgs {
    pub(super) fn run(self) -> Result<(), Failure> {
        let absolute = |path: &Path| {
            std::path::absolute(path).map_err(|error| Failure::Usage(format!("{}: {error}", path.display())))
        };
        let config = absolute(&self.config)?;
        let server = Config::load_server(&config).map_err(|errors| Failure::Refused(errors.to_string()))?;
        let program = self.program.as_deref().map(absolute).transpose()?;
        let socket = request::socket_in(&server.state);
        let request = Request { program, config: Some(config) };
        let outcome = request::ask(&socket, &request, |step| {
            if !self.json {
                complain(step);
            }
        });
        let outcome = outcome.map_err(|error| match error.kind() {
            ErrorKind::NotFound | ErrorKind::ConnectionRefused | ErrorKind::PermissionDenied => {
                Failure::Unreachable(format!(
                    "no ghostpin can be asked at {}: {error}. Is it running, as this user, with this `server.state`?",
                    socket.display()
                ))
            }
            _ => Failure::Unknown(format!(
                "the running process gives no answer: {error}\nSo what came of it is not known: look with `ghostpin status` \
                 who serves before you ask again."
            )),
        })?;
        if self.json {
            print(&serde_json::to_string(&outcome).map_err(|error| Failure::Refused(error.to_string()))?)?;
        }
        match outcome {
            Outcome::Serves { pid, version } => {
                if !self.json {
                    print(&format!("upgraded: process {pid}, version {version}, serves"))?;
                }
                Ok(())
            }
            Outcome::Ends(why) => Err(Failure::Refused(format!("not upgraded: {why}"))),
            Outcome::Failed(why) => {
                Err(Failure::Refused(format!("not upgraded, the old process goes on: {why}")))
            }
        }
    }
}
