//! `ghostpin certs`

use clap::Args;

use super::access::Access;
use super::client::{encoded, read};
use super::failure::Failure;
use super::print::{bad, fair, good, or_dash, plural, table, time};
use super::watch::{Feed, Shown, Watch};
use crate::certs::CertificateView;

/// Names of one certificate that are listed.
const NAMES_SHOWN: usize = 3;

/// List the certificates: names, source, end, and what is wrong with them.
#[derive(Args, Clone, Debug)]
pub struct CertsArgs {
    /// Only those with a problem.
    #[arg(long)]
    problems: bool,
    /// Only those for this host.
    #[arg(long)]
    host: Option<String>,
    #[command(flatten)]
    watch: Watch,
    #[command(flatten)]
    access: Access,
}

impl CertsArgs {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let mut path = format!("/v1/certificates?problems={}", self.problems);
        if let Some(host) = &self.host {
            path += &format!("&host={}", encoded(host));
        }
        let shown = Shown { access: &self.access, watch: &self.watch, path, feed: Feed::Of("file") };
        shown.run(|body| Ok(listing(read(body)?))).await
    }
}

fn listing(certificates: Vec<CertificateView>) -> String {
    if certificates.is_empty() {
        return "no certificate of that kind".to_owned();
    }
    let problems: Vec<String> = certificates
        .iter()
        .filter(|certificate| !certificate.problem.is_empty())
        .map(|certificate| {
            let served = if certificate.serving { " (the last good one is served)" } else { "" };
            format!("{}{served}", certificate.problem)
        })
        .collect();
    let head = ["NAMES", "SOURCE", "STATE", "VALID UNTIL", "ISSUER", "FILE"];
    let mut text = table(head, certificates.into_iter().map(row));
    if !problems.is_empty() {
        text += &format!("\n{}:\n{}\n", plural(problems.len(), "problem"), problems.join("\n"));
    }
    text
}

fn row(certificate: CertificateView) -> [String; 6] {
    let CertificateView { file, source, site, serving, read, names, issuer, not_after_ms, problem, .. } =
        certificate;
    let more = names.len().saturating_sub(NAMES_SHOWN);
    let mut shown = names.into_iter().take(NAMES_SHOWN).collect::<Vec<_>>().join(", ");
    if more > 0 {
        shown += &format!(" and {more} more");
    }
    let state = match (serving, read, problem.is_empty()) {
        (true, _, true) => good("serving"),
        (true, _, false) => bad("serving, problem"),
        (false, false, _) => fair("not read yet"),
        (false, true, _) => bad("not served"),
    };
    let end = if not_after_ms == 0 { String::new() } else { time(not_after_ms) };
    let source = if site.is_empty() { source } else { format!("site {site}") };
    [or_dash(shown), source, state, or_dash(end), or_dash(issuer), file]
}

#[cfg(test)]
mod tests {
    use anstream::adapter::strip_str;

    use super::*;

    fn certificate(name: &str, problem: &str, serving: bool) -> CertificateView {
        CertificateView {
            file: format!("/certs/{name}.crt"),
            key: format!("/certs/{name}.key"),
            source: "folder".to_owned(),
            site: String::new(),
            serving,
            read: true,
            names: vec![name.to_owned()],
            issuer: if serving { "CA".to_owned() } else { String::new() },
            not_before_ms: 0,
            not_after_ms: if serving { 86_400_000 } else { 0 },
            problem: problem.to_owned(),
        }
    }

    #[test]
    fn problems_are_told_below_the_table() {
        let listed =
            listing(vec![certificate("a.b", "", true), certificate("c.d", "/certs/c.d.crt: broken", false)]);
        assert_eq!(
            strip_str(&listed).to_string(),
            "NAMES  SOURCE  STATE       VALID UNTIL           ISSUER  FILE\n\
             a.b    folder  serving     1970-01-02 00:00:00Z  CA      /certs/a.b.crt\n\
             c.d    folder  not served  -                     -       /certs/c.d.crt\n\
             \n1 problem:\n/certs/c.d.crt: broken\n"
        );
    }
}
