//! The quick way to a configuration: file by file and piece by piece, and of what was read before, only what has changed.
//!
//! Of a million sites one changes, and whoever reloads waits for it. So each piece is known by its digest, and one that
//! says what it said is not read again. It also keeps memory small: a parsed piece takes some KiB, and a parsed file of a
//! million of them three times what becomes of it.
//!
//! This way knows no errors. Whenever something is in doubt it gives up, and [`Config::parse`] reads all of it as a whole:
//! what is wrong is said in one place, with the lines of the file. The two ways must never differ in what they accept.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::path::Path;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use foldhash::fast::RandomState;
use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue, ValueDeserializer};

use super::errors::{ConfigErrors, Report, Source};
use super::pieces::pieces;
use super::raw::{RawFile, RawSite};
use super::site::Sites;
use super::{Config, Site, include};

/// Half of a SHA-256. Two texts with the same one are not met by accident, nor found by anybody who tries.
type Digest = [u8; 16];

/// A configuration as its files say, and what it takes to read only what changes in them: 16 bytes a site.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What they say.
    pub config: Config,
    /// Of what stands above the first site: there is written what sites get that don't say it themselves.
    head: Digest,
    /// Of the piece of each site, in the order of `config.sites`. Empty if it was not read in pieces.
    sites: Vec<Digest>,
}

impl Loaded {
    /// Like [`Config::load`]. What is as it was in `before` is not read again, and its sites are the same ones.
    ///
    /// # Errors
    /// Like [`Config::load`].
    pub fn load(path: &Path, before: Option<&Self>) -> Result<Self, ConfigErrors> {
        match include::read_text(path) {
            Ok(text) => Self::parse(&text, path, before),
            Err(error) => {
                let mut errors = ConfigErrors::default();
                errors.add(Source::new(path, "").whole(), "", format!("can't be read: {error}"));
                Err(errors.unless_any(()).expect_err("one was added"))
            }
        }
    }

    /// Like [`Config::parse`]. What is as it was in `before` is not read again, and its sites are the same ones.
    ///
    /// # Errors
    /// Like [`Config::load`].
    pub fn parse(text: &str, origin: &Path, before: Option<&Self>) -> Result<Self, ConfigErrors> {
        if let Some(loaded) = Self::in_pieces(text, origin, before) {
            return Ok(loaded);
        }
        let config = Config::parse_whole(text, origin)?;
        Ok(Self { config, head: Digest::default(), sites: Vec::new() })
    }

    /// `None` if anything is in doubt.
    pub(super) fn in_pieces(text: &str, origin: &Path, before: Option<&Self>) -> Option<Self> {
        let mut pieces = pieces(text);
        let head = pieces.next()?;
        let top = table(head)?;
        if top.get_ref().contains_key("site") {
            return None;
        }
        let span = top.span();
        let top = Spanned::new(span, DeValue::Table(top.into_inner()));
        let top = RawFile::deserialize(ValueDeserializer::from(top)).ok()?;

        let source = unnumbered(origin);
        let mut reading = Reading::new(&top, half(head.as_bytes()), before);
        reading.add_all(pieces, &source)?;
        let patterns = top.include.as_ref().map_or(&[][..], |include| &include.get_ref().0);
        for path in include::all(&source.folder(), patterns) {
            let path = path.ok()?;
            let text = include::read_text(&path).ok()?;
            let mut pieces = self::pieces(&text);
            if !table(pieces.next()?)?.get_ref().is_empty() {
                return None;
            }
            reading.add_all(pieces, &unnumbered(&path))?;
        }
        if !are_distinct(&reading.sites) {
            return None;
        }
        let Reading { head, sites, digests, .. } = reading;
        let mut errors = ConfigErrors::default();
        let report = &mut Report { source: &source, errors: &mut errors, whole: true };
        let config = Config::made_of(top, sites, report);
        (errors.count() == 0).then_some(Self { config, head, sites: digests })
    }
}

/// A file whose lines nobody asks for: who reports something has given up.
fn unnumbered(path: &Path) -> Source {
    Source::new(path, "")
}

fn table(piece: &str) -> Option<Spanned<DeTable<'_>>> {
    DeTable::parse(piece).ok()
}

