//! `ghostpin check`

use std::path::{Path, PathBuf};

use clap::Args;
use serde::Deserialize;
use serde_json::json;

use super::access::{Access, DEFAULT_CONFIG};
use super::client::{Client, read};
use super::failure::Failure;
use super::print::{plural, print};
use crate::config::{Config, ConfigErrors};

/// Say what is wrong with a configuration; or, if nothing is, what a reload of the running ghostpin would do.
///
/// Nothing is changed. The plan is made by the running ghostpin, for the file that it was started with.
#[derive(Args, Clone, Debug)]
pub struct CheckArgs {
    #[command(flatten)]
    access: Access,
}

/// What a reload would do, or why that is not known.
#[derive(Debug)]
enum Compared {
    With { plan: bytes::Bytes },
    Not { why: String },
}

#[derive(Debug, Deserialize)]
struct Running {
    config: PathBuf,
}

#[derive(Debug, Deserialize)]
struct Plan {
    text: String,
}

impl CheckArgs {
    /// The file that is checked. Unless it was named it says nothing of where the running ghostpin is, for there are others
    /// who say so first.
    fn file(&self) -> &Path {
        self.access.config.as_deref().unwrap_or(Path::new(DEFAULT_CONFIG))
    }

    pub(super) async fn run(self) -> Result<(), Failure> {
        let file = self.file();
        let config = match Config::load(file) {
            Ok(config) => config,
            Err(errors) => {
                if self.access.json {
                    print(&in_json(&errors).to_string())?;
                }
                let count = plural(errors.count(), "mistake");
                return Err(Failure::Refused(format!("{} has {count}:\n{errors}", file.display())));
            }
        };
        let compared = compare(&self.access.client()?, file).await;
        if self.access.json {
            let (plan, why) = match compared {
                Compared::With { plan } => (read(&plan)?, None),
                Compared::Not { why } => (serde_json::Value::Null, Some(why)),
            };
            let answer = json!({
                "ok": true, "errors": [], "sites": config.sites.len(), "plan": plan, "no_plan_because": why,
            });
            return print(&answer.to_string());
        }
        print(&format!("{} is right: {}", file.display(), summary(&config)))?;
        print(&match compared {
            Compared::With { plan } => format!("A reload: {}", read::<Plan>(&plan)?.text),
            Compared::Not { why } => format!("What a reload would do is not known: {why}"),
        })
    }
}

async fn compare(client: &Client, file: &Path) -> Compared {
    let not = |why: String| Compared::Not { why };
    let status = match client.get("/v1/status").await {
        Ok(status) => status,
        Err(Failure::Unreachable(why)) => return not(first_line(&why)),
        Err(refused) => return not(format!("the ghostpin at {} says: {refused}", client.place)),
    };
    let running = match read::<Running>(&status) {
        Ok(running) => running.config,
        Err(why) => return not(why.to_string()),
    };
    let is_same = match (running.canonicalize(), file.canonicalize()) {
        (Ok(running), Ok(file)) => running == file,
        _ => false,
    };
    if !is_same {
        return not(format!(
            "the ghostpin at {} was started with {}; put the file in its place and check again before you reload",
            client.place,
            running.display()
        ));
    }
    match client.post("/v1/plan", None).await {
        Ok(plan) => Compared::With { plan },
        Err(Failure::Unknown(why)) => not(first_line(&why)),
        Err(refused) => not(format!("the ghostpin at {} says: {refused}", client.place)),
    }
}

/// What has happened, without what to do about it: a file can be checked where no ghostpin runs.
fn first_line(why: &str) -> String {
    why.lines().next().unwrap_or_default().to_owned()
}

fn summary(config: &Config) -> String {
    let hosts = config.sites.iter().map(|site| site.hosts.len()).sum();
    let backends = config.sites.iter().map(|site| site.backends.len()).sum();
    let listening: Vec<String> = config.listen.all().map(|listener| listener.address.to_string()).collect();
    format!(
        "{}, {}, {}, listening on {}",
        plural(config.sites.len(), "site"),
        plural(hosts, "host"),
        plural(backends, "backend"),
        listening.join(", ")
    )
}

fn in_json(errors: &ConfigErrors) -> serde_json::Value {
    let each = |error: &crate::config::ConfigError| json!({ "file": error.file.display().to_string(), "line": error.line, "key": error.key, "message": error.message });
    json!({ "ok": false, "count": errors.count(), "errors": errors.iter().map(each).collect::<Vec<_>>() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_nobody_named_does_not_say_where_ghostpin_is() {
        let check = CheckArgs { access: Access::default() };
        assert_eq!(check.file(), Path::new(DEFAULT_CONFIG));
        let environment = |name: &str| (name == "GHOSTPIN_ADMIN").then(|| "h:2".to_owned());
        let client = check.access.client_in(environment, Path::new(DEFAULT_CONFIG)).unwrap();
        assert_eq!(client.place.to_string(), "h:2");
    }
}
