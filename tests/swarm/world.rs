//! A swarm that the test changes, as Docker 20.10 tells it.

use serde_json::{Value, json};

/// All of it. Its index grows with each change.
#[derive(Clone, Debug, Default)]
pub(crate) struct World {
    index: u64,
    services: Vec<Value>,
    tasks: Vec<Value>,
    nodes: Vec<Value>,
}

impl World {
    /// With three managers.
    pub(crate) fn new() -> Self {
        let mut world = Self::default();
        for number in 1..=3 {
            let index = world.next();
            world.nodes.push(json!({
                "ID": format!("m{number}"), "Version": {"Index": index}, "Spec": {"Role": "manager"},
                "Status": {"State": "ready", "Addr": format!("10.99.0.{number}")},
                "ManagerStatus": {"Reachability": "reachable", "Addr": format!("10.99.0.{number}:2377")},
            }));
        }
        world
    }

    fn next(&mut self) -> u64 {
        self.index += 1;
        self.index
    }

    /// A service with these labels, in the form `label=value`.
    pub(crate) fn service(&mut self, name: &str, labels: &[String]) {
        let index = self.next();
        let labels: serde_json::Map<String, Value> = labels
            .iter()
            .map(|label| label.split_once('=').unwrap())
            .map(|(key, value)| (key.to_owned(), value.into()))
            .collect();
        self.remove(name);
        self.services.push(json!({
            "ID": format!("id-{name}"), "Version": {"Index": index}, "CreatedAt": instant(index),
            "UpdatedAt": instant(index), "Spec": {"Name": name, "Labels": labels, "Mode": {"Replicated": {"Replicas": 1}}},
            "Endpoint": {"Spec": {}},
        }));
    }

    /// The service is gone; another one has been made meanwhile, so that the index doesn't fall.
    pub(crate) fn remove(&mut self, name: &str) {
        self.services.retain(|service| service["Spec"]["Name"] != name);
    }

    /// An update is under way, or has ended.
    pub(crate) fn updating(&mut self, name: &str, state: &str) {
        let index = self.next();
        let service = self.services.iter_mut().find(|service| service["Spec"]["Name"] == name).unwrap();
        service["Version"]["Index"] = index.into();
        service["UpdateStatus"] = json!({"State": state});
    }

    /// A task that runs at 127.0.0.`last`.
    pub(crate) fn task(&mut self, service: &str, slot: u64, id: &str, last: u8) {
        let index = self.next();
        self.tasks.push(json!({
            "ID": id, "Version": {"Index": index}, "CreatedAt": instant(index), "Labels": {}, "Spec": {},
            "ServiceID": format!("id-{service}"), "Slot": slot, "NodeID": "w1",
            "Status": {"State": "running", "ContainerStatus": {"PID": 1}, "PortStatus": {}}, "DesiredState": "running",
            "NetworksAttachments": [{"Network": {"ID": "n", "Spec": {"Name": "web"}}, "Addresses": [format!("127.0.0.{last}/8")]}],
        }));
    }

    /// A task is told to end; what its node says of it stays.
    pub(crate) fn end(&mut self, id: &str) {
        let index = self.next();
        let task = self.tasks.iter_mut().find(|task| task["ID"] == id).unwrap();
        task["Version"]["Index"] = index.into();
        task["DesiredState"] = "shutdown".into();
    }

    /// What this path is answered with.
    pub(crate) fn answer(&self, path: &str) -> Value {
        match path.split('?').next().unwrap() {
            "/info" => json!({"Swarm": {"ControlAvailable": true, "Error": "", "Cluster": {"ID": "c"}}}),
            "/services" => self.services.clone().into(),
            // Those that have ended are left out, as they were asked to be.
            "/tasks" => {
                self.tasks.iter().filter(|task| task["DesiredState"] != "shutdown").cloned().collect()
            }
            "/nodes" => self.nodes.clone().into(),
            _ => json!({"message": "page not found"}),
        }
    }
}

/// Later for a higher index, in Go's form without the zeros at the end.
fn instant(index: u64) -> String {
    let text = format!("2026-01-01T00:00:00.{index:09}");
    format!("{}Z", text.trim_end_matches('0').trim_end_matches('.'))
}
