//! Docker Swarm, by the word of managers that the test commands: a real proxy, and what becomes of its sites and pins.

mod manager;
mod rig;
mod world;

use std::time::{Duration, Instant};

use manager::{Manager, Mode};
use rig::{Readers, Rig};

/// Things are looked at until they are as expected, or until this has passed.
const PATIENCE: Duration = Duration::from_secs(30);

/// Readers are never failed, and never told by an instance that was left.
fn in_turn(seen: &[(u16, String)], expected: &[&str]) {
    assert!(seen.iter().all(|(status, _)| *status == 200), "{seen:?}");
    let mut instances: Vec<&str> = seen.iter().map(|(_, instance)| instance.as_str()).collect();
    instances.dedup();
    assert_eq!(instances, expected);
}

#[test]
fn a_service_with_labels_is_a_site_and_its_task_the_backend() {
    let rig = Rig::new("");
    let _a = rig.instance(2);
    rig.blog();
    let proxy = rig.start();
    proxy.until_pinned(1, &rig.backend(1, 2));
    assert_eq!(proxy.get(), (200, "127.0.0.2".to_owned()));
    let service = proxy.service("blog");
    assert_eq!((&service["site"], &service["candidate"]), (&"blog".into(), &rig.backend(1, 2).into()));
    let metrics = proxy.text("/metrics");
    for line in
        ["ghostpin_swarm_services{state=\"taken\"} 1", "ghostpin_swarm_services{state=\"with_problems\"} 0"]
    {
        assert!(metrics.contains(line), "{line} in {metrics}");
    }
    // Each manager has had its turn.
    proxy.until_swarm("all answer", |swarm| {
        swarm["managers"].as_array().unwrap().iter().all(|manager| manager["state"] == "answers")
    });
}

#[test]
fn an_update_that_stops_the_old_task_first_holds_readers_until_the_new_one_is_there() {
    let rig = Rig::new("");
    let old = rig.instance(2);
    rig.blog();
    let proxy = rig.start();
    proxy.until_pinned(1, &rig.backend(1, 2));
    let readers = Readers::start(&proxy);
    readers.until_answers(20);
    rig.change(|world| {
        world.updating("blog", "updating");
        world.end("t2");
    });
    drop(old);
    rig.until_asked(3);
    let _b = rig.instance(3);
    rig.change(|world| world.task("blog", 1, "t3", 3));
    proxy.until_pinned(2, &rig.backend(1, 3));
    readers.until_answers(20);
    in_turn(&readers.stop(), &["127.0.0.2", "127.0.0.3"]);
}

#[test]
fn an_update_that_starts_the_new_task_first_moves_the_pin_while_both_run() {
    let rig = Rig::new("");
    let (_old, _new) = (rig.instance(2), rig.instance(3));
    rig.blog();
    let proxy = rig.start();
    proxy.until_pinned(1, &rig.backend(1, 2));
    let readers = Readers::start(&proxy);
    readers.until_answers(20);
    rig.change(|world| {
        world.updating("blog", "updating");
        world.task("blog", 1, "t3", 3);
    });
    proxy.until_pinned(2, &rig.backend(1, 3));
    rig.change(|world| {
        world.end("t2");
        world.updating("blog", "completed");
    });
    readers.until_answers(20);
    in_turn(&readers.stop(), &["127.0.0.2", "127.0.0.3"]);
    assert_eq!(proxy.site()["conflicts"], serde_json::json!([]));
}

#[test]
fn a_dead_nodes_task_is_left_even_if_it_still_answers() {
    let rig = Rig::new("");
    let (_zombie, _b) = (rig.instance(2), rig.instance(3));
    rig.blog();
    let proxy = rig.start();
    proxy.until_pinned(1, &rig.backend(1, 2));
    let readers = Readers::start(&proxy);
    readers.until_answers(20);
    rig.change(|world| {
        world.end("t2");
        world.task("blog", 1, "t3", 3);
    });
    proxy.until_pinned(2, &rig.backend(1, 3));
    readers.until_answers(20);
    in_turn(&readers.stop(), &["127.0.0.2", "127.0.0.3"]);
}

