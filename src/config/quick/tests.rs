//! What the quick way promises: nothing else comes of it than of the whole one, and it does no more than it must.

use std::fs;

use super::*;
use crate::config::tests::mutated::{Dice, mutate, seeded};

const ORIGIN: &str = "/etc/ghostpin/ghostpin.toml";
const ROUNDS: u32 = 6_000;

/// What may stand above the sites.
const HEADS: [&str; 20] = [
    "",
    "# sites\n\n",
    "[log]\naccess = true\n",
    "[hold]\ntimeout = '3s'\n",
    "[hold]\ntimeout = '4s'\n",
    "[health]\nhost = 'probe.example'\nexpect = [200, 204]\n",
    "[https]\nhsts = '5m'\n",
    "[https]\nhsts_subdomains = true\n",
    "[upstream]\nkeep_alive = '2s'\n\t",
    "\u{feff}[handoff]\r\nprove_timeout = '9s'\r\n",
    "[listen]\nhttps = ['127.0.0.1:1']\n",
    "site = []\n",
    "[site]\n",
    "[[site.route]]\n",
    "site.name = 'blog'\n",
    "[[ site ]]\nname = 'spaced'\nhosts = ['spaced']\nbackends = ['127.0.0.1:1']\n",
    "[log]\nlevel = '''\n[[site]]\n'''\n",
    "[hold]\ntimeout = 3\n",
    "include = 'none.toml'\n",
    "a = [\n",
];

/// What may follow the keys of a site that it needs.
const TAILS: [&str; 34] = [
    "",
    "\n# the next one\n",
    "app = 'generic'\n",
    "app = \"ghost\" \r\n",
    "hold.timeout = '1s'\n",
    "[site.hold]\ntimeout = '2s'\nnever = ['/a']\n",
    "[site.https]\nhsts = '1m'\n",
    "[[site.route]]\npath = '/a'\nupstream = '127.0.0.1:1'\n[[site.route]]\npath = '/b'\nupstream = '127.0.0.1:1'\n",
    "[site.headers]\nX-A = 'a'\n",
    "headers = {\n  X-A = 'a' }\n",
    "certificate = 'a.pem'\n",
    "certificate = \"\"\"\n[[site]]\n\"\"\"\n",
    "certificate = '''\n  [[site]]'''\n",
    "[site.hooks]\nfence = { command = ['./stop', '[[site]]'] }\n",
    "key = 'a.key'\n",
    "[log]\naccess = true\n",
    "[hold]\ntimeout = '5s'\n",
    "[site]\n",
    "[site.hold]\n[site.hold]\n",
    "name = 'twice'\n",
    "nope = 1\n",
    "site = 1\n",
    "[[ site ]]\nname = 'spaced'\nhosts = ['spaced']\nbackends = ['127.0.0.1:1']\n",
    "[[\"site\"]]\nname = 'quoted'\nhosts = ['quoted']\nbackends = ['127.0.0.1:1']\n",
    "[['site']]\n",
    "[[site]][[site]]\n",
    "[[site]]\n",
    "certificate = \"\"\"\n",
    "certificate = '''\n",
    "tell_epoch = [\n",
    "headers = {\n",
    "[site.health]\nhost = '*.nope'\n",
    "warm_standby = 'restart'\n",
    "[[site]",
];

/// A file in parts that tests can move about.
#[derive(Clone)]
struct Parts {
    head: &'static str,
    sites: Vec<(usize, &'static str)>,
}

impl Parts {
    fn any(dice: &mut Dice) -> Self {
        let mut parts = Self { head: any(dice, &HEADS, 11), sites: Vec::new() };
        for number in 0..dice.roll(6) {
            // Now and then one that somebody has already.
            let number = if dice.roll(20) == 0 { dice.roll(6) } else { number };
            parts.sites.push((number, any(dice, &TAILS, 11)));
        }
        parts
    }

    /// As somebody may have left it who had something to do.
    fn edit(&mut self, dice: &mut Dice) {
        let (number, count) = (dice.roll(8), self.sites.len());
        let at = dice.roll(count + 1);
        match dice.roll(5) {
            0 => self.head = any(dice, &HEADS, 11),
            1 => self.sites.insert(at, (number, any(dice, &TAILS, 11))),
            2 if at < count => drop(self.sites.remove(at)),
            3 if at < count => self.sites[at].1 = any(dice, &TAILS, 11),
            4 if at < count => self.sites.swap(at, dice.roll(count)),
            _ => {}
        }
    }

