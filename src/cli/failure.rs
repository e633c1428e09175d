//! How a verb can fail, and the exit code that says so to scripts.

use std::fmt;
use std::process::ExitCode;

use super::client::Unreachable;

/// What `--help` says about exit codes.
pub(super) const EXIT_CODES: &str = "Exit codes: 0 done, 1 refused or failed, 2 the command line is wrong, \
     3 no ghostpin could be reached.";

/// Why a verb did not do what it should.
#[derive(Debug)]
pub enum Failure {
    /// It was refused, or it went wrong.
    Refused(String),
    /// The command line can't be meant like that.
    Usage(String),
    /// No ghostpin answers.
    Unreachable(String),
}

impl Failure {
    pub(super) fn code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Refused(_) => 1,
            Self::Usage(_) => 2,
            Self::Unreachable(_) => 3,
        })
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(why) | Self::Usage(why) | Self::Unreachable(why) => f.write_str(why),
        }
    }
}

impl From<Unreachable> for Failure {
    fn from(error: Unreachable) -> Self {
        Self::Unreachable(format!(
            "{error}\nIs ghostpin running? Say where with --admin ADDR_OR_PATH, --config FILE or GHOSTPIN_ADMIN."
        ))
    }
}
