"""How each server is given many certificates, and told that some are new: as its documentation says.

`form` is how it wants its files: `pairs` of .crt and .key, or `pem` with both in one. Nothing is measured here.
"""

import json
import os
import signal
import subprocess

import servers
from servers import free_port


class Nginx:
    form = "pairs"
    program = "nginx"

    def __init__(self, single):
        self.workers = 1 if single else "auto"

    def configure(self, folder, port, certificates):
        size = 1 << max(9, (4 * len(certificates.names) - 1).bit_length())
        blocks = "".join(
            f"    server {{ listen 127.0.0.1:{port} ssl; server_name {name};\n"
            f"        ssl_certificate {certificates.folder}/{name}.crt;\n"
            f"        ssl_certificate_key {certificates.folder}/{name}.key;\n"
            f"        return 204; }}\n" for name in certificates.names)
        return servers.nginx(folder, f"""
    ssl_protocols TLSv1.2 TLSv1.3;
    server_names_hash_max_size {size};
    server_names_hash_bucket_size 128;
{blocks}""", self.workers)

    def reload(self, server):
        # As `nginx -s reload` does, which reads all of the configuration to find out whom to tell.
        server.child.send_signal(signal.SIGHUP)


class HAProxy:
    form = "pem"
    program = "haproxy"

    def __init__(self, single):
        self.threads = "nbthread 1" if single else ""

    def configure(self, folder, port, certificates):
        conf = folder / "haproxy.cfg"
        conf.write_text(f"""
global
    {self.threads}
    maxconn 1000
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
frontend readers
    bind 127.0.0.1:{port} ssl crt {certificates.folder}/
    http-request return status 204
""")
        return ["haproxy", "-W", "-db", "-f", str(conf)]

    def reload(self, server):
        server.child.send_signal(signal.SIGUSR2)


class Caddy:
    form = "pem"
    program = "caddy"

    def __init__(self, single):
        self.environment = {"GOMAXPROCS": "1"} if single else {}

    def configure(self, folder, port, certificates):
        self.admin = free_port()
        conf = folder / "caddy.json"
        conf.write_text(json.dumps({
            "admin": {"listen": f"127.0.0.1:{self.admin}", "config": {"persist": False}},
            "storage": {"module": "file_system", "root": str(folder / "storage")},
            "logging": {"logs": {"default": {"level": "ERROR"}}},
            "apps": {
                "tls": {"certificates": {"load_folders": [str(certificates.folder)]},
                        # By default it keeps 10,000, and makes room by throwing away any.
                        "cache": {"capacity": 2 * len(certificates.names) + 10_000}},
                "http": {"servers": {"readers": {
                    "listen": [f"127.0.0.1:{port}"],
                    "tls_connection_policies": [{}],
                    "automatic_https": {"disable": True},
                    "protocols": ["h1", "h2"],
                    "routes": [{"handle": [{"handler": "static_response", "status_code": 204}]}],
                }}},
            },
        }))
        self.environment |= {"HOME": str(folder), "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
        self.conf = conf
        return ["caddy", "run", "--config", str(conf)]

    def reload(self, server):
        subprocess.Popen(
            ["caddy", "reload", "--force", "--config", str(self.conf), "--address", f"127.0.0.1:{self.admin}"],
            env={**os.environ, **self.environment}, stdin=subprocess.DEVNULL, stdout=server.log, stderr=server.log)


class Ghostpin:
    form = "pairs"

    def __init__(self, single, program):
        self.threads, self.program = 1 if single else 0, program

    def configure(self, folder, port, certificates):
        conf = folder / "ghostpin.toml"
        conf.write_text(f"""
[server]
state = "{folder}/state"
threads = {self.threads}
[listen]
http = ["127.0.0.1:{free_port()}"]
https = ["127.0.0.1:{port}"]
[tls]
certificates = "{certificates.folder}"
[admin]
listen = "{folder}/admin.sock"
[log]
access = false
[[site]]
name = "all"
hosts = ["*.example"]
backends = ["127.0.0.1:{free_port()}"]
app = "generic"
health = {{ host = "{certificates.names[0]}" }}
""")
        return [self.program, "run", "--config", str(conf)]

    def reload(self, server):
        server.child.send_signal(signal.SIGHUP)
