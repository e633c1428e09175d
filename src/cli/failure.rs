//! How a verb can fail, and the exit code that says so to scripts.

use std::fmt;
use std::process::ExitCode;

use super::client::Unreachable;

/// What `--help` says about exit codes.
pub(super) const EXIT_CODES: &str = "Exit codes: 0 done, 1 refused or failed, 2 the command line is wrong, \
     3 no ghostpin could be reached, 4 there is nothing of that name, 5 not done when --wait was over, and it goes on.";

/// Why a verb did not do what it should.
#[derive(Debug)]
pub enum Failure {
    /// It was refused, or it went wrong.
    Refused(String),
    /// The command line can't be meant like that.
    Usage(String),
    /// No ghostpin answers.
    Unreachable(String),
    /// There is no such site, or no such thing as a fleet here.
    Absent(String),
    /// Nobody waits for it any more, and it goes on.
    Unfinished(String),
}

impl Failure {
    pub(super) fn code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Refused(_) => 1,
            Self::Usage(_) => 2,
            Self::Unreachable(_) => 3,
            Self::Absent(_) => 4,
            Self::Unfinished(_) => 5,
        })
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(why)
            | Self::Usage(why)
            | Self::Unreachable(why)
            | Self::Absent(why)
            | Self::Unfinished(why) => f.write_str(why),
        }
    }
}

impl From<Unreachable> for Failure {
    fn from(error: Unreachable) -> Self {
        Self::Unreachable(format!(
            "{error}\nIf it runs elsewhere, say where with --admin ADDR_OR_PATH, --config FILE or GHOSTPIN_ADMIN."
        ))
    }
}
