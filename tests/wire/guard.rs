//! Updates that touch too many sites at once: they wait for somebody's word.

use std::fs;

use serde_json::Value;

use crate::harness::{Backend, Config, Proxy, until};

/// So many sites in front of one backend.
fn sites(backend: &Backend, count: usize) -> Config {
    (0..count).fold(Config::new(), |config, number| {
        config.site(&format!("site-{number}"), &[backend], "app = 'generic'")
    })
}

fn waiting(proxy: &Proxy) -> Vec<Value> {
    let (_, status) = proxy.admin("GET", "/v1/status", "");
    status["waiting_updates"].as_array().expect("a list").clone()
}

fn count(proxy: &Proxy) -> usize {
    proxy.admin("GET", "/v1/sites", "").1.as_array().expect("a list").len()
}

#[test]
fn a_reload_that_would_remove_most_sites_waits_for_a_word() {
    let a = Backend::named("A");
    let proxy = Proxy::start(&sites(&a, 40));
    proxy.reload(&sites(&a, 16));
    let [update] = &waiting(&proxy)[..] else { panic!("{:?}", waiting(&proxy)) };
    assert_eq!((update["removed"].as_u64(), update["of"].as_u64()), (Some(24), Some(40)));
    assert_eq!(proxy.client().get("site-39.test", "/").status, 200, "nothing was changed");
    let id = update["id"].as_str().expect("a text");
    proxy.until_logged(&format!("ghostpin confirm {id}"));

    let (status, confirmed) = proxy.admin("POST", &format!("/v1/updates/{id}/confirm"), "");
    assert_eq!((status, confirmed["removed"].as_u64()), (200, Some(24)));
    assert_eq!((count(&proxy), waiting(&proxy).len()), (16, 0));
    assert_eq!(proxy.admin("POST", &format!("/v1/updates/{id}/confirm"), "").0, 404, "once is once");
}

#[test]
fn a_word_is_for_what_was_looked_at() {
    let a = Backend::named("A");
    let proxy = Proxy::start(&sites(&a, 40));
    proxy.reload(&sites(&a, 16));
    let id = waiting(&proxy)[0]["id"].as_str().expect("a text").to_owned();
    // Somebody else writes another one meanwhile.
    proxy.write(&sites(&a, 15));
    let (status, problem) = proxy.admin("POST", &format!("/v1/updates/{id}/confirm"), "");
    assert_eq!((status, count(&proxy)), (422, 40), "{problem}");
    let other = waiting(&proxy)[0]["id"].as_str().expect("a text").to_owned();
    assert_ne!(id, other);
    assert!(problem["detail"].as_str().expect("a text").contains(&other), "{problem}");
}

#[test]
fn a_word_is_for_the_next_update_alone_whatever_becomes_of_that() {
    let a = Backend::named("A");
    let proxy = Proxy::start(&sites(&a, 40));
    proxy.reload(&sites(&a, 16));
    let id = waiting(&proxy)[0]["id"].as_str().expect("a text").to_owned();
    fs::write(proxy.path("ghostpin.toml"), "surprise = 1\n").unwrap();
    assert_eq!(proxy.admin("POST", &format!("/v1/updates/{id}/confirm"), "").0, 422);
    // The same slip again, on another day.
    proxy.reload(&sites(&a, 16));
    assert_eq!((count(&proxy), waiting(&proxy).len()), (40, 1));
}

#[test]
fn an_empty_file_takes_nothing_down_and_is_kept_for_a_look() {
    let a = Backend::named("A");
    let proxy = Proxy::start(&Config::of(&[&a]));
    fs::write(proxy.path("ghostpin.toml"), "").unwrap();
    proxy.hang_up();
    assert_eq!(proxy.get("/").text(), "A GET 0");
    assert_eq!(waiting(&proxy)[0]["removed"], 1);
    let mut kept = Vec::new();
    until("it is kept", || {
        kept = fs::read_dir(proxy.path("state/refused")).into_iter().flatten().flatten().collect();
        !kept.is_empty()
    });
    let text = fs::read_to_string(kept[0].path()).unwrap();
    assert!(text.contains("was refused:\n#   it would remove 1"), "{text}");
}

#[test]
fn what_was_refused_is_kept_beside_the_pins_of_this_process() {
    let a = Backend::named("A");
    let proxy = Proxy::start(&Config::of(&[&a]));
    let good = fs::read_to_string(proxy.path("ghostpin.toml")).unwrap();
    let elsewhere = good.replace(&proxy.path("state").display().to_string(), "./elsewhere");
    assert_ne!(good, elsewhere);
    for text in [elsewhere.clone(), elsewhere + "surprise = 1\n"] {
        fs::write(proxy.path("ghostpin.toml"), text).unwrap();
        proxy.hang_up();
    }
    assert_eq!(fs::read_dir(proxy.path("state/refused")).unwrap().count(), 1);
    assert!(!proxy.path("elsewhere").exists(), "a start would take it for a store without its pins");
}

#[test]
fn what_touches_few_sites_needs_no_word() {
    let a = Backend::named("A");
    let proxy = Proxy::start(&sites(&a, 2));
    proxy.reload(&sites(&a, 1));
    assert_eq!((count(&proxy), waiting(&proxy).len()), (1, 0));
}
