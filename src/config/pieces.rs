//! A file in pieces: what stands above its first `[[site]]`, and each site with the tables that belong to it.
//!
//! Each piece is a little document. If the first can be read by itself, its end lies outside of every text, list and
//! comment, so the second is read in the file as it is by itself, and so on: where all pieces are valid, the file says
//! what they say. Whether they are is found out by whoever reads them.

use memchr::memmem;
use toml::de::DeTable;

/// What a piece begins with, after blanks. Written in another way (`[[ site ]]`), it is part of the piece before.
const HEADER: &str = "[[site]]";

/// The pieces in the order of the file. The first one is there in any case, and has no site.
pub(super) fn pieces(text: &str) -> impl Iterator<Item = &str> {
    let lines = memmem::find_iter(text.as_bytes(), HEADER).filter_map(|at| {
        let before = text[..at].trim_end_matches([' ', '\t']);
        (before.is_empty() || before.ends_with('\n')).then_some(before.len())
    });
    let mut from = 0;
    lines.chain([text.len()]).map(move |to| {
        let piece = &text[from..to];
        from = to;
        piece
    })
}

/// What stands above the first site, if all top-level tables do; `None` if that is in doubt. Of the sites, no more is looked
/// at than how their lines begin.
pub(super) fn above_sites(text: &str) -> Option<&str> {
    let head = pieces(text).next()?;
    let below = text[head.len()..].split('\n').map(|line| line.trim_start_matches([' ', '\t']));
    let is_of_sites = |line: &str| line.starts_with("[site") || line.starts_with("[[site");
    let all = below.filter(|line| line.starts_with('[')).all(is_of_sites);
    let alone = DeTable::parse(head).is_ok_and(|head| !head.get_ref().contains_key("site"));
    (all && alone).then_some(head)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_above_the_sites_is_known_without_them() {
        let sites = "[[site]]\nname = 'a'\n [site.hold]\n  [[site.route]]\nnot TOML\n";
        assert_eq!(above_sites(&format!("[admin]\n{sites}")), Some("[admin]\n"));
        assert_eq!(above_sites("[admin]\n"), Some("[admin]\n"));
        assert_eq!(above_sites(sites), Some(""));
        for head in ["[site]\n", "a = '''\n", "[[ site ]]\n", "not TOML\n"] {
            assert_eq!(above_sites(&format!("{head}{sites}")), None, "{head}");
        }
        for below in ["[admin]", "[ admin ]", "\t['admin']", "[[admin]]", "[[ site ]]"] {
            assert_eq!(above_sites(&format!("{sites}{below}\n{sites}")), None, "{below}");
        }
    }

    #[test]
    fn a_piece_begins_where_a_line_does() {
        let split = |text: &'static str| pieces(text).collect::<Vec<_>>();
        assert_eq!(split(""), [""]);
        assert_eq!(split("a = 1\n"), ["a = 1\n"]);
        assert_eq!(split("[[site]]\na\n \t[[site]] # b"), ["", "[[site]]\na\n", " \t[[site]] # b"]);
        for one in ["# [[site]]\n", "a = [[[site]]\n", "[[ site ]]\n[[site\n]]\n", "[[site.route]]\n"] {
            assert_eq!(split(one), [one]);
        }
    }

    #[test]
    fn nothing_is_lost_between_the_pieces() {
        let text = "\u{feff}a\r\n\r\n  [[site]]\r\nb\u{fc}\n[[site]][[site]]\n\n[[site]]";
        assert_eq!(pieces(text).collect::<String>(), text);
        assert_eq!(pieces(text).count(), 4);
    }
}
