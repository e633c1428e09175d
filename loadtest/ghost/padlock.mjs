// What a developer sees who does what `ghostpin certs-dev` says: its authority in Chromium, and ghostpin before a stand-in.
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { once } from 'node:events';
import { Chromium } from './chromium.mjs';
import { requestTls } from './http.mjs';
import { judgePage } from './pages.mjs';
import { freePort, start, stop, tail, until } from './processes.mjs';
import { promise } from './verdict.mjs';

const HOSTS = ['localhost', 'blog.localhost', 'any.blog.localhost', 'blog.example'];
const START_PATIENCE_MS = 15_000;

// Twice: on a machine where Chromium has never run, and on one that has its older store.
export async function padlock(folder, program, parts) {
    const desk = path.join(folder, 'padlock');
    fs.mkdirSync(desk);
    const said = output(spawnSync(program, ['certs-dev'], { cwd: desk, encoding: 'utf8' }));
    const command = /Chromium +(.*)\n +(certutil .*?) +\(/.exec(said)?.slice(1).join('\n');
    if (!command) throw new Error(`certs-dev says nothing of Chromium: ${said}`);

    const backend = http.createServer((request, answer) => {
        answer.setHeader('content-type', 'text/html');
        answer.end(`<!doctype html><title>stand-in</title><link rel="icon" href="data:,"><h1>${request.headers.host}</h1>`);
    });
    backend.listen(0, '127.0.0.1');
    await once(backend, 'listening');
    const port = await freePort();
    fs.writeFileSync(path.join(desk, 'ghostpin.toml'), `
[listen]
http = []
https = ["127.0.0.1:${port}"]
[tls]
certificates = "certs-dev/certificates"
[admin]
listen = "./admin.sock"
[[site]]
name = "blog"
hosts = ["localhost", "blog.localhost", "*.blog.localhost", "blog.example"]
backends = ["127.0.0.1:${backend.address().port}"]
app = "generic"
`);
    const front = start('ghostpin', program, ['run', '--config', 'ghostpin.toml'], { cwd: desk, log: path.join(desk, 'ghostpin.log') });
    const ca = fs.readFileSync(path.join(desk, 'certs-dev/ca.crt'));
    const answers = () => requestTls(`https://localhost:${port}`, '/', ca).then((answer) => answer.status === 200);
    if (!await until(answers, START_PATIENCE_MS)) throw new Error(`ghostpin does not answer; the end of ${front.log}:\n${tail(front.log)}`);

    const seen = { pages: [] };
    for (const [machine, store] of [['new-machine', undefined], ['older-store', '.pki/nssdb']]) {
        const trust = (home) => {
            if (store) fs.mkdirSync(path.join(home, store), { recursive: true });
            output(spawnSync('sh', ['-ec', command], { cwd: desk, env: { ...process.env, HOME: home }, encoding: 'utf8', input: '' }));
        };
        const chromium = await Chromium.open(path.join(desk, machine), path.join(parts, 'playwright-core'), trust);
        for (const host of HOSTS) seen.pages.push(await chromium.visit(`${machine}, ${host}`, `https://${host}:${port}/`));
        await chromium.close();
    }
    await stop(front);
    backend.close();
    return seen;
}

export function judgePadlock(run, { pages }) {
    return [
        promise(`${run}: every host was looked at on both machines`, pages.length === 2 * HOSTS.length, `${pages.length} pages`),
        ...pages.flatMap((page) => judgePage(`${run}: ${page.name}`, page, /^ghostpin development CA/)),
    ];
}

function output({ status, stdout, stderr, error }) {
    if (status !== 0) throw new Error(stderr || error);
    return stdout;
}