fn half(text: &[u8]) -> Digest {
    let whole = digest(&SHA256, text);
    *whole.as_ref().first_chunk().expect("it has 32 bytes")
}

/// What was read so far, and what it is compared with.
struct Reading<'a> {
    top: &'a RawFile,
    head: Digest,
    sites: Vec<Arc<Site>>,
    digests: Vec<Digest>,
    before: Option<Before<'a>>,
}

impl<'a> Reading<'a> {
    fn new(top: &'a RawFile, head: Digest, before: Option<&'a Loaded>) -> Self {
        let before = before.map(|loaded| Before { loaded, next: 0, places: None });
        let expected = before.as_ref().map_or(0, |before| before.loaded.sites.len());
        let (sites, digests) = (Vec::with_capacity(expected), Vec::with_capacity(expected));
        Self { top, head, sites, digests, before }
    }

    /// Adds the sites of a file.
    fn add_all<'t>(&mut self, pieces: impl Iterator<Item = &'t str>, source: &Source) -> Option<()> {
        let mut alone = Sites::default();
        // What a piece says depends on the folder that its paths begin at.
        let mut text = digest(&SHA256, source.folder().as_os_str().as_encoded_bytes()).as_ref().to_vec();
        let folder = text.len();
        for piece in pieces {
            text.truncate(folder);
            text.extend_from_slice(piece.as_bytes());
            let digest = half(&text);
            let before = self.before.as_mut().and_then(|before| before.find(&digest));
            let site = match before {
                Some((site, head)) if head == self.head => site.clone(),
                before => {
                    let read = site(piece, self.top, &mut alone, source)?;
                    // Whatever has changed above the sites, most of them are what they were: kept once, and told at a glance.
                    before.map(|(site, _)| site).filter(|site| **site == read).cloned().unwrap_or(read)
                }
            };
            self.sites.push(site);
            self.digests.push(digest);
        }
        Some(())
    }
}

/// The site of a piece.
fn site<'s>(piece: &str, top: &RawFile, alone: &mut Sites<'s>, source: &'s Source) -> Option<Arc<Site>> {
    let mut table = table(piece)?.into_inner();
    let DeValue::Array(list) = table.remove("site")?.into_inner() else { return None };
    let mut list = list.into_iter();
    let (raw, None, true) = (list.next()?, list.next(), table.is_empty()) else { return None };
    let raw = RawSite::deserialize(ValueDeserializer::from(raw)).ok()?;
    let mut errors = ConfigErrors::default();
    alone.add(&raw, 0, top, &mut Report { source, errors: &mut errors, whole: true });
    let site = alone.take();
    if errors.count() == 0 { site } else { None }
}

/// What was read before, in the order in which it is likely to come again.
struct Before<'a> {
    loaded: &'a Loaded,
    /// The site that comes next if nothing has changed.
    next: usize,
    /// Where the others are; known since something had changed.
    places: Option<HashMap<Digest, usize, RandomState>>,
}

impl<'a> Before<'a> {
    /// The site of a piece, and the digest of what stood above it.
    fn find(&mut self, digest: &Digest) -> Option<(&'a Arc<Site>, Digest)> {
        let Loaded { config, head, sites } = self.loaded;
        let next = self.next;
        let at = if sites.get(next) == Some(digest) {
            next
        } else {
            let places = || sites.iter().copied().zip(0..).skip(next).collect();
            *self.places.get_or_insert_with(places).get(digest)?
        };
        self.next = at + 1;
        Some((config.sites.get(at)?, *head))
    }
}

/// Whether no two sites have the same name or the same host.
fn are_distinct(sites: &[Arc<Site>]) -> bool {
    // Hashes instead of texts, and sorted instead of looked up: a fifth of the memory, and most of it is near. Two that are
    // equal by accident are a doubt like any other.
    let hash = RandomState::default();
    let mut taken: Vec<u64> = Vec::with_capacity(2 * sites.len());
    for site in sites {
        taken.push(hash.hash_one(("name", site.name.as_str())));
        taken.extend(site.hosts.iter().map(|host| hash.hash_one(("host", &**host))));
    }
    taken.sort_unstable();
    taken.is_sorted_by(|one, next| one < next)
}

#[cfg(test)]
mod tests;