#[test]
fn an_address_that_is_given_to_another_site_is_no_way_to_the_old_one() {
    let rig = Rig::new("");
    let _a = rig.instance(2);
    rig.change(|world| {
        world.service("blog", &rig.labels(&["ghostpin.hold.timeout=200ms"]));
        world.task("blog", 1, "t2", 2);
    });
    let proxy = rig.start();
    proxy.until_pinned(1, &rig.backend(1, 2));
    assert_eq!(proxy.get().0, 200);
    // Its task is no more, and what is at its address now is well: another site's.
    rig.change(|world| {
        world.end("t2");
        world.service("shop", &rig.labels(&["ghostpin.site=shop", "ghostpin.hosts=shop.example"]));
        world.task("shop", 1, "t8", 2);
    });
    proxy.until("it is left", |site| site["phase"] == "vacant");
    assert_eq!(proxy.get(), (503, String::new()));
    assert_eq!(proxy.admin("/v1/sites/shop")["phase"], "serving");
}

#[test]
fn two_running_tasks_are_a_conflict_and_the_pin_stays() {
    let rig = Rig::new("");
    let (_a, _b) = (rig.instance(2), rig.instance(3));
    rig.blog();
    let mut proxy = rig.start();
    proxy.until_pinned(1, &rig.backend(1, 2));
    rig.change(|world| world.task("blog", 2, "t3", 3));
    let site = proxy.until("the alarm is raised", |site| site["conflicts"][0] == "blog.2.t3");
    assert_eq!(site["candidates"].as_array().unwrap().len(), 1, "{site:#}");
    assert_eq!(proxy.admin("/v1/status")["conflicts"], 1);
    assert_eq!(proxy.admin("/v1/journal?site=blog")[0]["kind"], "conflict");
    // The one that was pinned is meant in the next life, too.
    proxy.kill();
    let proxy = rig.start();
    proxy.until_pinned(1, &rig.backend(1, 2));
    proxy.until("the alarm is raised again", |site| site["conflicts"][0] == "blog.2.t3");
    rig.change(|world| world.end("t2"));
    let site = proxy.until_pinned(2, &rig.backend(2, 3));
    assert_eq!(site["conflicts"], serde_json::json!([]));
    assert_eq!(proxy.get(), (200, "127.0.0.3".to_owned()));
}

#[test]
fn managers_that_hang_or_fail_are_passed_over() {
    let rig = Rig::new("");
    let _a = rig.instance(2);
    rig.blog();
    rig.managers[0].is(Mode::Hang);
    rig.managers[1].is(Mode::Fail(503, "This node is not a swarm manager."));
    let mut proxy = rig.start();
    proxy.until_pinned(1, &rig.backend(1, 2));
    let swarm = proxy
        .until_swarm("two fail", |swarm| (0..2).all(|number| swarm["managers"][number]["state"] == "fails"));
    assert_eq!(swarm["managers"][1]["why"], "answers 503: This node is not a swarm manager.");
    assert_eq!(swarm["managers"][2]["state"], "answers");
    // A change is seen all the same.
    let _b = rig.instance(3);
    rig.change(|world| {
        world.end("t2");
        world.task("blog", 1, "t3", 3);
    });
    proxy.until_pinned(2, &rig.backend(1, 3));
    proxy.kill();
}

