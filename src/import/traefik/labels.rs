//! Labels of a compose or stack file, as the tree that they stand for.

use super::super::draft::Draft;
use super::super::tree::{Node, Value};

/// The configuration that the labels of all services make together, as a dynamic configuration would say it.
pub(super) fn read(services: &Node, draft: &mut Draft) -> Node {
    let mut root = Node::table(services.line);
    root.make(services.line, &["http"]);
    for (name, service) in services.entries() {
        let mut labels = labels_of(service);
        if let Some(deploy) = service.get("deploy") {
            labels.extend(labels_of(deploy));
        }
        labels.retain(|(_, key, _)| key.to_ascii_lowercase().starts_with("traefik."));
        if labels.is_empty() {
            draft.note(service.line, format!("`{name}`: it has no label of Traefik's"));
            continue;
        }
        let is_off = |(_, key, value): &&(usize, String, String)| {
            key.eq_ignore_ascii_case("traefik.enable") && value == "false"
        };
        if let Some((line, ..)) = labels.iter().find(is_off) {
            draft.note(*line, format!("`{name}`: it is not to be proxied (`traefik.enable=false`)"));
            continue;
        }
        container(name, &labels, &mut root, draft);
    }
    root
}

/// Line, name and value of each, in the form of a list (`- name=value`) or of a table.
fn labels_of(service: &Node) -> Vec<(usize, String, String)> {
    let Some(labels) = service.get("labels") else { return Vec::new() };
    // Compose writes a dollar twice.
    let value = |text: &str| text.replace("$$", "$");
    let listed = labels.items().iter().filter_map(|item| {
        let (key, text) = item.as_text()?.split_once('=')?;
        Some((item.line, key.to_owned(), value(text)))
    });
    let tabled = labels
        .entries()
        .iter()
        .filter_map(|(key, node)| Some((node.line, key.clone(), value(node.as_text()?))));
    listed.chain(tabled).collect()
}

/// The labels of one container, or of all that are alike.
fn container(name: &str, labels: &[(usize, String, String)], root: &mut Node, draft: &mut Draft) {
    let mut own = Node::table(0);
    for (line, key, value) in labels {
        let path: Vec<&str> = key.split('.').skip(1).collect();
        match path.as_slice() {
            [first, ..] if first.eq_ignore_ascii_case("http") && path.len() <= super::super::DEPTH_MAX => {
                own.make(*line, &path).value = Value::Text(value.clone());
            }
            [first] if first.eq_ignore_ascii_case("enable") => {}
            _ => draft.note(*line, format!("`{key}={value}`")),
        }
    }
    let http = own.get("http");
    if http.and_then(|http| http.get("routers")).is_none() {
        let why = "no label gives it a router (`traefik.http.routers`)";
        draft.note(labels[0].0, format!("`{name}`: {why}"));
    }
    let Some(http) = http else { return };
    let services: Vec<(String, Node)> =
        http.get("services").map(|all| all.entries().to_vec()).unwrap_or_default();
    // Whoever names no service means the only one.
    let only = match services.as_slice() {
        [] => Some(name.to_owned()),
        [(only, _)] => Some(only.clone()),
        _ => None,
    };
    if services.is_empty() && http.get("routers").is_some() {
        let why = "no label says at which port it listens (`loadbalancer.server.port`)";
        draft.note(labels[0].0, format!("`{name}`: {why}"));
    }
    for (kind, all) in http.entries() {
        for (entry, node) in all.entries() {
            let known = root.make(node.line, &["http", kind, entry]);
            match kind.to_ascii_lowercase().as_str() {
                "services" => service(name, node, known),
                "routers" => {
                    let mut router = node.clone();
                    if let (None, Some(only)) = (router.get("service"), &only) {
                        router.make(node.line, &["service"]).value = Value::Text(only.clone());
                    }
                    put(known, router, &format!("`{kind}.{entry}` of `{name}`"), draft);
                }
                _ => put(known, node.clone(), &format!("`{kind}.{entry}` of `{name}`"), draft),
            }
        }
    }
}

/// Puts what a container says of a name where no other one has said something else of it.
fn put(known: &mut Node, node: Node, what: &str, draft: &mut Draft) {
    let is_new = known.entries().is_empty() && known.as_text().is_none();
    if is_new {
        *known = node;
    } else if !known.says_as(&node) {
        draft.note(node.line, format!("{what}: it is there already, with another meaning, and was left out"));
    }
}

/// Adds the server that a service's labels are about: the container itself.
fn service(container: &str, node: &Node, known: &mut Node) {
    for (kind, inner) in node.entries() {
        for (key, value) in inner.entries() {
            if !key.eq_ignore_ascii_case("server") {
                known.make(value.line, &[kind, key]).value = value.value.clone();
                continue;
            }
            let of = |key: &str| value.get(key).and_then(Node::as_text);
            let url = match (of("url"), of("port")) {
                (Some(url), _) => url.to_owned(),
                (None, port) => {
                    format!("{}://{container}:{}", of("scheme").unwrap_or("http"), port.unwrap_or("80"))
                }
            };
            let mut server = Node::table(value.line);
            server.make(value.line, &["url"]).value = Value::Text(url);
            let servers = known.make(value.line, &[kind, "servers"]);
            match &mut servers.value {
                Value::List(all) => all.push(server),
                other => *other = Value::List(vec![server]),
            }
        }
    }
}
