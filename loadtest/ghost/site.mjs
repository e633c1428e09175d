// One Ghost site: a MariaDB, a content folder, and two instances that share both. With an authority it is reached over TLS.
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { Authority } from './authority.mjs';
import { describe, parse, request } from './http.mjs';
import { Kept } from './kept.mjs';
import { isPost, postPath } from './posts.mjs';
import { finish, freePort, signal, start, until } from './processes.mjs';

export const OWNER = { name: 'Olivia Owner', email: 'owner@example.com', password: 'correct horse battery staple' };
const HOOKS = path.join(import.meta.dirname, 'hooks');
const BOOT_PATIENCE_MS = 60_000;
const NAME = 'blog.example'; // of the site that is reached over TLS
const CONNECTIONS = 6; // its readers'

export class Site {
    // `ghost` is the folder that install.sh made; everything of this run goes into `folder`. A `secure` site has a name, and an
    // authority that is asked by `program`, ghostpin.
    static async create(folder, ghost, { secure, program }) {
        fs.mkdirSync(folder);
        const site = new Site();
        site.folder = folder;
        site.node = process.execPath; // install.sh's Node runs this test, too
        site.version = JSON.parse(fs.readFileSync(path.join(ghost, 'package.json'), 'utf8')).version;
        // Ghost's `url`: every front listens here, one after the other.
        const port = await freePort();
        site.host = secure ? NAME : '127.0.0.1';
        site.listen = `127.0.0.1:${port}`;
        site.origin = `${secure ? 'https' : 'http'}://${site.host}:${port}`;
        if (secure) {
            const clearPort = await freePort();
            site.clearListen = `127.0.0.1:${clearPort}`;
            site.authority = await Authority.create(folder, program, { httpPort: clearPort, tlsPort: port });
        }
        site.backends = [`127.0.0.1:${await freePort()}`, `127.0.0.1:${await freePort()}`];
        await site.#startDatabase();
        fs.cpSync(path.join(ghost, 'content'), path.join(folder, 'content'), { recursive: true });
        for (const backend of site.backends) site.#writeInstance(backend, ghost);
        return site;
    }

    // The hooks that ghostpin is given; this test starts and stops Ghost by the same ones.
    get fenceHook() { return [path.join(HOOKS, 'fence'), this.folder]; }
    // Where this site has its own copy of Ghost's portal, if a run serves one: Ghost's comes from a network for public files.
    get portalPath() { return '/portal.min.js'; }

