use super::*;
use crate::config::Config;
use crate::core::{Epoch, Pin};
use crate::gate::{Gate, HoldBudget, SiteKey, Surroundings};
use crate::published::{Published, Publisher};

fn worker(config: &Config) -> Worker {
    let publisher = Publisher::new(Published::without_sites(config));
    let common = Common {
        clock: Clock::start(),
        reader: publisher.reader(),
        census: Arc::default(),
        tls: None,
        challenges: Default::default(),
        detour: None,
        access: Default::default(),
        tracer: Default::default(),
        seed: 0,
    };
    Worker::new(0, Arc::new(WorkerMetrics::new(Vec::new())), Places::new(Arc::default()), common)
}

/// A connection just accepted, and the client's end of it.
async fn accepted(worker: &Worker) -> (Rc<Connection>, tokio::net::TcpStream) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = tokio::net::TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (stream, from) = listener.accept().await.unwrap();
    let counted = worker.census.count(usize::MAX).unwrap();
    let peer = Peer::new(from.ip(), false, &[].into());
    let connection = Connection::new(Socket::Tcp(stream), 0, None, peer, worker.clock.clone(), counted);
    (connection, client)
}

#[tokio::test]
async fn who_goes_on_has_a_turn_while_many_connections_are_ended() {
    const ENDS_A_TURN: usize = LOOKS_A_TURN.div_ceil(LOOKS_AN_END + 1);
    let config =
        Config::parse("[limits]\nhead_timeout = '100ms'", std::path::Path::new("ghostpin.toml")).unwrap();
    let worker = Rc::new(worker(&config));
    let mut clients = Vec::new();
    for _ in 0..2 * ENDS_A_TURN + 1 {
        let (connection, client) = accepted(&worker).await;
        clients.push((worker.clone().keep(connection.clone()), connection, client));
    }
    let ended = || clients.iter().filter(|(_, connection, _)| connection.is_ending()).count();
    while ended() == 0 {
        tokio::time::sleep(ROUND).await;
        worker.round(1);
        worker.look_at_connections();
    }
    let mut turns = vec![ended()];
    while !worker.unlooked.borrow().is_empty() {
        worker.look_at_connections();
        turns.push(ended());
    }
    assert_eq!(turns, [ENDS_A_TURN, 2 * ENDS_A_TURN, 2 * ENDS_A_TURN + 1]);
}

#[tokio::test]
async fn a_panic_in_a_request_leaves_no_lease_and_no_connection_behind() {
    let text = "[[site]]\nname = 'a'\nhosts = ['a.test']\nbackends = ['127.0.0.1:1']";
    let config = Config::parse(text, std::path::Path::new("ghostpin.toml")).unwrap();
    let worker = Rc::new(worker(&config));
    let (reports, _received) = mpsc::unbounded_channel();
    let lifeline = Arc::new(crate::lifeline::Lifeline::for_ever());
    let around = Surroundings::new(Arc::new(HoldBudget::new(1)), lifeline, reports);
    let gate = Arc::new(Gate::new(SiteKey(0), around));
    gate.open(Pin { epoch: Epoch(1), backend: "127.0.0.1:1".parse().unwrap() });

    let (connection, _client) = accepted(&worker).await;
    let (serving, lease, upstream) = (worker.clone(), gate.enter(), *config.sites[0].upstream);
    let request = async move {
        let _open = serving.clone().keep(connection.clone());
        let _active = connection.request_began();
        // An answer that waits to be flushed, and another that is still being relayed.
        let first = serving.flights.begin(&connection, lease, upstream);
        connection.release_when_flushed(first);
        let _second = serving.flights.begin(&connection, None, upstream);
        panic!("on purpose");
    };
    let local = LocalSet::new();
    let task = local.spawn_local(request);
    let ended = local.run_until(task).await;
    assert!(ended.is_err_and(|error| error.is_panic()));
    assert_eq!(gate.in_flight(), 0);
    assert!(worker.is_idle());
    assert_eq!(worker.census.all(), 0);
}
