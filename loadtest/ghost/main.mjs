// The whole test: a site is made, the runs happen one after the other, the table and the promises are printed.
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { browser, judgeBrowser } from './browser.mjs';
import { crowd, judgeCrowd, toldCrowd } from './crowd.mjs';
import { toldPage } from './pages.mjs';
import { judgePadlock, padlock } from './padlock.mjs';
import { stopAll } from './processes.mjs';
import { alone, balanced, frozen, killed } from './runs.mjs';
import { Site } from './site.mjs';
import { judges, table, told } from './verdict.mjs';

const TIME_LIMIT_MS = 10 * 60_000;

// What is printed over its column if it has one, what happens, and by whom it is done and judged. A `secure` run is reached over
// TLS, and proves its name in this way. One that is to be `named` needs a browser.
const RUNS = {
    alone: { heading: 'one Ghost', what: 'one Ghost alone behind nginx', run: alone, judge: judges.alone },
    balanced: { heading: 'round robin', what: 'two Ghosts behind nginx, taking turns; then one is killed', run: balanced, judge: judges.balanced },
    killed: { heading: 'ghostpin, killed', what: 'two Ghosts behind ghostpin; the active one is killed', run: killed, judge: judges.killed },
    frozen: { heading: 'ghostpin, frozen', what: 'two Ghosts behind ghostpin; the active one is frozen for 8 s', run: frozen, judge: judges.frozen },
    crowd: { what: 'ten thousand readers wait for the front page while no Ghost is there', run: crowd, judge: judgeCrowd },
    'killed-tls': { heading: 'killed, TLS', what: 'killed, over TLS', run: killed, judge: judges.killed, secure: 'tls-alpn-01' },
    'frozen-tls': { heading: 'frozen, TLS', what: 'frozen, over TLS', run: frozen, judge: judges.frozen, secure: 'http-01' },
    browser: { what: 'the site over TLS in Chromium', run: browser, judge: judgeBrowser, secure: 'tls-alpn-01', named: true },
    padlock: { what: 'certificates by `ghostpin certs-dev` in Chromium', run: padlock, judge: judgePadlock, noSite: true, named: true },
};

const { values: options } = parseArgs({
    options: {
        installed: { type: 'string' }, // Ghost's folder, as install.sh made it
        ghostpin: { type: 'string' }, // the program
        only: { type: 'string' }, // names of runs, with commas
        keep: { type: 'boolean', default: false }, // the folder of this test, which is otherwise kept only if something broke
    },
});
const names = options.only?.split(',') ?? Object.keys(RUNS).filter((name) => !RUNS[name].named);
const unknown = names.filter((name) => !RUNS[name]);
if (unknown.length) throw new Error(`--only ${unknown}: the runs are ${Object.keys(RUNS).join(', ')}`);
const wanted = Object.keys(RUNS).filter((name) => names.includes(name)); // in our order, so that there is one site of each kind
const parts = path.dirname(options.installed); // what else install.sh has put beside Ghost

const began = performance.now();
const say = (text) => console.log(`${((performance.now() - began) / 1000).toFixed(0).padStart(4)} s  ${text}`);
const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'ghostpin-ghost-'));
let site;

// The site of a run; runs that are reached in the same way share one.
async function siteFor(secure) {
    if (site && secure === Boolean(site.authority)) return;
    if (site) await cleanUp();
    site = await Site.create(path.join(folder, secure ? 'tls' : 'clear'), options.installed, { secure, program: options.ghostpin });
    say(`a database, a content folder and Ghost ${site.version}, at ${site.origin}`);
    await site.start(site.backends[0]);
    await site.setUp();
}

async function cleanUp() {
    site?.stopAll();
    await stopAll();
}

async function leave(why, status) {
    console.error(`${why}; logs are in ${folder}`);
    await cleanUp();
    process.exit(status);
}
process.on('SIGINT', () => leave('interrupted', 130));
process.on('SIGTERM', () => leave('terminated', 143));
setTimeout(() => leave(`not done in ${TIME_LIMIT_MS / 1000} s`, 1), TIME_LIMIT_MS).unref();

let broken = 0;
try {
    const columns = [];
    const promises = [];
    for (const name of wanted) {
        const { heading, what, run, judge, secure, noSite } = RUNS[name];
        if (!noSite) await siteFor(Boolean(secure));
        say(what);
        const seen = noSite ? await run(folder, options.ghostpin, parts) : await run(site, options.ghostpin, name, secure, parts);
        for (const page of seen.pages ?? []) say(`    ${toldPage(page)}`);
        if (seen.crowd) say(`    ${toldCrowd(seen.crowd)}`);
        for (const line of told(seen)) say(`    ${line}`);
        if (heading) columns.push([heading, seen]);
        promises.push(...judge(name, seen, site?.version));
    }
    say('done');

    if (columns.length) console.log(`\n${table(columns)}`);
    console.log();
    for (const { name, kept, otherwise } of promises) console.log(kept ? `ok      ${name}` : `BROKEN  ${name}: ${otherwise}`);
    broken = promises.filter((promise) => !promise.kept).length;
    console.log(`\n${promises.length - broken} passed, ${broken} failed`);
} catch (error) {
    console.error(error);
    broken = 1;
} finally {
    await cleanUp();
}

if (broken || options.keep) console.log(`logs are in ${folder}`);
else fs.rmSync(folder, { recursive: true });
process.exit(broken ? 1 : 0);
