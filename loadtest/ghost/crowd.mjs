// Ten thousand readers who wait for the front page when Ghost comes back, and one page of work for it.
import fs from 'node:fs';
import path from 'node:path';
import { ghostpin } from './fronts.mjs';
import { start, stop, tail, until } from './processes.mjs';
import { promise } from './verdict.mjs';

const READERS = Number(process.env.GHOSTPIN_CROWD ?? 10_000);
const SHARES = process.env.GHOSTPIN_CROWD_SHARES ?? 'true'; // what it would be without: many minutes for ten thousand
const ASKING_MS = 30_000; // until all of them have asked
const ANSWERED_S = 2; // after Ghost is ready
const PATIENCE_MS = 120_000;

export async function crowd(site, program, name) {
    const pace = path.join(path.dirname(program), 'pace');
    if (!fs.existsSync(pace)) throw new Error(`${pace} is not there; build it: cargo build -p ghostpin-loadtest`);
    const [a, b] = site.backends;
    await site.start(a);
    const front = await ghostpin(site, program, name, {
        fence: false,
        start: false,
        hold: `timeout = "120s"\nmax_requests = ${READERS}\nshare_answers = ${SHARES}`,
        limits: `max_connections = ${2 * READERS}\nmax_connections_per_client = ${2 * READERS}\nhead_timeout = "60s"`,
    });
    site.kill(a);
    const log = path.join(site.folder, name, 'pace.json');
    const readers = start('pace', pace, ['crowd', site.listen, '--host', site.host, '--connections', `${READERS}`], { log });
    const held = await until(async () => (await front.site()).held >= READERS || readers.ended, ASKING_MS);
    if (!held || readers.ended) throw new Error(`not all of them are held; the end of ${log}:\n${tail(log)}`);
    const ready = until(async () => {
        const answer = await site.direct(b, '/ghost/api/admin/site/');
        return answer.status === 200 && Date.now();
    }, PATIENCE_MS, 20);
    await site.start(b);
    await until(() => readers.ended, PATIENCE_MS);
    await stop(readers);
    const metrics = await front.metrics();
    const seen = {
        crowd: {
            ...JSON.parse(fs.readFileSync(log, 'utf8')),
            ready_ms: await ready,
            shared: Number(/^ghostpin_answers_shared_total (\d+)$/m.exec(metrics)[1]),
        },
        journal: await front.journal(),
    };
    await front.stop();
    site.stopAll();
    return seen;
}

const seconds = (crowd) => (crowd.last_ms - crowd.ready_ms) / 1000;

export function toldCrowd(crowd) {
    const first = (crowd.first_ms - crowd.ready_ms) / 1000;
    return `${JSON.stringify(crowd.statuses)} answers, ${crowd.bodies} kinds of them, ${crowd.shared} given by another one's, `
        + `${(crowd.bytes / 1e6).toFixed(0)} MB; the first ${first.toFixed(2)} s after Ghost was ready, the last ${seconds(crowd).toFixed(2)} s`;
}

export function judgeCrowd(run, { crowd }) {
    return [
        promise(`${run}: all readers have the page`, crowd.statuses['200'] === READERS && crowd.bodies === 1,
            `${JSON.stringify(crowd.statuses)}, ${crowd.bodies} kinds of answers`),
        promise(`${run}: the last has it ${ANSWERED_S} s after Ghost is ready`, seconds(crowd) <= ANSWERED_S, `it was ${seconds(crowd)} s`),
    ];
}
