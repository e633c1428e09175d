use super::*;

/// As Docker 20.10.24 answers, but for fields that are not looked at.
fn recorded() -> Answers {
    let info = r#"{"ID":"X","Swarm":{"NodeID":"n1","LocalNodeState":"active","ControlAvailable":true,"Error":"",
        "Nodes":5,"Managers":3,"Cluster":{"ID":"c1","Version":{"Index":10}}}}"#;
    let services = r#"[{"ID":"s1","Version":{"Index":20},"CreatedAt":"2026-01-02T03:04:05.1Z",
        "UpdatedAt":"2026-01-02T03:04:05.1Z","Spec":{"Name":"blog","Labels":{"ghostpin.site":"blog"},
        "TaskTemplate":{"ContainerSpec":{"Image":"x"}},"Mode":{"Replicated":{"Replicas":1}}},"Endpoint":{"Spec":{}},
        "UpdateStatus":{"State":"updating","Message":"update in progress"}},
        {"ID":"s2","Version":{"Index":21},"CreatedAt":"2026-01-02T03:04:05Z","Spec":{"Name":"x","Labels":null}}]"#;
    let tasks = r#"[{"ID":"t1","Version":{"Index":30},"CreatedAt":"2026-01-02T03:04:06.123456789Z","Labels":{},
        "Spec":{},"ServiceID":"s1","Slot":1,"NodeID":"n2","Status":{"Timestamp":"x","State":"running",
        "Message":"started","ContainerStatus":{"ContainerID":"c","PID":1,"ExitCode":0},"PortStatus":{"Ports":[
        {"Protocol":"tcp","TargetPort":2368,"PublishedPort":8080,"PublishMode":"host"},
        {"Protocol":"udp","TargetPort":53,"PublishedPort":53,"PublishMode":"host"}]}},"DesiredState":"running",
        "NetworksAttachments":[{"Network":{"ID":"i","Spec":{"Name":"ingress","Ingress":true}},"Addresses":["10.0.0.9/24"]},
        {"Network":{"ID":"w","Spec":{"Name":"web","Labels":{}}},"Addresses":["10.0.1.3/24"]}]},
        {"ID":"t2","Version":{"Index":31},"CreatedAt":"2026-01-02T03:04:06Z","ServiceID":"s1","NodeID":"n1",
        "Status":{"State":"running","PortStatus":{}},"DesiredState":"shutdown"}]"#;
    let nodes = r#"[{"ID":"n1","Version":{"Index":9},"Spec":{"Role":"manager"},"Status":{"State":"ready","Addr":"0.0.0.0"},
        "ManagerStatus":{"Leader":true,"Reachability":"reachable","Addr":"192.168.0.1:2377"}},
        {"ID":"n2","Version":{"Index":11},"Status":{"State":"unknown","Message":"x","Addr":"192.168.0.2"}},
        {"ID":"n3","Version":{"Index":12},"Status":{"State":"down","Addr":"192.168.0.3"},
        "ManagerStatus":{"Reachability":"unreachable","Addr":"192.168.0.3:2377"}}]"#;
    let [info, services, tasks, nodes] = [info, services, tasks, nodes].map(|text| text.as_bytes().to_vec());
    Answers { info, services, tasks, nodes }
}

#[test]
fn what_a_manager_says_is_read() {
    let snapshot = recorded().read().unwrap();
    assert_eq!((snapshot.cluster.as_deref(), snapshot.error.as_str()), (Some("c1"), ""));
    let service = &snapshot.services[0];
    assert_eq!((service.name.as_str(), service.index, service.updating), ("blog", 20, true));
    assert_eq!(service.created, "2026-01-02T03:04:05.100000000Z");
    assert!(!snapshot.services[1].updating && snapshot.services[1].labels.is_empty());
    let task = &snapshot.tasks[0];
    assert_eq!((task.slot, task.wanted, task.seen), (1, Life::Running, Life::Running));
    assert_eq!(task.ports, [Port { target: 2368, published: 8080 }]);
    let on: Vec<String> =
        task.networks.iter().map(|on| format!("{} {:?} {}", on.network, on.addresses, on.ingress)).collect();
    assert_eq!(on, ["ingress [10.0.0.9] true", "web [10.0.1.3] false"]);
    assert_eq!((snapshot.tasks[1].wanted, snapshot.tasks[1].slot), (Life::Over, 0));
}

