use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn service(labels: &[(&str, &str)]) -> Service {
    let labels = [("ghostpin.site", "blog"), (PORT, "2368")].iter().chain(labels);
    Service {
        id: "svc".to_owned(),
        index: 10,
        created: "2026-01-01T00:00:00.000000000Z".to_owned(),
        name: "blog".to_owned(),
        labels: labels.map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
        updating: false,
        ports: Vec::new(),
    }
}

/// A task in slot 1, whose address ends in its index, and which was created when its index says.
fn task(id: &str, index: u64) -> Task {
    Task {
        id: id.to_owned(),
        index,
        created: format!("2026-01-01T00:00:{index:02}.000000000Z"),
        service: "svc".to_owned(),
        slot: 1,
        node: "n1".to_owned(),
        wanted: Life::Running,
        seen: Life::Running,
        networks: vec![attachment("web", index as u8)],
        ports: Vec::new(),
    }
}

fn attachment(network: &str, last: u8) -> Attachment {
    Attachment { network: network.to_owned(), ingress: false, addresses: vec![[10, 0, 1, last].into()] }
}

fn node(id: &str, manager: Option<bool>) -> Node {
    Node { id: id.to_owned(), index: 5, address: Some([192, 168, 0, 1].into()), manager, down: false }
}

fn managers(reached: &[bool]) -> Vec<Node> {
    reached.iter().enumerate().map(|(n, reached)| node(&format!("n{n}"), Some(*reached))).collect()
}

fn answer(tasks: &[Task]) -> Snapshot {
    Snapshot {
        cluster: Some("swarm".to_owned()),
        services: vec![service(&[])],
        tasks: tasks.to_vec(),
        nodes: managers(&[true, true, true]),
        ..Snapshot::default()
    }
}

fn over(task: Task, index: u64) -> Task {
    Task { index, wanted: Life::Over, ..task }
}

/// A swarm that has taken these in, a second apart.
fn heard(answers: &[Snapshot]) -> Swarm {
    let mut swarm = Swarm::default();
    for (at, answer) in answers.iter().enumerate() {
        swarm.take(answer, at as u32 * SECOND).unwrap_or_else(|stale| panic!("answer {at}: {stale}"));
    }
    swarm
}

fn one(swarm: &Swarm) -> &Wanted {
    let [wanted] = swarm.wanted() else { panic!("{:?}", swarm.wanted()) };
    wanted
}

fn candidate(swarm: &Swarm) -> Option<String> {
    one(swarm).candidate.as_ref().map(Backend::to_string)
}

#[test]
fn a_running_task_is_the_candidate_of_its_service() {
    let swarm = heard(&[answer(&[task("a", 20)])]);
    assert_eq!(candidate(&swarm).as_deref(), Some("blog.1.a@10.0.1.20:2368"));
    assert_eq!((one(&swarm).rivals.len(), one(&swarm).moving, swarm.index()), (0, false, 20));
}

#[test]
fn a_service_without_our_labels_is_none_of_our_business() {
    let mut other = answer(&[task("a", 20)]);
    other.services[0].labels = [("traefik.enable".to_owned(), "true".to_owned())].into();
    assert_eq!(heard(&[other]).wanted(), []);
}

#[test]
fn a_dead_nodes_task_is_no_candidate() {
    // That it runs is what the node said last.
    let swarm = heard(&[answer(&[over(task("a", 20), 21), task("b", 22)])]);
    assert_eq!(candidate(&swarm).as_deref(), Some("blog.1.b@10.0.1.22:2368"));
}

#[test]
fn a_task_that_does_not_run_yet_is_waited_for() {
    for (wanted, seen) in [(Life::Running, Life::Coming), (Life::Coming, Life::Coming)] {
        let swarm = heard(&[answer(&[Task { wanted, seen, ..task("a", 20) }])]);
        assert_eq!((candidate(&swarm).as_deref(), one(&swarm).moving), (None, true));
    }
}

