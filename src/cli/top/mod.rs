//! `ghostpin top`: what goes on, live, with what is in trouble on top.
//!
//! It asks for no more sites than it has lines for, so that it costs the same for ten of them as for a hundred thousand.

mod draw;
mod lines;
mod model;
#[cfg(test)]
mod tests;

use std::io::{self, IsTerminal};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event};
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;

use super::access::Access;
use super::client::{Client, encoded, read};
use super::failure::Failure;
use super::watch::{Stop, WATCHERS_PATIENCE, pace};
use model::{Asked, Model, Seen};

/// What is typed faster than it can be drawn waits here, and no more than that.
const EVENTS_MAX: usize = 64;

/// Show live what goes on: troubled sites first, requests, handoffs under way with their phase and time, edges.
#[derive(Args, Clone, Debug)]
pub struct TopArgs {
    /// The time between two looks, such as `500ms`; at least 100ms.
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = pace)]
    every: Duration,
    #[command(flatten)]
    access: Access,
}

impl TopArgs {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let client = Client { patience: WATCHERS_PATIENCE, ..self.access.client()? };
        if self.access.json {
            return lines::run(&client, self.every).await;
        }
        if !io::stdout().is_terminal() || !io::stdin().is_terminal() {
            let why =
                "top draws on a terminal: `ghostpin top --json` and `ghostpin sites --watch` do without one";
            return Err(Failure::Usage(why.to_owned()));
        }
        // Whoever can't be reached is told so where it can be read.
        let mut model = Model::new(client.place.to_string());
        model.saw(look(&client, &model.asked(0)).await?);
        // Heard from before the terminal is another one, so that it is always given back.
        let stop = Stop::new();
        let mut terminal = ratatui::try_init().map_err(|error| Failure::Refused(error.to_string()))?;
        let done = show(&mut terminal, &client, &mut model, self.every, stop).await;
        ratatui::restore();
        done.map_err(|error| Failure::Refused(format!("the terminal: {error}")))
    }
}

async fn show(
    terminal: &mut DefaultTerminal,
    client: &Client,
    model: &mut Model,
    every: Duration,
    mut stop: Stop,
) -> io::Result<()> {
    let (asks, asked) = watch::channel(model.asked(draw::rows(terminal.size()?.height)));
    let (tells, mut told) = mpsc::channel(1);
    // Beside what is typed, so that neither keeps the other waiting.
    let looking = tokio::spawn(go_on_looking(client.clone(), every, asked, tells));
    let mut events = events();
    loop {
        terminal.draw(|frame| draw::draw(frame, model))?;
        let wanted = model.asked(draw::rows(terminal.size()?.height));
        asks.send_if_modified(|asked| {
            *asked != wanted && {
                *asked = wanted;
                true
            }
        });
        tokio::select! {
            biased;
            event = events.recv() => match event {
                Some(event) if model.take(&event) => {}
                _ => break,
            },
            () = stop.wanted() => break,
            seen = told.recv() => match seen {
                Some(Ok(seen)) => model.saw(seen),
                Some(Err(why)) => model.missed(why.to_string()),
                None => break,
            }
        }
    }
    looking.abort();
    Ok(())
}

/// Looks once in a while, and at once when something else is asked for.
async fn go_on_looking(
    client: Client,
    every: Duration,
    mut asked: watch::Receiver<Asked>,
    tells: mpsc::Sender<Result<Seen, Failure>>,
) {
    loop {
        let wanted = asked.borrow_and_update().clone();
        if tells.send(look(&client, &wanted).await).await.is_err() {
            return;
        }
        tokio::select! {
            () = sleep(every) => {}
            changed = asked.changed() => if changed.is_err() { return },
        }
    }
}

/// What is typed. The thread ends with the process, for a read of a terminal can't be called off.
fn events() -> mpsc::Receiver<Event> {
    let (typed, events) = mpsc::channel(EVENTS_MAX);
    thread::spawn(move || {
        while let Ok(event) = event::read() {
            if typed.blocking_send(event).is_err() {
                return;
            }
        }
    });
    events
}

async fn look(client: &Client, asked: &Asked) -> Result<Seen, Failure> {
    let began = Instant::now();
    let status: model::Process = read(&client.get("/v1/status").await?)?;
    let Asked { search, troubled, rows, site } = asked;
    let search = encoded(search);
    let path = format!("/v1/sites?order=trouble&troubled={troubled}&limit={rows}&search={search}");
    let sites = read(&client.get(&path).await?)?;
    let fleet = match status.is_in_fleet() {
        true => client.get("/v1/edges").await.and_then(|body| read(&body)).ok(),
        false => None,
    };
    let page = match site {
        Some(site) => Some(super::site::page_of(client, site).await.unwrap_or_else(|why| why.to_string())),
        None => None,
    };
    Ok(Seen { at: began, status, sites, fleet, page })
}
