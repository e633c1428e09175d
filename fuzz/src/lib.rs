//! The checks of `tests/differential/`, for fuzzers: what is wrong with an input is a panic here.

// The seeded tests use all of it.
#[allow(dead_code)]
#[path = "../../tests/differential/checks/mod.rs"]
mod checks;

fn holds(checked: Result<checks::Found, String>) {
    if let Err(why) = checked {
        panic!("{why}");
    }
}

/// What a client sends, read and written to a backend.
pub fn request(data: &[u8]) {
    holds(checks::request(data));
}

/// What a backend answers, read and written to clients.
pub fn response(data: &[u8]) {
    holds(checks::response(data));
}

/// A body in pieces.
pub fn chunked(data: &[u8]) {
    holds(checks::chunked(data));
}

/// A configuration.
pub fn config(data: &[u8]) {
    holds(checks::config(data));
}

/// What a client sends, read by ghostpin and by hyper.
pub fn differential(data: &[u8]) {
    holds(checks::differential(data));
}

/// A header of the PROXY protocol.
pub fn proxied(data: &[u8]) {
    holds(checks::proxied(data));
}

/// What a client says of who asks.
pub fn forwarded(data: &[u8]) {
    holds(checks::forwarded(data));
}