#[test]
fn a_task_seen_shut_down_never_comes_back() {
    let gone = answer(&[over(task("a", 20), 21), task("b", 22)]);
    // Its node is back: its index rises above its successor's, and that is no reason.
    let mut swarm = heard(&[gone.clone(), answer(&[over(task("a", 20), 61), task("b", 59)])]);
    assert_eq!(candidate(&swarm).as_deref(), Some("blog.1.b@10.0.1.59:2368"));
    let back = answer(&[task("a", 70), task("b", 59)]);
    assert_eq!(swarm.take(&back, 2 * SECOND), Err(Stale::Returned("a".to_owned())));
    // Even if it is said for ever and nobody says otherwise.
    swarm.take(&back, 600 * SECOND).unwrap();
    assert_eq!(candidate(&swarm).as_deref(), Some("blog.1.b@10.0.1.59:2368"));
}

#[test]
fn tasks_on_a_node_that_is_down_are_lost_even_if_they_are_not_told_any_more() {
    let down = |tasks: &[Task], down| {
        let mut answer = answer(tasks);
        answer.nodes[1].down = down;
        answer
    };
    let b = Task { node: "n2".to_owned(), ..task("b", 31) };
    let mut swarm = heard(&[down(&[task("a", 20)], false), down(&[task("a", 20)], true)]);
    assert_eq!(
        (candidate(&swarm).as_deref(), &one(&swarm).lost[..]),
        (Some("blog.1.a@10.0.1.20:2368"), &["blog.1.a".to_owned()][..])
    );
    for at in 2..5 {
        swarm.take(&down(std::slice::from_ref(&b), true), at * SECOND).unwrap();
        assert_eq!(
            (candidate(&swarm).as_deref(), &one(&swarm).lost[..]),
            (Some("blog.1.b@10.0.1.31:2368"), &["blog.1.a".to_owned()][..])
        );
    }
    swarm.take(&down(&[b], false), 5 * SECOND).unwrap();
    assert_eq!(one(&swarm).lost, [""; 0], "its node is back");
}

#[test]
fn a_task_that_is_missing_twice_has_ended() {
    let (first, second) = (answer(&[task("a", 20)]), answer(&[task("b", 30)]));
    let mut swarm = heard(&[first, second.clone()]);
    assert_eq!(
        candidate(&swarm).as_deref(),
        Some("blog.1.b@10.0.1.30:2368"),
        "it is nobody's candidate at once"
    );
    let both = answer(&[task("a", 31), task("b", 30)]);
    let mut once = swarm.clone();
    once.take(&both, 2 * SECOND).unwrap();
    assert_eq!(one(&once).rivals, ["blog.1.a"], "missing once, it may be there");
    swarm.take(&second, 2 * SECOND).unwrap();
    assert_eq!(swarm.take(&both, 3 * SECOND), Err(Stale::Returned("a".to_owned())));
}

#[test]
fn a_snapshot_from_a_stale_leader_is_refused() {
    let mut swarm = heard(&[answer(&[task("a", 20)]), answer(&[over(task("a", 20), 41), task("b", 42)])]);
    let stale = answer(&[task("a", 20)]);
    let refused = swarm.take(&stale, 3 * SECOND).unwrap_err();
    assert_eq!(refused, Stale::GoneBack { object: "task a".to_owned(), index: 20, seen: 41 });
    let mut back = answer(&[task("b", 42)]);
    back.services[0].index = 9;
    let gone_back = Stale::GoneBack { object: "service svc".to_owned(), index: 9, seen: 10 };
    assert_eq!(swarm.take(&back, 3 * SECOND), Err(gone_back));
    assert_eq!(candidate(&swarm).as_deref(), Some("blog.1.b@10.0.1.42:2368"));
}

#[test]
fn a_leader_that_is_alone_is_not_believed_however_long_it_says_so() {
    let mut swarm = heard(&[answer(&[task("a", 20)])]);
    let alone = Snapshot { nodes: managers(&[true, false, false]), ..answer(&[task("b", 30)]) };
    for at in [1, 1_000] {
        assert_eq!(swarm.take(&alone, at * SECOND), Err(Stale::NoQuorum { reached: 1, managers: 3 }));
    }
    let troubled = Snapshot { error: "no leader".to_owned(), ..answer(&[task("b", 30)]) };
    assert_eq!(swarm.take(&troubled, 1_000 * SECOND), Err(Stale::Troubled("no leader".to_owned())));
    let majority = Snapshot { nodes: managers(&[true, true, false]), ..answer(&[task("b", 30)]) };
    swarm.take(&majority, SECOND).unwrap();
}