/// What the service says of its ports now, and what it said before its last change, if there was one.
#[test]
fn a_service_tells_of_those_ports_that_all_its_tasks_have() {
    let spec =
        |ports: &str| format!(r#"{{"Name":"blog","EndpointSpec":{{"Mode":"vip","Ports":[{ports}]}}}}"#);
    let port = |target, published, mode| {
        format!(
            r#"{{"Protocol":"tcp","TargetPort":{target},"PublishedPort":{published},"PublishMode":"{mode}"}}"#
        )
    };
    let told = |spec: &str, more: &str| {
        let service = format!(r#"[{{"ID":"s1","Version":{{"Index":20}},"Spec":{spec}{more}}}]"#);
        let snapshot = Answers { services: service.into_bytes(), ..recorded() }.read().unwrap();
        snapshot.services[0].ports.iter().map(|port| (port.target, port.published)).collect::<Vec<_>>()
    };
    let both = spec(&[port(2368, 8080, "host"), port(80, 80, "ingress"), port(81, 0, "host")].join(","));
    assert_eq!(
        told(&both, ""),
        [(2368, 8080)],
        "neither the mesh’s, nor one that each task has another one of"
    );
    assert_eq!(told(&both, &format!(r#","PreviousSpec":{both}"#)), [(2368, 8080)]);
    let other = spec(&port(2368, 8081, "host"));
    assert_eq!(told(&both, &format!(r#","PreviousSpec":{other}"#)), [], "a task may have that of either");
    assert_eq!(told(&both, r#","PreviousSpec":{"Name":"blog"}"#), []);
}

#[test]
fn a_node_is_where_it_says_whatever_its_state_is() {
    let nodes = recorded().read().unwrap().nodes;
    let told: Vec<String> =
        nodes.iter().map(|node| format!("{:?} {:?}", node.address.unwrap(), node.manager)).collect();
    assert_eq!(told, ["192.168.0.1 Some(true)", "192.168.0.2 None", "192.168.0.3 Some(false)"]);
    assert_eq!(
        nodes.iter().map(|node| node.down).collect::<Vec<_>>(),
        [false, false, true],
        "`unknown` is not down"
    );
}

#[test]
fn what_is_no_manager_or_no_answer_says_so() {
    let worker = Answers { info: br#"{"Swarm":{"ControlAvailable":false}}"#.to_vec(), ..recorded() };
    assert!(worker.read().unwrap_err().contains("no manager"));
    let garbled = Answers { tasks: b"[{\"ID\": 5}]".to_vec(), ..recorded() };
    assert!(garbled.read().unwrap_err().starts_with("/tasks: its answer can't be read"));
    assert_eq!(message(br#"{"message":"rpc error"}"#), "rpc error");
    assert_eq!(message(b"<html>"), "");
}

#[test]
fn instants_have_the_order_of_time() {
    let order = [
        "2026-01-02T03:04:05Z",
        "2026-01-02T03:04:05.1Z",
        "2026-01-02T03:04:05.12Z",
        "2026-01-02T03:04:05.2Z",
    ];
    let read: Vec<String> = order.iter().map(|text| instant(text)).collect();
    assert!(read.is_sorted(), "{read:?}");
}

/// A task moves from `new` to one of its ends, and a state that nobody knows yet is none of them.
#[test]
fn only_running_is_running() {
    for state in ["new", "pending", "assigned", "accepted", "preparing", "ready", "starting", "", "hovering"]
    {
        assert_eq!(life(state), Life::Coming, "{state}");
    }
    for state in ["complete", "shutdown", "failed", "rejected", "remove", "orphaned"] {
        assert_eq!(life(state), Life::Over, "{state}");
    }
}
