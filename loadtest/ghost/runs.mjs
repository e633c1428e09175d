// The runs: what happens, in order. Each gives what was seen; whether that is good is judged in verdict.mjs.
import { Editor } from './editor.mjs';
import { ghostpin, roundRobin } from './fronts.mjs';
import { request } from './http.mjs';
import { sleep, until } from './processes.mjs';
import { Readers } from './readers.mjs';
import { Witness } from './witness.mjs';

export const READS_PER_SECOND = 20;
const CALM_MS = 5_000; // readers and editor at work before anything happens
const AFTER_MS = 12_000; // and after it
const PUBLISH_PATIENCE_S = 60; // for a scheduled post, after its time; Ghost itself goes on trying for 150 s

class Work {
    constructor(site) {
        this.site = site;
        this.witness = new Witness();
        this.editor = new Editor(site, this.witness);
    }

    // One of everything is published before the first reader comes, so that each answer has a number to show.
    async begin() {
        await this.editor.step();
        this.editor.begin();
        this.readers = new Readers(this.site, this.witness, READS_PER_SECOND);
    }

    // The scheduled post is waited for with readers and editor still at work.
    async finish(scheduled, patience = PUBLISH_PATIENCE_S) {
        const seen = { patience };
        if (scheduled) seen.published = await this.#appears(scheduled, patience);
        seen.reads = await this.readers.finish();
        seen.writes = await this.editor.finish();
        return seen;
    }

    // How many seconds after its time a scheduled post was found published; null if it was not.
    async #appears({ id, time }, patience) {
        const left = time - Date.now() + patience * 1000;
        const appeared = await until(async () => await this.site.isPublished(id) && Date.now(), left, 250);
        return appeared ? (appeared - time) / 1000 : null;
    }
}

// How it should be: one Ghost alone. If this shows a two-state read, it is the check that is wrong.
export async function alone(site) {
    const [a] = site.backends;
    const front = await roundRobin(site, [a]);
    const work = new Work(site);
    await work.begin();
    await sleep(CALM_MS);
    const seen = await work.finish();
    await front.stop();
    return seen;
}

// How it must not be: two Ghosts taking turns. Then the one that knows of the scheduled post dies.
export async function balanced(site) {
    const [, b] = site.backends;
    await site.start(b);
    const front = await roundRobin(site, site.backends);
    const work = new Work(site);
    await work.begin();
    await sleep(2 * CALM_MS);
    const scheduled = await work.editor.schedule(new Date(Date.now() + 4_000));
    await sleep(2_000);
    site.kill(scheduled.backend);
    const seen = await work.finish(scheduled, 15);
    await front.stop();
    site.stopAll();
    return seen;
}

// The active Ghost is killed; the `start` hook boots the other one. A post is due while nobody is there to publish it.
export async function killed(site, program, name, challenge) {
    const [a] = site.backends;
    return pinned(site, program, name, { fence: true, challenge }, async ({ work }) => {
        const scheduled = await work.editor.schedule(new Date(Date.now() + 3_000));
        await sleep(2_000);
        site.kill(a);
        await sleep(AFTER_MS);
        return scheduled;
    });
}

// The active Ghost stands still for 8 s and then goes on, beside the new one: there is no fence hook that would end it. A post
// is due while it stands still.
export async function frozen(site, program, name, challenge) {
    const [a] = site.backends;
    return pinned(site, program, name, { fence: false, challenge }, async ({ work, front, seen }) => {
        const scheduled = await work.editor.schedule(new Date(Date.now() + 4_000));
        await sleep(2_000);
        site.freeze(a);
        await sleep(8_000);
        site.thaw(a);
        await sleep(AFTER_MS);
        seen.conflicts = (await front.site()).conflicts;
        return scheduled;
    });
}

async function pinned(site, program, name, how, happen) {
    const [a] = site.backends;
    const issued = site.authority?.issued();
    await site.start(a);
    const front = await ghostpin(site, program, name, how);
    const seen = { before: await front.site() };
    if (seen.before.backend !== a) throw new Error(`ghostpin begins with ${seen.before.backend}, not with the first backend ${a}`);
    const work = new Work(site);
    await work.begin();
    await sleep(CALM_MS);
    const scheduled = await happen({ work, front, seen });
    Object.assign(seen, await work.finish(scheduled));
    seen.titles = await site.publishedTitles();
    seen.withoutPage = await site.withoutPage(seen.titles);
    seen.newestHeld = await Promise.all(site.backends.map((backend) => site.hasPost(backend, work.witness.floor('pages'))));
    seen.titlesHeld = await Promise.all(site.backends.map((backend) => site.titleOn(backend)));
    seen.after = await front.site();
    seen.journal = await front.journal();
    if (site.kept) seen.secure = await overTls(site, issued);
    await front.stop();
    site.stopAll();
    return seen;
}

// How a site was reached, if not in clear text.
async function overTls(site, issuedBefore) {
    const clear = await request(`http://${site.clearListen}`, '/', { headers: { host: site.host } });
    return {
        protocols: [...site.kept.protocols],
        connections: site.kept.connections,
        opened: site.kept.opened,
        issued: site.authority.issued() - issuedBefore,
        clear: `${clear.error ?? clear.status} ${clear.headers?.location}`,
        origin: site.origin,
    };
}
