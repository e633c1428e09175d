// What stands before the two Ghosts: nginx, as a load balancer would be set up, or ghostpin.
import fs from 'node:fs';
import path from 'node:path';
import { parse, request } from './http.mjs';
import { freePort, start, stop, tail, until } from './processes.mjs';

const START_PATIENCE_MS = 15_000;

async function up(it, site) {
    const answers = () => it.ended || site.ask('/').then((answer) => answer.status !== undefined);
    if (!await until(answers, START_PATIENCE_MS) || it.ended) {
        throw new Error(`${it.name} does not start (${it.ended ? await it.exit : 'no answer'}); the end of ${it.log}:\n${tail(it.log)}`);
    }
}

// nginx before the given backends, taking turns, with its defaults.
export async function roundRobin(site, backends) {
    const folder = path.join(site.folder, 'nginx');
    fs.mkdirSync(folder, { recursive: true });
    const temp = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((name) => `${name}_temp_path temp_${name};`).join(' ');
    fs.writeFileSync(path.join(folder, 'nginx.conf'), `
daemon off;
worker_processes 1;
pid nginx.pid;
events {}
http {
    access_log off;
    ${temp}
    upstream ghost { ${backends.map((backend) => `server ${backend};`).join(' ')} }
    server {
        listen ${site.listen};
        location / {
            proxy_pass http://ghost;
            proxy_set_header Host $http_host;
            proxy_set_header X-Forwarded-For $remote_addr;
            proxy_set_header X-Forwarded-Proto http;
            add_header X-Backend $upstream_addr always;
        }
    }
}
`);
    const it = start('nginx', 'nginx', ['-p', folder, '-c', 'nginx.conf', '-e', 'error.log'], { log: path.join(folder, 'nginx.log') });
    await up(it, site);
    return { stop: () => stop(it) };
}

// ghostpin before both backends, the first one pinned, with a state folder of its own. `fence` says whether it may stop the
// old Ghost; without, both run on after a handoff, as with a worker that comes back. If the site is reached over TLS, it has its
// certificate made at the first handshake, and proves the name by `challenge`.
export async function ghostpin(site, program, name, { fence, start: starts = true, challenge, routes = {}, hold = 'timeout = "30s"', limits = '' }) {
    const folder = path.join(site.folder, name);
    fs.mkdirSync(folder);
    const admin = `127.0.0.1:${await freePort()}`;
    const config = path.join(folder, 'ghostpin.toml');
    const hook = (command) => `{ command = ${JSON.stringify(command)}, timeout = "10s", required = true }`;
    fs.writeFileSync(config, `
[server]
state = "${folder}/state"
${site.authority ? secure(site, challenge) : `[listen]\nhttp = ["${site.listen}"]`}
[admin]
listen = "${admin}"
[log]
access = true
[health]
interval = "500ms"
timeout = "2s"
fall = 2
forwarded_proto = "${new URL(site.origin).protocol.slice(0, -1)}"
[hold]
${hold}
[limits]
${limits}
[handoff]
prove_timeout = "25s"
[[site]]
name = "blog"
hosts = ["${site.host}"]
backends = ${JSON.stringify(site.backends)}
app = "ghost"
[site.hooks]
${starts ? `start = ${hook(site.startHook)}` : ''}
${fence ? `fence = ${hook(site.fenceHook)}` : ''}
${Object.entries(routes).map(([route, upstream]) => `[[site.route]]\npath = "${route}"\nupstream = "${upstream}"`).join('\n')}
`);
    const it = start('ghostpin', program, ['run', '--config', config], { log: path.join(folder, 'ghostpin.log') });
    site.connect();
    await up(it, site);
    const ask = async (apiPath) => {
        const answer = await request(`http://${admin}`, apiPath);
        if (answer.status !== 200) throw new Error(`ghostpin's ${apiPath}: ${answer.error ?? answer.status}`);
        return parse(answer) ?? answer.text;
    };
    return {
        log: it.log,
        stop: () => {
            site.disconnect();
            return stop(it);
        },
        site: () => ask('/v1/sites/blog'),
        journal: () => ask('/v1/journal'),
        metrics: () => ask('/metrics'),
    };
}

function secure(site, challenge) {
    return `[listen]
http = ["${site.clearListen}"]
https = ["${site.listen}"]
[acme]
directory = "${site.authority.directory}"
ca_file = "${site.authority.caFile}"
challenges = ["${challenge}"]`;
}
