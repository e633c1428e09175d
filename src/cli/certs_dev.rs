//! `ghostpin certs-dev`

use std::path::{Path, PathBuf};

use clap::Args;

use super::failure::Failure;
use super::print::print;
use crate::certs_dev::{CERTIFICATES, DEFAULT_NAMES, Made, Name, make};

/// Make certificates for development: an authority of your own (once), and a new certificate for each name.
///
/// Browsers that are told to trust `ca.crt` accept all of them, now and later. Nothing here is for servers that others
/// use. No file is overwritten but certificates of this authority.
#[derive(Args, Clone, Debug)]
pub struct CertsDevArgs {
    /// The folder to write to: ca.crt, ca.key, and certificates/ with NAME.crt and NAME.key.
    #[arg(long, value_name = "FOLDER", default_value = "certs-dev")]
    out: PathBuf,
    /// Hosts such as `blog.example` or `*.blog.example` (its files are called `_.blog.example`), or IP addresses.
    /// Without any, the names of the configuration that comes with ghostpin, and `localhost`.
    #[arg(value_name = "NAME", default_values_t = DEFAULT_NAMES.iter().map(|name| name.parse::<Name>().expect("our own names are right")))]
    names: Vec<Name>,
    /// Print what was made as JSON.
    #[arg(long)]
    json: bool,
}

impl CertsDevArgs {
    pub(super) fn run(self) -> Result<(), Failure> {
        let made = make(&self.out, &self.names).map_err(|error| Failure::Refused(error.to_string()))?;
        if self.json {
            let shown = |path: &PathBuf| path.display().to_string();
            let certificates: Vec<String> = made.certificates.iter().map(shown).collect();
            let answer = serde_json::json!({
                "authority": shown(&made.authority), "is_new": made.is_new, "certificates": certificates,
            });
            return print(&answer.to_string());
        }
        print(&report(&made, &self.out.join(CERTIFICATES)))
    }
}

fn report(made: &Made, folder: &Path) -> String {
    let ca = made.authority.display();
    let mut text = match made.is_new {
        true => format!("{ca}: a new authority, for 10 years; its key lies beside it\n"),
        false => format!("{ca}: used again; whoever trusts it needs no other\n"),
    };
    for certificate in &made.certificates {
        text += &format!("{}: a new certificate, for 397 days\n", certificate.display());
    }
    text += &format!("\nIn ghostpin.toml:\n  [tls]\n  certificates = \"{}\"\n", folder.display());
    if made.is_new {
        text += &format!(
            "
Clients that are to trust it:
  curl       curl --cacert {ca} https://localhost:8443/
  Chromium   store=$HOME/.pki/nssdb; [ -d $store ] || store=$HOME/.local/share/pki/nssdb; mkdir -p $store
             certutil -d sql:$store -A -t C,, -n ghostpin-dev -i {ca}   (Debian: libnss3-tools)
  Firefox    Settings, Privacy & Security, View Certificates, Authorities, Import: {ca}
  Debian     sudo cp {ca} /usr/local/share/ca-certificates/ghostpin-dev.crt && sudo update-ca-certificates
"
        );
    }
    text
}
