//! A file in pieces: what stands above its first `[[site]]`, and each site with the tables that belong to it.
//!
//! Each piece is a little document. If the first can be read by itself, its end lies outside of every text, list and
//! comment, so the second is read in the file as it is by itself, and so on: where all pieces are valid, the file says
//! what they say. Whether they are is found out by whoever reads them.

use memchr::memmem;

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

#[cfg(test)]
mod tests {
    use super::*;

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
