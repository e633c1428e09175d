// The editor: changes the site's title and navigation and publishes posts, one request after the other, all of them numbered.
import { describe, parse } from './http.mjs';
import { postSlug } from './posts.mjs';
import { sleep } from './processes.mjs';

const PAUSE_MS = 400;

export class Editor {
    // Numbers grow over all runs of one site, so that no run can take the leftovers of another for its own.
    static #title = 0;
    static #navigation = 0;
    static #post = 0;

    writes = [];
    #done = false;
    #loop;

    constructor(site, witness) {
        this.site = site;
        this.witness = witness;
    }

    // A title, a navigation, a post, and again. What failed is not sent a second time: it may have happened.
    async step() {
        await this.#changeTitle();
        await this.#changeNavigation();
        await this.#publish();
    }

    begin() {
        this.#loop = (async () => {
            while (!this.#done) {
                await this.step();
                await sleep(PAUSE_MS);
            }
        })();
    }

    async finish() {
        this.#done = true;
        await this.#loop;
        return this.writes;
    }

    // A post that appears by itself at `time`. Gives its id, and who took the request, if the front tells.
    async schedule(time) {
        const title = `Scheduled for ${time.toISOString()}`;
        const post = { title, status: 'scheduled', published_at: time.toISOString() };
        const answer = await this.#send(title, 'POST', 'posts/', { posts: [post] });
        const id = parse(answer)?.posts?.[0]?.id;
        if (!id) throw new Error(`no post could be scheduled: ${describe(answer)}`);
        return { id, time, backend: answer.headers['x-backend'] };
    }

    async #changeTitle() {
        const number = ++Editor.#title;
        await this.#set('title', number, `Version ${number}`);
    }

    // One link, that a reader finds on every page.
    async #changeNavigation() {
        const number = ++Editor.#navigation;
        await this.#set('navigation', number, JSON.stringify([{ label: `Menu ${number}`, url: `/menu-${number}/` }]));
    }

    async #set(key, number, value) {
        const answer = await this.#send(`${key} ${number}`, 'PUT', 'settings/', { settings: [{ key, value }] });
        // The editor is a reader too: his answer shows him what he wrote.
        if (answer.status === 200) this.witness.saw(key, number);
        await sleep(PAUSE_MS);
    }

    async #publish() {
        const number = ++Editor.#post;
        const post = { title: `Post ${number}`, slug: postSlug(number), status: 'published' };
        const answer = await this.#send(post.title, 'POST', 'posts/', { posts: [post] });
        if (answer.status !== 201) return;
        this.witness.saw('posts', number);
        this.witness.saw('pages', number); // his answer has the post's address
    }

    async #send(what, method, path, json) {
        const at = performance.now();
        const answer = await this.site.ask(`/ghost/api/admin/${path}`, { method, json, headers: this.site.ownerHeaders });
        const taken = answer.status === 200 || answer.status === 201;
        this.writes.push({ what, at, ms: answer.ms, taken, failure: taken ? undefined : describe(answer) });
        return answer;
    }
}
