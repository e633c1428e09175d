// What the dashboard looks at: a ghostpin with very many sites, and some of which things happen.
import fs from 'node:fs';
import http from 'node:http';
import { once } from 'node:events';
import path from 'node:path';
import { request } from '../ghost/http.mjs';
import { freePort, sleep, start, stop, tail, until } from '../ghost/processes.mjs';

const START_PATIENCE_MS = 120_000;
// Long enough to be seen in a timeline.
const SLOW_MS = 4000;
const PROOF_MS = 300;

// An application that answers everything, some of it slowly, and may be told to stop answering.
class Application {
    #server;
    proofMs = 0;

    async listen() {
        this.#server = http.createServer(async (asked, answer) => {
            const ms = asked.url === '/slow' ? SLOW_MS : asked.headers['user-agent']?.startsWith('ghostpin') ? this.proofMs : 0;
            if (ms > 0) await sleep(ms);
            answer.end('well');
        });
        this.#server.listen(0, '127.0.0.1');
        await once(this.#server, 'listening');
        this.address = `127.0.0.1:${this.#server.address().port}`;
        return this;
    }

    close() {
        this.#server.close();
        this.#server.closeAllConnections();
    }
}

export class World {
    // `more` goes into the [admin] table.
    static async create(folder, program, sites, more = '') {
        const it = new World();
        fs.mkdirSync(folder, { recursive: true });
        Object.assign(it, { folder, program, sites });
        it.applications = await Promise.all([0, 1, 2].map(() => new Application().listen()));
        const [a, b, twin] = it.applications.map((application) => application.address);
        [it.http, it.admin, it.many] = [await freePort(), await freePort(), await freePort()];
        it.origin = `http://127.0.0.1:${it.admin}`;
        const site = (name, app, backends, keys = '') =>
            `[[site]]\nname = "${name}"\nhosts = ["${name}.example.org", "www.${name}.example.org"]\napp = "${app}"\nbackends = [${backends.map((address) => `"${address}"`)}]\n${keys}\n`;
        const quick = 'health.interval = "500ms"';
        const all = [
            site('corner-shop', 'generic', [a, b], `handoff.drain_timeout = "10s"\n${quick}`),
            site('twins', 'ghost', [twin, `127.0.0.1:${await freePort()}`], quick),
            ...Array.from({ length: sites }, (_, number) => site(`blog-${String(number).padStart(6, '0')}`, 'generic', [`127.0.0.1:${it.many}`, `127.0.0.2:${it.many}`])),
        ];
        it.file = path.join(folder, 'ghostpin.toml');
        fs.writeFileSync(it.file, `
[server]
state = "./state"
[listen]
http = ["127.0.0.1:${it.http}"]
[admin]
listen = "127.0.0.1:${it.admin}"
${more}
[health]
interval = "5m"
[log]
access = false
level = "warn"
${all.join('')}`);
        return it;
    }

    async start() {
        const conf = path.join(this.folder, 'nginx.conf');
        fs.writeFileSync(conf, `
daemon off; worker_processes 1; pid ${this.folder}/nginx.pid; error_log stderr crit;
events { worker_connections 8192; }
http {
    access_log off; client_body_temp_path ${this.folder}/body; proxy_temp_path ${this.folder}/proxy;
    fastcgi_temp_path ${this.folder}/fastcgi; uwsgi_temp_path ${this.folder}/uwsgi; scgi_temp_path ${this.folder}/scgi;
    server { listen 127.0.0.1:${this.many} backlog=4096; listen 127.0.0.2:${this.many} backlog=4096; return 200 well; }
}
`);
        this.nginx = start('nginx', 'nginx', ['-e', 'stderr', '-p', this.folder, '-c', conf], { log: path.join(this.folder, 'nginx.log') });
        this.front = start('ghostpin', this.program, ['run', '--config', this.file], { cwd: this.folder, log: path.join(this.folder, 'ghostpin.log') });
        const serves = async () => (await this.status())?.phases?.serving === this.sites + 2;
        if (!await until(serves, START_PATIENCE_MS, 500)) throw new Error(`ghostpin does not serve; the end of ${this.front.log}:\n${tail(this.front.log)}`);
    }

    async stop() {
        this.applications.forEach((application) => application.close());
        for (const one of [this.front, this.nginx]) if (one) await stop(one);
    }

    async ask(place, options) {
        const answer = await request(this.origin, place, options);
        return answer.status === 200 ? JSON.parse(answer.text) : undefined;
    }

    status() { return this.ask('/v1/status'); }
    site(name = 'corner-shop') { return this.ask(`/v1/sites/${name}`); }
    wish(kind, json, name = 'corner-shop') { return request(this.origin, `/v1/sites/${name}/${kind}`, { method: 'POST', json: json ?? {} }); }

    // Where the shop is, and where it can go: there, the proof takes its time.
    async wayOfTheShop() {
        const { backend: from, candidates } = await this.site();
        const to = candidates.find(({ address }) => address !== from).address;
        for (const application of this.applications) application.proofMs = application.address === to ? PROOF_MS : 0;
        return { from, to };
    }

    // Readers of the shop who come at once; each is told of when it was answered.
    readers(many, place = '/') {
        return Array.from({ length: many }, () => request(`http://127.0.0.1:${this.http}`, place, { headers: { host: 'corner-shop.example.org' } }));
    }

    // A second instance of the twins comes up where it was down, or goes away.
    async conflict() {
        const { candidates } = await this.site('twins');
        const free = candidates.find((candidate) => !candidate.pinned).address;
        const server = http.createServer((_, answer) => answer.end('well'));
        server.listen(Number(free.split(':')[1]), '127.0.0.1');
        await once(server, 'listening');
        return () => { server.close(); server.closeAllConnections(); };
    }
}