    fn text(&self) -> String {
        let sites = self.sites.iter().map(|(number, tail)| {
            format!("[[site]]\nname = 's{number}'\nhosts = ['{number}.example']\nbackends = ['127.0.0.1:1']\n{tail}")
        });
        self.head.to_owned() + &sites.collect::<String>()
    }
}

/// One of `list`; mostly of the first ones, with which nothing is wrong.
fn any(dice: &mut Dice, list: &[&'static str], right: usize) -> &'static str {
    let among = if dice.roll(8) == 0 { list.len() } else { right };
    list[dice.roll(among)]
}

/// `GHOSTPIN_SEED=N` repeats a run.
#[test]
fn in_pieces_or_as_a_whole_a_file_says_the_same() {
    let mut dice = seeded();
    let (mut quick, mut slow, mut refused) = (0, 0, 0);
    for _ in 0..ROUNDS {
        let mut text = Parts::any(&mut dice).text();
        if dice.roll(3) == 0 {
            let mut chars: Vec<char> = text.chars().collect();
            mutate(&mut chars, &mut dice);
            text = chars.into_iter().collect();
        }
        let whole = Config::parse_whole(&text, Path::new(ORIGIN));
        let in_pieces = Loaded::in_pieces(&text, Path::new(ORIGIN), None).map(|loaded| loaded.config);
        match (&whole, in_pieces) {
            (Ok(whole), Some(config)) => {
                assert_eq!(*whole, config, "of\n{text}");
                quick += 1;
            }
            (Err(errors), Some(_)) => panic!("it was read in pieces, and is wrong:\n{errors}\nin\n{text}"),
            (Ok(_), None) => slow += 1,
            (Err(_), None) => refused += 1,
        }
        assert_eq!(Config::parse(&text, Path::new(ORIGIN)), whole, "of\n{text}");
    }
    println!("{quick} in pieces, {slow} as a whole, {refused} refused");
    assert!(quick > ROUNDS / 4 && slow > 0 && refused > ROUNDS / 10, "{quick} {slow} {refused}");
}

/// `GHOSTPIN_SEED=N` repeats a run.
#[test]
fn after_any_edits_a_file_says_what_it_would_say_to_a_stranger() {
    let mut dice = seeded();
    let mut parts = Parts::any(&mut dice);
    let mut before: Option<Loaded> = None;
    let (mut shared, mut sites, mut refused) = (0, 0, 0);
    for round in 0..ROUNDS {
        if round % 20 == 0 {
            parts = Parts::any(&mut dice);
        }
        (0..dice.roll(3)).for_each(|_| parts.edit(&mut dice));
        let text = parts.text();
        let whole = Config::parse_whole(&text, Path::new(ORIGIN));
        match Loaded::parse(&text, Path::new(ORIGIN), before.as_ref()) {
            Ok(loaded) => {
                assert_eq!(Ok(&loaded.config), whole.as_ref(), "of\n{text}");
                let old = before.map_or(Vec::new(), |before| before.config.sites);
                let is_old = |site: &&Arc<Site>| old.iter().any(|old| Arc::ptr_eq(old, site));
                sites += loaded.config.sites.len();
                shared += loaded.config.sites.iter().filter(is_old).count();
                before = Some(loaded);
            }
            // What is in force stays in force, and is what the next one is compared with.
            Err(errors) => {
                assert_eq!(Err(errors), whole, "of\n{text}");
                refused += 1;
            }
        }
    }
    println!("{shared} of {sites} sites were there already, {refused} files refused");
    assert!(shared > sites / 2 && shared < sites && refused > 0, "{shared} of {sites}, {refused} refused");
}

fn site_text(name: &str, more: &str) -> String {
    format!("[[site]]\nname = '{name}'\nhosts = ['{name}.example']\nbackends = ['127.0.0.1:1']\n{more}")
}

fn load(text: &str, before: Option<&Loaded>) -> Loaded {
    Loaded::parse(text, Path::new(ORIGIN), before).unwrap_or_else(|errors| panic!("{errors}\nin\n{text}"))
}

/// As `loaded`, but with another site in the place of each: it comes back if nobody looks at its text.
fn marked(loaded: &Loaded) -> Loaded {
    let mark = |site: &Arc<Site>| Arc::new(Site { tell_epoch: true, ..Site::clone(site) });
    let sites = loaded.config.sites.iter().map(mark).collect();
    Loaded { config: Config { sites, ..loaded.config.clone() }, ..loaded.clone() }
}

fn marks(loaded: &Loaded) -> String {
    let mark = |site: &Arc<Site>| if site.tell_epoch { site.name.as_str() } else { "-" }.to_owned();
    loaded.config.sites.iter().map(mark).collect::<Vec<_>>().join(" ")
}

#[test]
fn an_unchanged_site_is_not_read_again() {
    let [a, b, c, d] = ["a", "b", "c", "d"].map(|name| site_text(name, ""));
    let other_b = site_text("b", "app = 'generic'\n");
    let before = marked(&load(&[&*a, &b, &c].concat(), None));
    for (now, marked) in [
        ([&*a, &b, &c].concat(), "a b c"),
        ([&*a, &other_b, &c].concat(), "a - c"),
        ([&*a, &b, &c, &d].concat(), "a b c -"),
        ([&*d, &a, &b, &c].concat(), "- a b c"),
        ([&*b, &c].concat(), "b c"),
        ([&*c, &a, &b].concat(), "c a b"),
        (["", ""].concat(), ""),
    ] {
        let loaded = load(&now, Some(&before));
        assert_eq!(marks(&loaded), marked, "of\n{now}");
        for site in loaded.config.sites.iter().filter(|site| site.tell_epoch) {
            assert!(before.config.sites.iter().any(|old| Arc::ptr_eq(old, site)));
        }
    }
}

#[test]
fn a_site_is_read_again_when_what_it_inherits_may_have_changed() {
    let sites = site_text("a", "") + &site_text("b", "hold.timeout = '1s'\n");
    let first = load(&format!("[hold]\ntimeout = '2s'\n{sites}"), None);
    let now = load(&format!("[hold]\ntimeout = '3s'\n{sites}"), Some(&first));
    assert_eq!(now.config.sites[0].hold.timeout.as_secs(), 3);
    // It inherits nothing of that, so it is the one that there is.
    assert!(Arc::ptr_eq(&now.config.sites[1], &first.config.sites[1]));
    let now = load(&format!("[hold]\ntimeout = '3s'\n# a remark\n{sites}"), Some(&marked(&now)));
    assert_eq!(marks(&now), "- -");
}

#[test]
fn a_site_is_read_again_when_its_file_has_moved() {
    let folder = tempfile::tempdir().unwrap();
    let main = folder.path().join("ghostpin.toml");
    for name in ["a", "b"] {
        fs::create_dir(folder.path().join(name)).unwrap();
        fs::write(folder.path().join(name).join("1.toml"), site_text("a", "certificate = 'c.pem'\n"))
            .unwrap();
    }
    fs::write(&main, "include = 'a/*.toml'\n").unwrap();
    let first = Loaded::load(&main, None).unwrap();
    // Only the digest of its folder tells the two apart.
    fs::write(&main, "include = 'b/*.toml'\n").unwrap();
    let same_head = Loaded { head: half(b"include = 'b/*.toml'\n"), ..first };
    let now = Loaded::load(&main, Some(&same_head)).unwrap();
    let certificate = &now.config.sites[0].certificate.as_ref().unwrap().certificate;
    assert_eq!(*certificate, folder.path().join("b/c.pem"));
}

#[test]
fn of_included_files_only_what_has_changed_is_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let main = folder.path().join("ghostpin.toml");
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    write("ghostpin.toml", &format!("include = 'in-*.toml'\n{}", site_text("a", "")));
    write("in-1.toml", &format!("# two\n{}{}", site_text("b", ""), site_text("c", "")));
    write("in-3.toml", &site_text("d", ""));
    let first = marked(&Loaded::load(&main, None).unwrap());
    write("in-1.toml", &format!("{}{}", site_text("b", ""), site_text("c", "app = 'generic'\n")));
    write("in-2.toml", &site_text("e", ""));
    let now = Loaded::load(&main, Some(&first)).unwrap();
    assert_eq!(marks(&now), "a b - - d");
    let names: Vec<&str> = now.config.sites.iter().map(|site| site.name.as_str()).collect();
    assert_eq!(names, ["a", "b", "c", "e", "d"]);
    // What else stands in an included file is refused, as ever.
    write("in-2.toml", &format!("[hold]\n{}", site_text("e", "")));
    let error = Loaded::load(&main, Some(&now)).unwrap_err();
    assert_eq!(Err(error), Config::parse_whole(&fs::read_to_string(&main).unwrap(), &main));
}

#[test]
fn what_two_sites_want_is_noticed_though_one_of_them_was_read_before() {
    let (a, b) = (site_text("a", ""), site_text("b", ""));
    let before = load(&[&*a, &b].concat(), None);
    let host_of_a = site_text("c", "").replace("c.example", "a.example");
    for (now, told) in [
        ([&*a, &b, &a].concat(), "`a` is the name of another site"),
        ([&*a, &b, &host_of_a].concat(), "`a.example` of site `c` already belongs to site `a`"),
    ] {
        let errors = Loaded::parse(&now, Path::new(ORIGIN), Some(&before)).unwrap_err();
        assert!(errors.to_string().contains(told), "{errors}");
        assert_eq!(Err(errors), Config::parse_whole(&now, Path::new(ORIGIN)));
    }
}

#[test]
fn a_plain_file_is_read_in_pieces() {
    let text = format!("[hold]\ntimeout = '2s'\n{}{}", site_text("a", ""), site_text("b", ""));
    assert!(Loaded::in_pieces(&text, Path::new(ORIGIN), None).is_some());
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/ghostpin.toml");
    let text = fs::read_to_string(&example).unwrap();
    assert!(Loaded::in_pieces(&text, &example, None).is_some(), "the example is");
}
