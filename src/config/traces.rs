//! `[traces]`: who is told what becomes of requests, step by step, and of how many.

use http::Uri;
use serde::Deserialize;
use toml::Spanned;

use super::Share;
use super::defaults::DEFAULT_TRACES_SHARE;
use super::errors::Report;
use super::written::{Text, Written};

/// `[traces]`
#[derive(Clone, Debug, PartialEq)]
pub struct Traces {
    /// Where a collector takes OTLP over HTTP.
    pub endpoint: Uri,
    /// Of the requests that nobody in front has decided about, how many are traced.
    pub share: Share,
}

/// `[traces]` as written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawTraces {
    endpoint: Option<Text<Collector>>,
    share: Option<Share>,
}

#[derive(Clone, Debug)]
struct Collector(Uri);

impl Written for Collector {
    const EXPECTS: &'static str = r#"a URL such as "http://127.0.0.1:4318/v1/traces""#;

    fn read(text: &str) -> Result<Self, String> {
        let uri: Uri = text.parse().map_err(|_| format!("`{text}` is no URL; write {}", Self::EXPECTS))?;
        let is_one = matches!(uri.scheme_str(), Some("http" | "https")) && uri.path() != "/";
        is_one.then_some(Self(uri)).ok_or_else(|| {
            format!(
                "`{text}`: write it with http:// or https://, and with its path, which is mostly /v1/traces"
            )
        })
    }
}

pub(super) fn traces(raw: &Option<Spanned<RawTraces>>, report: &mut Report<'_, '_>) -> Option<Traces> {
    let key = raw.as_ref()?;
    let RawTraces { endpoint, share } = key.get_ref();
    let Some(Text(Collector(endpoint))) = endpoint.clone() else {
        let message = r#"is missing; write endpoint = "http://127.0.0.1:4318/v1/traces", say"#;
        report.missing(key.span().start, "traces.endpoint", message);
        return None;
    };
    Some(Traces { endpoint, share: share.unwrap_or(DEFAULT_TRACES_SHARE) })
}