#[test]
fn a_service_that_is_missing_from_an_old_answer_stays() {
    let mut swarm = heard(&[answer(&[task("a", 20)])]);
    let mut removed = answer(&[]);
    removed.services.clear();
    let behind = swarm.take(&removed, SECOND).unwrap_err();
    assert_eq!((&behind, behind.is_trouble()), (&Stale::Behind { index: 5, seen: 20 }, false));
    assert_eq!(candidate(&swarm).as_deref(), Some("blog.1.a@10.0.1.20:2368"));
    // Nobody has heard anything newer for half a minute: it was removed.
    swarm.take(&removed, BELIEVED_AFTER).unwrap();
    assert_eq!(swarm.wanted(), []);
}

#[test]
fn a_service_that_is_missing_from_a_new_answer_is_removed_at_once() {
    let mut swarm = heard(&[answer(&[task("a", 20)])]);
    let mut removed = answer(&[]);
    removed.services[0] = Service { id: "other".to_owned(), index: 21, ..Service::default() };
    swarm.take(&removed, SECOND).unwrap();
    assert_eq!(swarm.wanted(), []);
}

#[test]
fn another_swarm_is_not_taken_for_ours() {
    let mut swarm = heard(&[answer(&[task("a", 20)])]);
    let other = Snapshot { cluster: Some("other".to_owned()), ..answer(&[task("b", 90)]) };
    assert_eq!(swarm.take(&other, SECOND), Err(Stale::OtherSwarm("other".to_owned())));
}

#[test]
fn two_running_tasks_are_a_conflict_and_nobody_guesses() {
    let second = Task { slot: 2, ..task("b", 30) };
    let both = answer(&[task("a", 20), second.clone()]);
    // The one that was alone before is meant.
    let swarm = heard(&[answer(&[task("a", 20)]), both.clone()]);
    assert_eq!(candidate(&swarm).as_deref(), Some("blog.1.a@10.0.1.20:2368"));
    assert_eq!(one(&swarm).rivals, ["blog.2.b"]);
    // Nobody was: nobody is.
    let swarm = heard(std::slice::from_ref(&both));
    assert_eq!((candidate(&swarm).as_deref(), one(&swarm).rivals.len()), (None, 2));
    // A former life has pinned one of them.
    let pin: Backend = "blog.2.b@10.0.1.30:2368".parse().unwrap();
    let mut swarm = Swarm::new([&pin]);
    swarm.take(&both, SECOND).unwrap();
    assert_eq!(candidate(&swarm).as_deref(), Some("blog.2.b@10.0.1.30:2368"));
    assert_eq!(one(&swarm).rivals, ["blog.1.a"]);
    // It is over when one is left, whichever.
    let swarm = heard(&[answer(&[task("a", 20)]), both, answer(&[over(task("a", 20), 31), second])]);
    assert_eq!(candidate(&swarm).as_deref(), Some("blog.2.b@10.0.1.30:2368"));
    assert_eq!(one(&swarm).rivals, [] as [&str; 0]);
}

#[test]
fn the_new_task_of_an_update_is_meant_while_the_old_one_still_runs() {
    let mut both = answer(&[task("a", 20), task("b", 30)]);
    // Two in one place, and nobody says why.
    let swarm = heard(&[answer(&[task("a", 20)]), both.clone()]);
    assert_eq!(
        (candidate(&swarm).as_deref(), one(&swarm).rivals.len()),
        (Some("blog.1.a@10.0.1.20:2368"), 1)
    );
    both.services[0].updating = true;
    let swarm = heard(&[answer(&[task("a", 20)]), both.clone()]);
    assert_eq!(candidate(&swarm).as_deref(), Some("blog.1.b@10.0.1.30:2368"));
    assert_eq!((&one(&swarm).rivals[..], one(&swarm).moving), (&[][..], true));
    // An update of one of two replicas is still a conflict.
    both.tasks.push(Task { slot: 2, ..task("c", 25) });
    let swarm = heard(&[answer(&[task("a", 20)]), both]);
    assert_eq!(candidate(&swarm).as_deref(), Some("blog.1.a@10.0.1.20:2368"));
    assert_eq!(one(&swarm).rivals, ["blog.2.c", "blog.1.b"]);
}

