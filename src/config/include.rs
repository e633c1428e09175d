//! `include`: which files it names.

use std::collections::HashSet;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// The longest file that is read: 100,000 sites with all their keys take less than a tenth. A path that leads to a
/// device or a log is refused rather than read for ever.
const MAX_FILE_BYTES: u64 = 512 << 20;

/// The text of a file.
pub(super) fn read_text(path: &Path) -> io::Result<String> {
    let file = fs::File::open(path)?;
    // Asked for at once: a large text that grows is copied again and again.
    let expected = file.metadata().map_or(0, |about| about.len().min(MAX_FILE_BYTES) + 1);
    let mut text = String::with_capacity(expected as usize);
    let read = file.take(MAX_FILE_BYTES + 1).read_to_string(&mut text)?;
    if read as u64 > MAX_FILE_BYTES {
        return Err(io::Error::other("longer than 512 MiB, this can't be meant"));
    }
    Ok(text)
}

/// The files that `patterns` name below a folder, each once, in their order; or why one names none.
pub fn all(folder: &Path, patterns: &[String]) -> Vec<Result<PathBuf, String>> {
    let mut all = Vec::new();
    for pattern in patterns {
        match files(folder, pattern) {
            Ok(files) => all.extend(files.into_iter().map(Ok)),
            Err(why) => all.push(Err(why)),
        }
    }
    // Two patterns may match one file; one alone doesn't.
    if patterns.len() > 1 {
        let mut seen = HashSet::new();
        all.retain(|file| file.as_ref().map_or(true, |path| seen.insert(path.clone())));
    }
    all
}

/// The files that `pattern` names, in the order of their names. A pattern may match none; a plain path is returned as
/// it is, for whoever reads it to find out that it isn't there.
fn files(folder: &Path, pattern: &str) -> Result<Vec<PathBuf>, String> {
    let path = folder.join(pattern);
    let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
        return Err(format!("`{pattern}` names no file"));
    };
    // Only what was written is a pattern: the folder of the configuration may have any name.
    let written = Path::new(pattern).parent().unwrap_or(Path::new(""));
    if is_pattern(&written.to_string_lossy()) {
        return Err(format!("`{pattern}`: `*` and `?` may stand in the file's name, not in the folder's"));
    }
    if !is_pattern(name) {
        return Ok(vec![path]);
    }
    let parent = path.parent().unwrap_or(Path::new(""));
    let listed = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
    let mut found = Vec::new();
    let entries = match fs::read_dir(listed) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
        Err(error) => return Err(format!("`{}` can't be listed: {error}", listed.display())),
    };
    for entry in entries {
        let entry = entry.map_err(|error| format!("`{}` can't be listed: {error}", listed.display()))?;
        // Editors leave `.name.toml` and the like beside the file that is being written.
        let file = entry.file_name();
        if file.to_str().is_some_and(|file| !file.starts_with('.') && matches(name, file)) {
            found.push(parent.join(file));
        }
    }
    found.sort();
    Ok(found)
}

fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?'])
}

/// `*` stands for any characters, `?` for one.
fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    let (mut p, mut n) = (0, 0);
    // Where to go on if what follows the last `*` did not fit: that star may swallow one more.
    let mut retry: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some('*') => {
                p += 1;
                retry = Some((p, n + 1));
            }
            Some(&c) if c == '?' || c == name[n] => (p, n) = (p + 1, n + 1),
            _ => match retry {
                Some((after_star, from)) => {
                    (p, n) = (after_star, from);
                    retry = Some((after_star, from + 1));
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_and_question_marks_match_file_names() {
        for (pattern, name) in
            [("*.toml", "a.toml"), ("*", ""), ("a*b*c", "a-b-b-c"), ("??", "ab"), ("*a", "aaa"), ("a", "a")]
        {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [("*.toml", "a.toml~"), ("?", ""), ("a*b", "acbd"), ("", "a"), ("*a?", "aab-")]
        {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
    }

    #[test]
    fn a_pattern_finds_files_in_order_and_skips_hidden_ones() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["b.toml", "a.toml", ".c.toml", "d.toml.bak"] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        let found = files(folder.path(), "*.toml").unwrap();
        assert_eq!(found, [folder.path().join("a.toml"), folder.path().join("b.toml")]);
        assert_eq!(files(folder.path(), "none/*.toml").unwrap(), [] as [PathBuf; 0]);
        assert_eq!(files(folder.path(), "plain.toml").unwrap(), [folder.path().join("plain.toml")]);
        assert!(files(folder.path(), "*/a.toml").unwrap_err().contains("folder"));
        assert!(files(folder.path(), "..").is_err());
    }
}
