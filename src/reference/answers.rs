//! What readers are answered by ghostpin itself, and what the admin API refuses.

use std::sync::Arc;

use serde_json::Value;

use super::{code, table};
use crate::admin::DOCUMENT;
use crate::config::Pages;
use crate::proxy::Body;
use crate::proxy::answer::{Asker, Refusal};

pub(super) fn told() -> String {
    format!("{}{}", of_readers(), of_the_admin_api())
}

fn of_readers() -> String {
    let rows = Refusal::all().map(|refusal| {
        let words = refusal.words();
        let answer = refusal.answer(Asker::unknown(), &Pages::default(), "ID");
        let Body::Whole(body) = answer.body else { panic!("{refusal:?} has a body of its own") };
        let problem: Value = serde_json::from_slice(&body).unwrap();
        let said = |key: &str| problem[key].as_str().unwrap_or_default().to_owned();
        assert_eq!(said("code"), words.label, "the code in the answer is the label in the metrics");
        vec![
            words.status.as_u16().to_string(),
            code(words.label),
            words.retry_after_s.map_or_else(|| "-".to_owned(), |seconds| format!("{seconds} s")),
            if words.close { "closed" } else { "kept" }.to_owned(),
            said("title"),
            said("detail"),
        ]
    });
    format!(
        "\n## Answers to readers\n\nWhat ghostpin answers by itself: a page for browsers, and for everybody else a problem document (RFC 9457) with `type`, `title`, \
         `status`, `detail`, `code`, `retry_after` and `request_id`. The code is the `reason` of `ghostpin_refusals_total`, too.\n\n{}",
        table(&["Status", "Code", "`Retry-After`", "Connection", "Title", "Detail"], rows)
    )
}

fn of_the_admin_api() -> String {
    let document: Arc<Value> = Arc::new(serde_json::from_str(DOCUMENT).unwrap());
    let mut rows = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            for (status, response) in operation["responses"].as_object().unwrap() {
                if status.starts_with('2') {
                    continue;
                }
                let response = match response["$ref"].as_str() {
                    Some(reference) => document.pointer(reference.trim_start_matches('#')).unwrap(),
                    None => response,
                };
                let meaning = response["description"].as_str().unwrap_or_default().to_owned();
                rows.push(vec![code(&format!("{} {path}", method.to_uppercase())), status.clone(), meaning]);
            }
        }
    }
    format!(
        "\n## Refusals of the admin API\n\nProblem documents with `title`, `status` and `detail`.\n\n{}",
        table(&["Operation", "Status", "Meaning"], rows)
    )
}