/// Each row: labels, networks, ports, the address or a word of what is wrong.
#[test]
fn a_task_is_found_where_its_labels_say() {
    let web = || attachment("web", 7);
    let ingress = || Attachment { ingress: true, ..attachment("ingress", 9) };
    let host = || Attachment { network: "host".to_owned(), ..Attachment::default() };
    let port = |target| Port { target, published: 31_000 };
    type Row<'a> = (&'a [(&'a str, &'a str)], Vec<Attachment>, Vec<Port>, &'a str);
    let table: Vec<Row<'_>> = vec![
        (&[], vec![web()], vec![], "10.0.1.7:2368"),
        (&[], vec![ingress(), web()], vec![], "10.0.1.7:2368"),
        (&[], vec![], vec![port(2368), port(2368)], "192.168.0.1:31000"),
        (&[], vec![web()], vec![port(2368)], "192.168.0.1:31000"),
        (&[(NETWORK, "web")], vec![web()], vec![port(2368)], "10.0.1.7:2368"),
        (&[(PORT, "80")], vec![web()], vec![port(2368)], "10.0.1.7:80"),
        (&[(NETWORK, "db")], vec![web(), attachment("db", 8)], vec![], "10.0.1.8:2368"),
        (&[], vec![web(), attachment("db", 8)], vec![], "ghostpin.network: is missing"),
        (&[(NETWORK, "none")], vec![web()], vec![], "not on the network `none`; it is on `web`"),
        (&[], vec![host()], vec![], "192.168.0.1:2368"),
        (&[], vec![ingress()], vec![], "--publish mode=host,target=2368"),
        (&[(PORT, "0")], vec![web()], vec![], "`0` is no port"),
        (&[(PORT, "+80")], vec![web()], vec![], "`+80` is no port"),
    ];
    for (labels, networks, ports, expected) in table {
        let mut one_task =
            answer(&[Task { networks: networks.clone(), ports, node: "n0".to_owned(), ..task("a", 20) }]);
        one_task.services = vec![service(labels)];
        let swarm = heard(&[one_task]);
        let got = match (
            &one(&swarm).candidate,
            &one(&swarm).refused.as_ref().or(one(&swarm).unreachable.as_ref()),
        ) {
            (Some(backend), None) => backend.to_string(),
            (None, Some(bad)) => bad.to_string(),
            other => panic!("{other:?}"),
        };
        assert!(got.contains(expected), "{labels:?} {networks:?}: {got}");
    }
}

#[test]
fn a_task_whose_ports_the_managers_have_forgotten_is_found_where_its_service_says() {
    let published = |port| Port { target: 2368, published: port };
    let at_node = |ports| {
        let here = Task { networks: Vec::new(), node: "n0".to_owned(), ports, ..task("a", 20) };
        let mut answer = answer(&[here]);
        answer.services[0].ports = vec![Port { target: 80, published: 80 }, published(8080)];
        candidate(&heard(&[answer]))
    };
    assert_eq!(at_node(vec![]).as_deref(), Some("blog.1.a@192.168.0.1:8080"));
    assert_eq!(
        at_node(vec![published(9090)]).as_deref(),
        Some("blog.1.a@192.168.0.1:9090"),
        "the task knows better"
    );
}

#[test]
fn a_service_without_a_port_says_what_to_add() {
    let mut bare = answer(&[task("a", 20)]);
    bare.services[0].labels.remove(PORT);
    let swarm = heard(&[bare]);
    let bad = one(&swarm).refused.as_ref().unwrap();
    assert!(bad.label == PORT && bad.why.contains("ghostpin.port=2368"), "{bad}");
}

#[test]
fn what_has_ended_is_not_remembered_for_ever() {
    let mut swarm = heard(&[answer(&[task("a", 20)])]);
    for index in 0..1_000 {
        let ended = Task { wanted: Life::Over, ..task(&format!("t{index}"), 30 + index) };
        swarm.take(&answer(&[ended, task("z", 5_000)]), SECOND).unwrap();
    }
    assert!(swarm.slots.values().all(|slot| slot.ended.len() <= ENDED_MAX));
}
