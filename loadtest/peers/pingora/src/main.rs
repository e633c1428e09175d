//! A plain reverse proxy on pingora: one listener, one upstream, one thread, no access log.
//!
//! It exists to be measured beside ghostpin, and does nothing else: no pinning, no holding, no health.
//!
//! Usage: `pingora-peer LISTEN UPSTREAM`, both `IP:port`.

use std::env;
use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;
use pingora::prelude::*;
use pingora::server::configuration::ServerConf;

/// Forwards everything to one upstream.
struct Plain(SocketAddr);

#[async_trait]
impl ProxyHttp for Plain {
    type CTX = ();

    fn new_ctx(&self) {}

    async fn upstream_peer(&self, _: &mut Session, _: &mut ()) -> Result<Box<HttpPeer>> {
        Ok(Box::new(HttpPeer::new(self.0, false, String::new())))
    }
}

fn main() {
    let arguments: Vec<String> = env::args().collect();
    let [_, listen, upstream] = arguments.as_slice() else {
        panic!("usage: pingora-peer LISTEN UPSTREAM");
    };
    let upstream = upstream.parse().expect("UPSTREAM is not IP:port");
    let conf = ServerConf { threads: 1, upstream_keepalive_pool_size: 128, ..ServerConf::default() };
    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();
    let mut service = http_proxy_service(&Arc::clone(&server.configuration), Plain(upstream));
    service.add_tcp(listen);
    server.add_service(service);
    server.run_forever();
}
