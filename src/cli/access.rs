//! Which ghostpin a verb talks to, and what lets it in.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;

use super::client::{Client, PATIENCE, Place};
use super::failure::Failure;
use crate::config::defaults::DEFAULT_ADMIN_LISTEN;
use crate::config::{Admin, Config, ListenAddress, Secret};

/// The configuration that is looked for unless another is named.
pub(super) const DEFAULT_CONFIG: &str = "/etc/ghostpin/ghostpin.toml";

/// Options of all verbs that talk to a running ghostpin.
#[derive(Args, Clone, Debug, Default)]
pub struct Access {
    /// Address or Unix socket of the admin API. Otherwise that of --config, of the environment variable
    /// GHOSTPIN_ADMIN, of /etc/ghostpin/ghostpin.toml, or 127.0.0.1:9180.
    #[arg(long, value_name = "ADDR_OR_PATH")]
    pub admin: Option<String>,
    /// The configuration file of the running ghostpin: its [admin] table says where it is.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The admin API's token, which others on this machine can see here. Better: GHOSTPIN_TOKEN, or --token-file.
    #[arg(long, value_name = "TOKEN", conflicts_with = "token_file")]
    pub token: Option<String>,
    /// A file with the admin API's token.
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Print the answer as JSON.
    #[arg(long)]
    pub json: bool,
}

impl Access {
    /// The way to the ghostpin that is meant.
    ///
    /// # Errors
    /// A file that was named can't be used.
    pub fn client(&self) -> Result<Client, Failure> {
        self.client_in(
            |name| std::env::var(name).ok().filter(|value| !value.is_empty()),
            Path::new(DEFAULT_CONFIG),
        )
    }

    pub(super) fn client_in(
        &self,
        environment: impl Fn(&str) -> Option<String>,
        default_config: &Path,
    ) -> Result<Client, Failure> {
        let named = self.config.as_deref().map(|path| {
            Config::load_admin(path).map_err(|errors| Failure::Usage(format!("--config: {errors}")))
        });
        let named = named.transpose()?;
        let told = self.admin.clone();
        // A place that was told by itself has nothing to do with a file that happens to lie here.
        let elsewhere =
            told.clone().or_else(|| if named.is_none() { environment("GHOSTPIN_ADMIN") } else { None });
        let found = if elsewhere.is_none() && named.is_none() {
            Config::load_admin(default_config).ok()
        } else {
            None
        };
        let configured = named.or(found);
        let file = self.config.as_deref().unwrap_or(default_config).display();
        let (place, told_by) = match (elsewhere, &configured) {
            (Some(text), _) => {
                let by = if self.admin.is_some() { "--admin" } else { "GHOSTPIN_ADMIN" };
                let place = text.parse().map_err(|why| Failure::Usage(format!("{by}: {why}")))?;
                (place, format!("so says {by}"))
            }
            (None, Some(admin)) => (place(admin), format!("so says [admin] of {file}")),
            (None, None) => {
                let by = format!("where it is by default, for {file} can't be read");
                (Place::Tcp(DEFAULT_ADMIN_LISTEN.to_owned()), by)
            }
        };
        let token = match (&self.token, &self.token_file) {
            (Some(token), _) => Some(Secret(token.clone())),
            (None, Some(path)) => {
                let text = fs::read_to_string(path).map_err(|error| {
                    Failure::Usage(format!("--token-file {}: can't be read: {error}", path.display()))
                })?;
                Some(Secret(text.trim_end().to_owned()))
            }
            (None, None) => {
                environment("GHOSTPIN_TOKEN").map(Secret).or_else(|| configured.and_then(|admin| admin.token))
            }
        };
        Ok(Client { place, told_by, token, actor: actor(), patience: PATIENCE })
    }
}

fn place(admin: &Admin) -> Place {
    match &admin.listen {
        ListenAddress::Tcp(address) if address.ip().is_unspecified() => {
            Place::Tcp(format!("localhost:{}", address.port()))
        }
        ListenAddress::Tcp(address) => Place::Tcp(address.to_string()),
        ListenAddress::Unix(path) => Place::Unix(path.clone()),
    }
}

/// Who sits here.
pub(super) fn actor() -> String {
    let user = ["SUDO_USER", "USER", "LOGNAME"].iter().find_map(|name| std::env::var(name).ok());
    let user = user.unwrap_or_else(|| format!("uid-{}", rustix::process::getuid().as_raw()));
    match fs::read_to_string("/proc/sys/kernel/hostname") {
        Ok(host) => format!("{user}@{}", host.trim_end()),
        Err(_) => user,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_says_where_ghostpin_is() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::write(&path, text).unwrap();
            path
        };
        // Whatever else is wrong in the file: an operator needs the way in.
        let ours = file(
            "ours.toml",
            "surprise = 1\n[admin]\nlisten = \"./ours.sock\"\ntoken = \"of-ours\"\n[[site]]\n",
        );
        let default = file("default.toml", "[admin]\nlisten = \"127.0.0.1:3\"\ntoken = \"of-default\"");
        let nowhere = folder.path().join("nowhere.toml");
        let found = |access: &Access, environment: Option<&str>, default: &Path| {
            let environment =
                |name: &str| environment.filter(|_| name == "GHOSTPIN_ADMIN").map(str::to_owned);
            let client = access.client_in(environment, default).unwrap();
            (client.place.to_string(), client.token.map(|token| token.expose().to_owned()))
        };
        let socket = folder.path().join("./ours.sock").display().to_string();
        let mut access =
            Access { config: Some(ours), admin: Some("/run/x.sock".to_owned()), ..Access::default() };
        let of_ours = Some("of-ours".to_owned());
        assert_eq!(found(&access, Some("h:2"), &default), ("/run/x.sock".to_owned(), of_ours.clone()));
        access.admin = None;
        assert_eq!(found(&access, Some("h:2"), &default), (socket, of_ours));
        access.config = None;
        assert_eq!(found(&access, Some("h:2"), &default), ("h:2".to_owned(), None));
        assert_eq!(found(&access, None, &default), ("127.0.0.1:3".to_owned(), Some("of-default".to_owned())));
        assert_eq!(found(&access, None, &nowhere), ("127.0.0.1:9180".to_owned(), None));
        let by_default = access.client_in(|_| None, &nowhere).unwrap().told_by;
        assert!(
            by_default.starts_with("where it is by default, for ") && by_default.contains("nowhere.toml")
        );

        access.config = Some(nowhere.clone());
        let error = access.client_in(|_| None, &default).unwrap_err();
        assert!(matches!(&error, Failure::Usage(why) if why.contains("nowhere.toml")), "{error}");
    }
}