    get startHook() { return [...this.#environment(), path.join(HOOKS, 'start'), this.folder, this.node]; }

    // A request to the site as its readers come: each on a connection of its own, or over kept ones if there is TLS.
    ask(path, options) { return this.kept ? this.kept.request(path, options) : request(this.origin, path, options); }

    // A request to one instance, past every front.
    direct(backend, path, options) {
        const headers = { 'x-forwarded-proto': new URL(this.origin).protocol.slice(0, -1), ...options?.headers };
        return request(`http://${backend}`, path, { ...options, headers });
    }

    // Before the first and after the last request of a run's readers.
    connect() { this.kept = this.authority && new Kept(this.origin, this.authority.root, CONNECTIONS); }

    disconnect() { this.kept?.close(); }

    // Starts an instance and waits until it answers.
    async start(backend) {
        this.#hook(this.startHook, { GHOSTPIN_NEW: backend });
        const well = () => this.direct(backend, '/').then((answer) => answer.status === 200);
        if (!await until(well, BOOT_PATIENCE_MS)) throw new Error(`Ghost on ${backend} does not come up; see ${this.log(backend)}`);
    }

    stop(backend) { this.#hook(this.fenceHook, { GHOSTPIN_OLD: backend }); }

    stopAll() { for (const backend of this.backends) this.stop(backend); }

    kill(backend) { this.#signal(backend, 'SIGKILL'); }

    freeze(backend) { this.#signal(backend, 'SIGSTOP'); }

    thaw(backend) { this.#signal(backend, 'SIGCONT'); }

    log(backend) { return path.join(this.#instance(backend), 'ghost.log'); }

    // Makes the owner, and a key for the Content API. The first backend has to be up.
    async setUp() {
        const headers = { origin: this.origin, host: new URL(this.origin).host };
        const ask = async (apiPath, json, more) => {
            const options = { method: 'POST', json, headers: { ...headers, ...more } };
            const answer = await this.direct(this.backends[0], `/ghost/api/admin/${apiPath}`, options);
            if (answer.error || answer.status >= 300) throw new Error(`${apiPath}: ${describe(answer)}`);
            return answer;
        };
        await ask('authentication/setup/', { setup: [{ ...OWNER, blogTitle: 'Version 0' }] });
        const session = await ask('session/', { username: OWNER.email, password: OWNER.password });
        // Sessions are rows of the database: the cookie holds on both instances.
        const cookie = session.headers['set-cookie'].map((line) => line.split(';')[0]).join('; ');
        this.ownerHeaders = { origin: this.origin, cookie };
        const made = parse(await ask('integrations/?include=api_keys', { integrations: [{ name: 'readers' }] }, { cookie }));
        this.contentKey = made.integrations[0].api_keys.find((key) => key.type === 'content').secret;
    }

    contentApi(resource, query = '') { return `/ghost/api/content/${resource}/?key=${this.contentKey}${query}`; }

    // The site's title as one instance has it, past every front.
    async titleOn(backend) {
        const answer = parse(await this.direct(backend, this.contentApi('settings')));
        return answer?.settings?.title;
    }

    // Whether one instance has a post at its address, past every front.
    async hasPost(backend, number) {
        const answer = await this.direct(backend, postPath(number));
        return isPost(answer, number);
    }

    // All published posts' titles.
    async publishedTitles() {
        const titles = [];
        for (let page = 1; page; ) {
            const answer = await this.ask(this.contentApi('posts', `&fields=title&limit=100&page=${page}`));
            const listed = parse(answer);
            if (!listed?.posts) throw new Error(`posts can't be listed: ${describe(answer)}`);
            titles.push(...listed.posts.map((post) => post.title));
            page = listed.meta.pagination.next;
        }
        return titles;
    }

    // Those posts of the editor that readers find in the list, but not at their address.
    async withoutPage(titles) {
        const missing = [];
        for (const title of titles) {
            const number = /^Post (\d+)$/.exec(title)?.[1];
            if (number && !isPost(await this.ask(postPath(number)), number)) missing.push(title);
        }
        return missing;
    }

    async isPublished(id) {
        const answer = await this.ask(this.contentApi(`posts/${id}`, '&fields=id'));
        return answer.status === 200;
    }

    async #startDatabase() {
        const folder = path.join(this.folder, 'mariadb');
        this.socket = path.join(this.folder, 'mariadb.sock');
        const log = path.join(this.folder, 'mariadb.log');
        const user = process.getuid() === 0 ? ['--user=root'] : [];
        await finish('mariadb-install-db', 'mariadb-install-db', ['--no-defaults', `--datadir=${folder}`,
            '--auth-root-authentication-method=normal', '--skip-test-db', ...user], { log });
        const init = path.join(this.folder, 'init.sql');
        fs.writeFileSync(init, 'CREATE DATABASE IF NOT EXISTS ghost CHARACTER SET utf8mb4;\n');
        // The database itself is not what this test kills: it need not be safe on disk, and boots in half the time.
        const it = start('mariadbd', 'mariadbd', ['--no-defaults', `--datadir=${folder}`, `--socket=${this.socket}`, '--skip-networking',
            `--pid-file=${path.join(this.folder, 'mariadb.pid')}`, `--init-file=${init}`, '--innodb-flush-log-at-trx-commit=0',
            '--skip-log-bin', '--innodb-doublewrite=0', ...user], { log });
        if (!await until(() => it.ended || fs.existsSync(this.socket), 30_000) || it.ended) throw new Error(`mariadbd does not start; see ${log}`);
    }

    // What Ghost has to know in order to reach itself over TLS, by its name.
    #environment() {
        if (!this.authority) return [];
        const names = path.join(import.meta.dirname, 'names.cjs');
        return ['env', `NODE_EXTRA_CA_CERTS=${this.authority.rootFile}`, `NODE_OPTIONS=--require=${names}`];
    }

    #instance(backend) { return path.join(this.folder, 'instances', backend); }

    #writeInstance(backend, ghost) {
        const folder = this.#instance(backend);
        const [host, port] = backend.split(':');
        fs.mkdirSync(folder, { recursive: true });
        fs.symlinkSync(ghost, path.join(folder, 'current'));
        fs.writeFileSync(path.join(folder, 'config.production.json'), JSON.stringify({
            url: this.origin,
            server: { host, port: Number(port) },
            database: { client: 'mysql', connection: { socketPath: this.socket, user: 'root', password: '', database: 'ghost' } },
            paths: { contentPath: path.join(this.folder, 'content') },
            logging: { transports: ['stdout'] },
            times: { cannotScheduleAPostBeforeInMinutes: 0 }, // else a scheduled post would take two minutes of everybody's time
            // Nothing of this leaves the machine.
            mail: { transport: 'SMTP', options: { host: '127.0.0.1', port: 1 } },
            privacy: { useUpdateCheck: false, useGravatar: false, useRpcPing: false, useStructuredData: false },
            portal: { url: this.origin + this.portalPath },
            sodoSearch: { url: '' },
            security: { staffDeviceVerification: false },
        }, null, 2));
    }

    #hook([command, ...args], env) {
        const it = spawnSync(command, args, { env: { ...process.env, ...env }, encoding: 'utf8', stdio: ['ignore', 'ignore', 'pipe'] });
        if (it.status !== 0) throw new Error(`${command}: ${it.stderr || it.error}`);
    }

    #signal(backend, name) {
        const file = path.join(this.#instance(backend), 'ghost.pid');
        if (!fs.existsSync(file) || !signal(Number(fs.readFileSync(file, 'utf8')), name)) throw new Error(`no Ghost on ${backend} for ${name}`);
    }
}
