//! `hold.harmless_cookies`: names of cookies that no page depends on.

use std::sync::{Arc, LazyLock};

use serde::de::{Deserialize, Deserializer};

use super::defaults::DEFAULT_HOLD_HARMLESS_COOKIES;
use super::written::{Text, Written};

/// Cookies that no page depends on. Sites that say nothing of their own share one list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cookies(Arc<[CookieName]>);

impl Cookies {
    /// Whether the list has this name.
    pub fn has(&self, name: &[u8]) -> bool {
        self.0.iter().any(|one| one.is(name))
    }
}

impl Default for Cookies {
    fn default() -> Self {
        static DEFAULT: LazyLock<Cookies> = LazyLock::new(|| {
            let names = DEFAULT_HOLD_HARMLESS_COOKIES.iter();
            Cookies(names.map(|name| CookieName::read(name).expect("a name")).collect())
        });
        DEFAULT.clone()
    }
}

impl<'de> Deserialize<'de> for Cookies {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let names: Vec<Text<CookieName>> = Vec::deserialize(deserializer)?;
        Ok(Self(names.into_iter().map(|name| name.0).collect()))
    }
}

/// One name, or the beginning of many: `_ga*`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct CookieName {
    text: Box<str>,
    is_beginning: bool,
}

impl CookieName {
    fn is(&self, name: &[u8]) -> bool {
        let text = self.text.as_bytes();
        if self.is_beginning { name.starts_with(text) } else { name == text }
    }
}

impl Written for CookieName {
    const EXPECTS: &'static str = r#"the name of a cookie, or how such names begin: "_ga*""#;

    fn read(text: &str) -> Result<Self, String> {
        let (name, is_beginning) = match text.strip_suffix('*') {
            Some(beginning) => (beginning, true),
            None => (text, false),
        };
        let is_token = |byte: u8| byte.is_ascii_graphic() && !br#"()<>@,;:\"/[]?={}*"#.contains(&byte);
        if name.is_empty() && is_beginning {
            return Err("`*` would call every cookie harmless, that of a session too; name them".to_owned());
        }
        if name.is_empty() || !name.bytes().all(is_token) {
            return Err(format!("`{text}` can't be the name of a cookie; a `*` may stand at its end only"));
        }
        Ok(Self { text: name.into(), is_beginning })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn analytics_are_harmless_and_sessions_are_not() {
        let cookies = Cookies::default();
        for name in ["_ga", "_ga_4XK2", "_gid", "_pk_id.7.1fff", "_fbp"] {
            assert!(cookies.has(name.as_bytes()), "{name}");
        }
        for name in
            ["ghost-members-ssr", "ghost-admin-api-session", "ghost-private", "connect.sid", "", "a_ga"]
        {
            assert!(!cookies.has(name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn what_can_be_no_name_is_refused() {
        for text in ["", "*", "a b", "a=b", "_*_", "é"] {
            assert!(CookieName::read(text).is_err(), "{text}");
        }
    }
}
