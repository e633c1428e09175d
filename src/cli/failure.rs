//! How a verb can fail, and what says so to scripts: the exit code, and with `--json` an object on standard error.

use std::env;
use std::fmt;
use std::process::ExitCode;

use serde_json::json;

use super::client::Unanswered;
use super::print::complain;

/// What `--help` says about exit codes.
pub(super) const EXIT_CODES: &str = "Exit codes: 0 done, 1 refused or failed, 2 the command line is wrong, \
     3 no ghostpin could be reached, 4 there is nothing of that name, 5 not done when --wait was over, and it goes on, \
     6 it was asked for, and what came of it is not known.";

/// Why a verb did not do what it should.
#[derive(Debug)]
pub enum Failure {
    /// It was refused, or it went wrong.
    Refused(String),
    /// Not now: ghostpin, or what it needs for this, does not answer itself.
    Busy(String),
    /// The command line can't be meant like that.
    Usage(String),
    /// No ghostpin answers.
    Unreachable(String),
    /// There is no such site, or no such thing as a fleet here.
    Absent(String),
    /// Nobody waits for it any more, and it goes on.
    Unfinished(String),
    /// It was asked for, and there was no answer: it may have been done, or not.
    Unknown(String),
}

impl Failure {
    /// Its name and its exit code; both are documented.
    fn kind(&self) -> (&'static str, u8) {
        match self {
            Self::Refused(_) | Self::Busy(_) => ("refused", 1),
            Self::Usage(_) => ("usage", 2),
            Self::Unreachable(_) => ("unreachable", 3),
            Self::Absent(_) => ("absent", 4),
            Self::Unfinished(_) => ("unfinished", 5),
            Self::Unknown(_) => ("unknown", 6),
        }
    }

    pub(super) fn code(&self) -> ExitCode {
        ExitCode::from(self.kind().1)
    }

    /// Says it on standard error, as whoever asked wants to read it.
    pub(super) fn tell(&self) {
        if !is_json_wanted() {
            return complain(&format!("ghostpin: {self}"));
        }
        let (error, code) = self.kind();
        complain(&json!({ "error": error, "code": code, "message": self.to_string() }).to_string());
    }
}

/// Whether the command line has `--json`. Looked for by itself, for a line that can't be understood is one of the failures.
pub(super) fn is_json_wanted() -> bool {
    env::args_os().skip(1).take_while(|word| word != "--").any(|word| word == "--json")
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(why)
            | Self::Busy(why)
            | Self::Usage(why)
            | Self::Unreachable(why)
            | Self::Absent(why)
            | Self::Unfinished(why)
            | Self::Unknown(why) => f.write_str(why),
        }
    }
}

impl From<Unanswered> for Failure {
    fn from(error: Unanswered) -> Self {
        match error {
            Unanswered::Unreachable(_) => Self::Unreachable(format!(
                "{error}\nIf it runs elsewhere, say where with --admin ADDR_OR_PATH, --config FILE or GHOSTPIN_ADMIN."
            )),
            Unanswered::Open(_) => Self::Unknown(format!(
                "{error}\nSo what came of it is not known: look with `ghostpin status`, `ghostpin site` or `ghostpin journal` \
                 before you ask again."
            )),
        }
    }
}