#[test]
fn when_no_manager_answers_what_is_known_stays() {
    for mode in
        [Mode::Hang, Mode::Fail(500, "rpc error: code = DeadlineExceeded desc = context deadline exceeded")]
    {
        let rig = Rig::new("");
        let _a = rig.instance(2);
        rig.blog();
        let proxy = rig.start();
        proxy.until_pinned(1, &rig.backend(1, 2));
        let readers = Readers::start(&proxy);
        rig.all_are(&mode);
        proxy.until_swarm("nobody answers", |swarm| {
            swarm["managers"].as_array().unwrap().iter().all(|manager| manager["state"] == "fails")
        });
        assert!(proxy.text("/readyz").contains("no manager of the swarm answers"));
        assert_eq!(proxy.admin("/v1/journal?kind=swarm_silent").as_array().unwrap().len(), 1);
        readers.until_answers(50);
        rig.all_are(&Mode::Well);
        proxy.until_swarm("somebody answers", |swarm| {
            swarm["managers"].as_array().unwrap().iter().any(|manager| manager["state"] == "answers")
        });
        assert_eq!(proxy.admin("/v1/journal?kind=swarm_heard").as_array().unwrap().len(), 1);
        assert_eq!(proxy.text("/readyz"), "ready\n");
        in_turn(&readers.stop(), &["127.0.0.2"]);
        assert_eq!(proxy.site()["epoch"], 1);
    }
}

#[test]
fn a_start_while_no_manager_answers_serves_what_was() {
    let rig = Rig::new("");
    let (_a, _b) = (rig.instance(2), rig.instance(3));
    rig.blog();
    let mut proxy = rig.start();
    proxy.until_pinned(1, &rig.backend(1, 2));
    proxy.kill();
    rig.all_are(&Mode::Hang);
    let proxy = rig.start();
    proxy.until_pinned(1, &rig.backend(1, 2));
    assert_eq!(proxy.get(), (200, "127.0.0.2".to_owned()));
    proxy.until_swarm("nobody answers", |swarm| swarm["managers"][0]["state"] == "fails");
    assert_eq!(proxy.get(), (200, "127.0.0.2".to_owned()));
    rig.change(|world| {
        world.end("t2");
        world.task("blog", 1, "t3", 3);
    });
    rig.all_are(&Mode::Well);
    proxy.until_pinned(2, &rig.backend(1, 3));
}

#[test]
fn no_request_for_a_services_site_fails_over_an_upgrade() {
    let rig = Rig::new("");
    let _a = rig.instance(2);
    rig.blog();
    let mut proxy = rig.start();
    proxy.until_pinned(1, &rig.backend(1, 2));
    let readers = Readers::start(&proxy);
    readers.until_answers(20);
    // What it is served as must be known without them.
    rig.all_are(&Mode::Hang);
    proxy.upgrade();
    assert_eq!(proxy.site()["backend"], rig.backend(1, 2));
    readers.until_answers(20);
    in_turn(&readers.stop(), &["127.0.0.2"]);
}

#[test]
fn a_leader_that_tells_what_was_is_not_believed() {
    let rig = Rig::new("");
    let (_a, _b) = (rig.instance(2), rig.instance(3));
    rig.blog();
    let proxy = rig.start();
    proxy.until_pinned(1, &rig.backend(1, 2));
    rig.managers[0].is(Mode::Stale(Box::new(rig.change(|world| world.clone()))));
    rig.change(|world| {
        world.end("t2");
        world.task("blog", 1, "t3", 3);
    });
    proxy.until_pinned(2, &rig.backend(1, 3));
    let readers = Readers::start(&proxy);
    let swarm = proxy.until_swarm("it is not believed", |swarm| swarm["managers"][0]["state"] == "refused");
    assert!(swarm["managers"][0]["why"].as_str().unwrap().contains("it is old"), "{swarm:#}");
    // Even if it is the only one who says anything.
    rig.managers[1].is(Mode::Hang);
    rig.managers[2].is(Mode::Hang);
    rig.until_asked(5);
    readers.until_answers(20);
    in_turn(&readers.stop(), &["127.0.0.3"]);
    assert_eq!(proxy.site()["epoch"], 2);
}

