//! What tells that a rule was broken: the judges of the readers' history, what etcd was made to say, and what edges say
//! when they stop something in the last place.

use std::io;
use std::process::Stdio;

use ghostpin::demo::history::Record;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::judge::judge;
use crate::stage::{SITE, Stage};

/// Everything that was noticed, in words; nothing if all went well.
pub async fn noticed(stage: &mut Stage, prefix: &str, records: &[Record]) -> io::Result<Vec<String>> {
    let verdict = judge(records, &stage.deeds()?);
    let mut counts = vec![
        ("two-state reads", verdict.two_state_reads.len()),
        ("old heads after the first new one", verdict.late_heads.len()),
        ("epochs with two backends", verdict.shared_epochs.len()),
        ("POSTs handed over twice", verdict.handed_over_twice.len()),
        ("epochs that fall", verdict.epochs_back.len()),
        ("records in etcd that go back", falls(&written(stage, prefix).await?)),
    ];
    let (mut ended, mut refused, mut late) = (0, 0, 0);
    for at in 0..stage.edges.len() {
        if stage.edges[at].has_ended()? {
            ended += 1;
        } else if stage.edges[at].is_running() {
            let notes = stage.ask(at, "/v1/journal?kind=refused_pin&count=1000").await?;
            refused += notes.as_array().map_or(0, Vec::len);
            let status = stage.ask(at, "/v1/status").await?;
            late += status["late_answers"].as_u64().unwrap_or(0) as usize;
        }
    }
    counts.push(("edges that end by themselves", ended));
    counts.push(("pins that an edge refuses", refused));
    counts.push(("answers that an edge stops in the last place", late));
    Ok(counts.iter().filter(|(_, count)| *count > 0).map(|(what, count)| format!("{count} {what}")).collect())
}

/// Epoch and backend of every record of the site that ever stood in etcd, in their order. etcd is asked for all that was
/// written there up to a word of ours. A member that was cut off makes the others elect anew once it is heard again, so
/// that etcd may take nothing for a while.
async fn written(stage: &Stage, prefix: &str) -> io::Result<Vec<(u64, String)>> {
    let (end, site) = (format!("{prefix}/end"), format!("{prefix}/sites/{SITE}"));
    let takes = || async { stage.etcdctl(0, &["put", &end, "."]).await.is_ok() };
    stage.until("etcd takes what is written", takes).await?;
    let mut watch = stage.etcdctl_of(0, &["watch", "--prefix", &format!("{prefix}/"), "--rev=1"]);
    let mut watch = watch.stdout(Stdio::piped()).spawn()?;
    let said = watch.stdout.take().ok_or_else(|| io::Error::other("no standard output"))?;
    let (mut lines, mut records, mut key) = (BufReader::new(said).lines(), Vec::new(), String::new());
    while let Some(line) = lines.next_line().await? {
        if key == site && line.starts_with('{') {
            let record: Value = serde_json::from_str(&line).map_err(io::Error::other)?;
            let backend = record["backend"].as_str().unwrap_or_default().to_owned();
            records.push((record["epoch"].as_u64().unwrap_or_default(), backend));
        }
        if line == end {
            watch.kill().await?;
            return Ok(records);
        }
        key = line;
    }
    Err(io::Error::other("etcd does not tell what was written"))
}

/// How many records are of an older epoch than one before, or of the same with another backend.
fn falls(records: &[(u64, String)]) -> usize {
    let mut newest = (0, "");
    let mut falls = 0;
    for (epoch, backend) in records {
        falls += usize::from(*epoch < newest.0 || *epoch == newest.0 && backend != newest.1);
        if *epoch > newest.0 {
            newest = (*epoch, backend);
        }
    }
    falls
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_that_go_back_or_share_an_epoch_are_found() {
        let records = |of: &[(u64, &str)]| -> Vec<(u64, String)> {
            of.iter().map(|(epoch, backend)| (*epoch, (*backend).to_owned())).collect()
        };
        assert_eq!(falls(&records(&[(1, "a"), (1, "a"), (2, "b"), (4, "b")])), 0);
        assert_eq!(falls(&records(&[(1, "a"), (6, "b"), (1, "a"), (7, "b")])), 1);
        assert_eq!(falls(&records(&[(1, "a"), (1, "b")])), 1);
    }
}
