//! `proxy_set_header`: what ghostpin tells a backend anyway, and fields of a fixed value.

use super::super::draft::Site;
use super::directives::Directive;

/// The values of a field that say what ghostpin says of every request by itself. `$server_name` is not among them: it is the
/// first name of the block, whatever was asked for.
const TOLD_ANYWAY: [(&str, &[&str]); 6] = [
    ("host", &["$host", "$http_host"]),
    ("x-forwarded-for", &["$proxy_add_x_forwarded_for", "$remote_addr"]),
    ("x-forwarded-proto", &["$scheme"]),
    ("x-forwarded-host", &["$host", "$http_host"]),
    ("upgrade", &["$http_upgrade"]),
    ("connection", &["", "upgrade", "$connection_upgrade", "$http_connection"]),
];

/// Whether nothing is lost without it.
pub(super) fn is_told_anyway(one: &Directive) -> bool {
    let [name, value] = one.args.as_slice() else { return false };
    TOLD_ANYWAY.iter().any(|(field, values)| {
        field.eq_ignore_ascii_case(name) && values.iter().any(|known| known.eq_ignore_ascii_case(value))
    })
}

pub(super) fn header(one: &Directive, site: &mut Site) {
    if is_told_anyway(one) {
        return;
    }
    let [name, value] = one.args.as_slice() else { return site.note(one.line, one.in_words()) };
    let is = |field: &str| name.eq_ignore_ascii_case(field);
    let why = if is("x-real-ip") {
        "ghostpin passes it only from a trusted proxy: let the backend go by X-Forwarded-For"
    } else if is("host") || is("upgrade") || is("connection") {
        "ghostpin makes this field by itself"
    } else if value.is_empty() {
        "ghostpin removes no field"
    } else if value.contains('$') {
        "a header field has one fixed value"
    } else {
        return site.add_header(one.line, name, value);
    };
    site.note(one.line, format!("{}: {why}", one.in_words()));
}
