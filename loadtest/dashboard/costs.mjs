// What the dashboard costs: ghostpin, when as many watch as may; others who ask meanwhile; and the browser, when it is open for long.
import fs from 'node:fs';
import http from 'node:http';
import { request } from '../ghost/http.mjs';
import { sleep } from '../ghost/processes.mjs';
import { promise } from '../ghost/verdict.mjs';

const WATCHERS = 16;
const WINDOW_MS = 6_000;
const TICKS_PER_SECOND = 100;
// A page that is open for long may grow by this, from when it was warm.
const GROWTH_MB = 4;
const GROWTH_NODES = 3_000;

// CPU seconds of each thread of a process, by name.
function threads(pid) {
    const folder = `/proc/${pid}/task`;
    const used = {};
    for (const thread of fs.readdirSync(folder)) {
        const [, name, rest] = /\((.*)\) (.*)/.exec(fs.readFileSync(`${folder}/${thread}/stat`, 'utf8'));
        const fields = rest.split(' ');
        const kind = name.replace(/[-0-9]+$/, '');
        used[kind] = (used[kind] ?? 0) + (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
    }
    return used;
}

const quantile = (all, part) => [...all].sort((a, b) => a - b)[Math.floor((all.length - 1) * part)];

// What others wait for the admin API, and which thread works how much, while something goes on.
async function window(world, pid) {
    const before = threads(pid);
    const began = performance.now();
    const waits = [];
    while (performance.now() - began < WINDOW_MS) {
        const { ms, status } = await request(world.origin, '/healthz');
        if (status === 200) waits.push(ms);
        await sleep(10);
    }
    const seconds = (performance.now() - began) / 1000;
    const after = threads(pid);
    const busy = Object.fromEntries(Object.entries(after).map(([name, used]) => [name, (used - (before[name] ?? 0)) / seconds]));
    return { busy, p50: quantile(waits, 0.5), p99: quantile(waits, 0.99), worst: Math.max(...waits) };
}

const told = ({ busy, p50, p99, worst }) => {
    const cpu = Object.entries(busy).filter(([, part]) => part >= 0.001).map(([name, part]) => `${name} ${(part * 100).toFixed(1)} %`);
    return `/healthz ${p50.toFixed(1)} ms (99 of 100: ${p99.toFixed(1)}, worst ${worst.toFixed(1)}); CPU: ${cpu.join(', ') || 'nothing'}`;
};

export async function watched(world, say) {
    const { pid } = world.front.child;
    say(`    nobody watches: ${told(await window(world, pid))}`);
    let bytes = 0;
    const watchers = Array.from({ length: WATCHERS }, (_, place) => http.get(`${world.origin}/v1/live?site=corner-shop&text=${place % 10}&from=${place * 50}`, { agent: false }, (answer) => {
        answer.on('data', (data) => { bytes += data.length; });
        answer.on('error', () => {});
    }).on('error', () => {}));
    await sleep(2_000);
    bytes = 0;
    const quiet = await window(world, pid);
    say(`    ${WATCHERS} watch: ${told(quiet)}; each is sent ${(bytes / WATCHERS / WINDOW_MS).toFixed(2)} KB/s`);
    const refused = await request(world.origin, '/v1/live?seconds=0');
    for (const watcher of watchers) watcher.destroy();
    return [promise('no more than 16 watch', refused.status === 429, `another one was answered ${refused.status}`)];
}

// The page is open, sites are moved and looked for, and the browser's memory is looked at each half minute.
export async function longer(world, page, minutes, say) {
    const end = performance.now() + minutes * 60_000;
    let [round, warm, seen, asked] = [0, undefined, undefined, 0];
    await page.openSite('corner-shop');
    while (performance.now() < end) {
        const { backend, candidates } = await world.site();
        const readers = world.readers(20);
        await world.wish('handoff', { to: candidates.find(({ address }) => address !== backend).address });
        await Promise.all(readers);
        await world.wish('hold');
        await sleep(300);
        await world.wish('release');
        await page.openSite(round % 2 === 0 ? `blog-${String(round % world.sites).padStart(6, '0')}` : 'corner-shop');
        round += 1;
        if (performance.now() < asked) continue;
        asked = performance.now() + 30_000;
        seen = await page.memory();
        warm ??= round > 5 ? seen : undefined;
        if (warm === undefined) asked = performance.now() + 3_000;
        say(`    after ${round} rounds: ${seen.mb.toFixed(2)} MB, ${seen.nodes} nodes, ${seen.listeners} listeners`);
    }
    seen = await page.memory();
    say(`    after ${round} rounds: ${seen.mb.toFixed(2)} MB, ${seen.nodes} nodes, ${seen.listeners} listeners`);
    const grown = `${(seen.mb - (warm?.mb ?? seen.mb)).toFixed(2)} MB, ${seen.nodes - (warm?.nodes ?? seen.nodes)} nodes`;
    const isBounded = warm !== undefined && seen.mb - warm.mb < GROWTH_MB && seen.nodes - warm.nodes < GROWTH_NODES;
    return [promise(`the page does not grow in ${minutes} minutes`, isBounded, `it has grown by ${grown}`)];
}