#[test]
fn a_bad_label_disables_its_service_alone_and_says_what_to_do() {
    let file = "[[site]]\nname = \"shop\"\nhosts = [\"shop.example\"]\nbackends = [\"127.0.0.1:1\"]";
    let rig = Rig::new(file);
    let _a = rig.instance(2);
    rig.blog();
    let port = format!("ghostpin.port={}", rig.port);
    let service = |site: &str, host: &str, more: &str| {
        let mut all = vec![format!("ghostpin.site={site}"), format!("ghostpin.hosts={host}"), port.clone()];
        all.extend((!more.is_empty()).then(|| more.to_owned()));
        all
    };
    rig.change(|world| {
        world.service("slow", &service("slow", "slow.example", "ghostpin.hold.timeout=5"));
        world.service("thief", &service("thief", "blog.example", ""));
        world.service("shop", &service("shop2", "shop.example", ""));
        world.service("stranger", &["com.example=1".to_owned()]);
    });
    let proxy = rig.start();
    proxy.until_pinned(1, &rig.backend(1, 2));
    let problem = |name: &str| proxy.service(name)["problems"][0].as_str().unwrap_or_default().to_owned();
    for (name, expected) in [
        ("slow", r#"label ghostpin.hold.timeout: `5` has no unit; write "5s" for seconds"#),
        (
            "thief",
            "label ghostpin.hosts: the host `blog.example` already belongs to service `blog`, which is older",
        ),
        ("shop", "label ghostpin.hosts: the host `shop.example` already belongs to site `shop` of the file"),
        ("stranger", ""),
    ] {
        let told = problem(name);
        assert!(told.starts_with(expected) && told.is_empty() == expected.is_empty(), "{name}: {told}");
    }
    assert_eq!(proxy.admin("/v1/sites").as_array().unwrap().len(), 2);
    assert_eq!(proxy.admin("/v1/journal?kind=refused_service").as_array().unwrap().len(), 3);
    // It is mended, and is a site.
    rig.change(|world| world.service("slow", &service("slow", "slow.example", "ghostpin.hold.timeout=5s")));
    proxy.until_swarm("it is taken", |_| problem("slow").is_empty());
    assert_eq!(proxy.admin("/v1/sites").as_array().unwrap().len(), 3);
}

#[test]
fn a_reload_keeps_the_services_and_a_service_keeps_the_file() {
    let file =
        |host: &str| format!("[[site]]\nname = \"shop\"\nhosts = [\"{host}\"]\nbackends = [\"127.0.0.1:1\"]");
    let rig = Rig::new(&file("shop.example"));
    let _a = rig.instance(2);
    rig.blog();
    let proxy = rig.start();
    proxy.until_pinned(1, &rig.backend(1, 2));
    let names = || -> Vec<String> {
        let sites = proxy.admin("/v1/sites");
        sites.as_array().unwrap().iter().map(|site| site["name"].as_str().unwrap().to_owned()).collect()
    };
    rig.write(&rig.addresses(), &file("other.example"));
    assert_eq!(proxy.reload(), 200);
    assert_eq!(names(), ["blog", "shop"]);
    assert_eq!(proxy.get(), (200, "127.0.0.2".to_owned()));
    // A file that is refused stays refused, whatever the swarm does.
    rig.write(&rig.addresses(), "[[site]]");
    assert_eq!(proxy.reload(), 422);
    let labels = rig.labels(&["ghostpin.hold.timeout=9s"]);
    rig.change(|world| world.service("blog", &labels));
    rig.until_asked(4);
    assert!(proxy.admin("/v1/status")["refused_update"].is_string());
    assert_eq!(names(), ["blog", "shop"]);
    // What the file says goes first.
    rig.write(&rig.addresses(), &file("blog.example"));
    assert_eq!(proxy.reload(), 200);
    assert_eq!(names(), ["shop"]);
    assert!(proxy.service("blog")["problems"][0].as_str().unwrap().contains("of the file"));
    rig.write(&rig.addresses(), "");
    assert_eq!(proxy.reload(), 200);
    proxy.until_pinned(1, &rig.backend(1, 2));
}

#[test]
fn a_removed_service_retires_its_site_and_one_that_comes_back_goes_on_counting() {
    let rig = Rig::new("");
    let _a = rig.instance(2);
    rig.blog();
    let proxy = rig.start();
    proxy.until_pinned(1, &rig.backend(1, 2));
    rig.change(|world| {
        world.end("t2");
        world.remove("blog");
        world.service("other", &["com.example=1".to_owned()]);
    });
    proxy.until("it is gone", serde_json::Value::is_null);
    assert_eq!(proxy.get().0, 404);
    let labels = rig.labels(&[]);
    rig.change(|world| {
        world.service("blog", &labels);
        world.task("blog", 1, "t9", 2);
    });
    proxy.until("it is back", |site| site["epoch"] == 2 && site["phase"] == "serving");
}

/// Two sites, of which none may be changed without somebody's word; instances at 127.0.0.2 and .3.
fn guarded() -> (Rig, [rig::Process; 2], rig::Proxy) {
    let rig = Rig::new("[guard]\nshare = 0.0\nsites = 0");
    let instances = [rig.instance(2), rig.instance(3)];
    rig.blog();
    rig.change(|world| {
        world.service("shop", &rig.labels(&["ghostpin.site=shop", "ghostpin.hosts=shop.example"]))
    });
    let proxy = rig.start();
    (rig, instances, proxy)
}

#[test]
fn a_task_that_moves_waits_for_nobodys_word() {
    let (rig, _instances, proxy) = guarded();
    proxy.until_pinned(1, &rig.backend(1, 2));
    rig.change(|world| {
        world.end("t2");
        world.task("blog", 1, "t3", 3);
    });
    proxy.until_pinned(2, &rig.backend(1, 3));
    assert_eq!(proxy.admin("/v1/status")["waiting_updates"], serde_json::json!([]));
}

#[test]
fn what_waits_for_a_word_keeps_no_site_from_following_its_task() {
    let (rig, _instances, proxy) = guarded();
    proxy.until_pinned(1, &rig.backend(1, 2));
    let labels = rig.labels(&["ghostpin.hosts=blog.example,www.blog.example"]);
    rig.change(|world| world.service("blog", &labels));
    let waiting = proxy.until_waiting();
    assert_eq!((&waiting["changed"], &waiting["of"]), (&1.into(), &2.into()));
    rig.change(|world| {
        world.end("t2");
        world.task("blog", 1, "t3", 3);
    });
    let site = proxy.until_pinned(2, &rig.backend(1, 3));
    assert_eq!(site["hosts"], serde_json::json!(["blog.example"]), "its labels wait");
    rig.until_asked(3);
    assert_eq!(proxy.until_waiting()["id"], waiting["id"], "what somebody has looked at is what waits");
    assert_eq!(proxy.post(&format!("/v1/updates/{}/confirm", waiting["id"].as_str().unwrap())), 200);
    proxy.until("it has changed", |site| site["hosts"].as_array().is_some_and(|hosts| hosts.len() == 2));
    assert_eq!(proxy.site()["epoch"], 2);
}

#[test]
fn a_label_that_leads_elsewhere_waits_for_a_word() {
    let (rig, _instances, proxy) = guarded();
    proxy.until_pinned(1, &rig.backend(1, 2));
    rig.change(|world| world.service("blog", &rig.labels(&["ghostpin.port=1"])));
    assert_eq!(proxy.until_waiting()["changed"], 1);
    // Nor does its next task lead there, before somebody has said so.
    rig.change(|world| {
        world.end("t2");
        world.task("blog", 1, "t3", 3);
    });
    rig.until_asked(3);
    proxy.until_pinned(1, &rig.backend(1, 2));
    assert_eq!(proxy.get(), (200, "127.0.0.2".to_owned()));
}

#[test]
fn a_change_of_a_service_is_seen_at_its_event() {
    let rig = Rig::new("");
    rig.write(&rig.addresses(), "interval = \"1m\"\nheld_interval = \"1m\"");
    let text = std::fs::read_to_string(rig.folder.path().join("ghostpin.toml")).unwrap();
    std::fs::write(
        rig.folder.path().join("ghostpin.toml"),
        text.replacen("held_interval = \"50ms\"\n", "", 1),
    )
    .unwrap();
    let _a = rig.instance(2);
    let proxy = rig.start();
    proxy.until_swarm("it is heard", |swarm| swarm["answers"] == 1);
    rig.blog();
    let began = Instant::now();
    // Who listens is told; who doesn't yet, with the next one.
    while proxy.service("blog")["site"] != "blog" {
        assert!(began.elapsed() < PATIENCE, "nobody listens");
        rig.shared.event();
        std::thread::sleep(Duration::from_millis(20));
    }
    proxy.until_pinned(1, &rig.backend(1, 2));
}

#[test]
fn managers_are_asked_over_tls_with_a_certificate_of_ours() {
    let rig = Rig::new("");
    let _a = rig.instance(2);
    rig.blog();
    let folder = rig.folder.path();
    let authority = |name: &str| {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        std::fs::write(folder.join(name), params.self_signed(&key).unwrap().pem()).unwrap();
        rcgen::Issuer::new(params, key)
    };
    let (ours, _theirs) = (authority("ca.pem"), authority("other.pem"));
    for name in ["server", "client"] {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        std::fs::write(folder.join(format!("{name}.pem")), params.signed_by(&key, &ours).unwrap().pem())
            .unwrap();
        std::fs::write(folder.join(format!("{name}.key")), key.serialize_pem()).unwrap();
    }
    let manager = Manager::over_tls(folder, rig.shared.clone());
    let tls = |ca: &str| format!("tls = {{ ca = \"{ca}\", cert = \"client.pem\", key = \"client.key\" }}");
    rig.write(std::slice::from_ref(&manager.address), &tls("other.pem"));
    let mut proxy = rig.start();
    let swarm = proxy.until_swarm("it is not trusted", |swarm| swarm["managers"][0]["state"] == "fails");
    assert!(swarm["managers"][0]["why"].as_str().unwrap().starts_with("TLS: "), "{swarm:#}");
    proxy.kill();
    rig.write(&[format!("tcp://{}", manager::nobody()), manager.address.clone()], &tls("ca.pem"));
    let proxy = rig.start();
    proxy.until_pinned(1, &rig.backend(1, 2));
    let swarm = proxy.until_swarm("one can't be reached", |swarm| swarm["managers"][0]["state"] == "fails");
    assert!(swarm["managers"][0]["why"].as_str().unwrap().contains("refused"), "{swarm:#}");
}

#[test]
fn of_ten_thousand_services_one_changes_and_the_others_are_left_alone() {
    let rig = Rig::new("");
    let _a = rig.instance(2);
    rig.blog();
    rig.change(|world| {
        for number in 0..10_000 {
            let name = format!("s{number}");
            world.service(
                &name,
                &[
                    format!("ghostpin.site={name}"),
                    format!("ghostpin.hosts={name}.example"),
                    "ghostpin.port=1".to_owned(),
                ],
            );
        }
    });
    rig.write(&rig.addresses(), "");
    let text = std::fs::read_to_string(rig.folder.path().join("ghostpin.toml")).unwrap();
    std::fs::write(rig.folder.path().join("ghostpin.toml"), text.replace("\"400ms\"", "\"20s\"")).unwrap();
    let proxy = rig.start();
    let began = Instant::now();
    proxy.until_pinned(1, &rig.backend(1, 2));
    println!("10,001 services are sites after {:?}", began.elapsed());
    assert_eq!(proxy.admin("/v1/status")["sites"], 10_001);
    let (before, journal) =
        (proxy.admin("/v1/status"), proxy.admin("/v1/journal?count=1000").as_array().unwrap().len());
    let began = Instant::now();
    let labels = rig.labels(&["ghostpin.hosts=blog.example,www.blog.example"]);
    rig.change(|world| world.service("blog", &labels));
    proxy.until("it has changed", |site| site["hosts"].as_array().is_some_and(|hosts| hosts.len() == 2));
    println!("a change of one of them was in force after {:?}", began.elapsed());
    let after = proxy.admin("/v1/status");
    assert_eq!(
        after["reloads"].as_u64(),
        before["reloads"].as_u64().map(|count| count + 1),
        "one change, one step"
    );
    assert_eq!(
        proxy.admin("/v1/journal?count=1000").as_array().unwrap().len(),
        journal,
        "nobody is told of the others"
    );
    assert_eq!(proxy.site()["epoch"], 1);
}
