//! From another proxy's configuration to one of ghostpin's: the sites that it proxies to, and, as comments, all that it
//! says and ghostpin was not told. Nothing is left out silently.
//!
//! What is written passes `ghostpin check`: a site that would not is written as a comment, with the reason.

mod caddy;
mod draft;
mod haproxy;
mod nginx;
mod settle;
mod traefik;
mod tree;
mod written;

use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Longer than any configuration that somebody wrote.
const FILE_BYTES_MAX: u64 = 64 << 20;
/// The byte order mark.
const MARK: char = '\u{feff}';
/// Blocks within blocks, and files that files name.
const DEPTH_MAX: usize = 32;

/// Whose configuration it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// A `nginx.conf`, with the files that it includes.
    Nginx,
    /// A Caddyfile.
    Caddy,
    /// A `haproxy.cfg`.
    Haproxy,
    /// A dynamic configuration of Traefik, as YAML or TOML, or a compose file with its labels.
    Traefik,
}

impl Format {
    /// By the file's name, or else by how its text looks.
    fn guess(path: &Path, text: &str) -> Option<Self> {
        let name = path.file_name()?.to_string_lossy().to_ascii_lowercase();
        let begins = |words: &[&str]| {
            text.lines().any(|line| words.iter().any(|word| line.split_whitespace().next() == Some(word)))
        };
        if name.contains("caddy") {
            Some(Self::Caddy)
        } else if name.ends_with(".yml")
            || name.ends_with(".yaml")
            || name.ends_with(".toml") && text.contains("[http.")
        {
            Some(Self::Traefik)
        } else if begins(&["server_name", "proxy_pass"]) {
            // Before HAProxy's words, of which nginx has `listen` and `server`, too.
            Some(Self::Nginx)
        } else if name.ends_with(".cfg")
            || begins(&["frontend", "backend", "listen"]) && begins(&["bind", "server"])
        {
            Some(Self::Haproxy)
        } else if name.ends_with(".conf") {
            Some(Self::Nginx)
        } else if begins(&["reverse_proxy"]) {
            Some(Self::Caddy)
        } else {
            None
        }
    }
}

/// The configuration of ghostpin that a file of another proxy becomes, as TOML.
///
/// # Errors
/// The file can't be read or is none of that kind: why, with its line.
pub fn import(path: &Path, format: Option<Format>) -> Result<String, String> {
    let text = text_of(path)?;
    let format = format.or_else(|| Format::guess(path, &text)).ok_or_else(|| {
        format!(
            "{}: whose configuration this is can't be told by its name: say so with --from",
            path.display()
        )
    })?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let draft = match format {
        Format::Nginx => nginx::read(&text, folder),
        Format::Caddy => caddy::read(&text),
        Format::Haproxy => haproxy::read(&text),
        Format::Traefik => traefik::read(&text),
    };
    let draft = draft.map_err(|why| format!("{}: {why}", path.display()))?;
    Ok(written::toml(draft, &path.display().to_string()))
}

fn text_of(path: &Path) -> Result<String, String> {
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text));
    match read {
        Ok(read) if read as u64 > FILE_BYTES_MAX => Err(format!("{}: longer than 64 MiB", path.display())),
        // Some editors begin a file with a mark that is no part of it.
        Ok(_) if text.starts_with(MARK) => Ok(text.split_off(MARK.len_utf8())),
        Ok(_) => Ok(text),
        Err(error) => Err(format!("{}: can't be read: {error}", path.display())),
    }
}

#[cfg(test)]
mod tests;
