// Readers: requests at a steady rate, whatever the answers do (open loop), each checked for the version that it shows.
import { describe } from './http.mjs';
import { goneFor, isPost, postPath } from './posts.mjs';
import { sleep } from './processes.mjs';
import { newest } from './witness.mjs';

const shown = (pattern) => (answer) => (answer.status === 200 ? newest(answer.text, pattern) : undefined);

// A post that is gone shows the site as it was before that post.
function shownOfPost(answer, number) {
    if (isPost(answer, number)) return number;
    return goneFor(answer) === undefined ? undefined : number - 1;
}

export class Readers {
    // An odd number of requests, so that two backends taking turns both get all.
    #rota;
    #answers = [];
    #open = new Set();
    #done = false;
    #loop;

    constructor(site, witness, perSecond) {
        this.site = site;
        this.witness = witness;
        // `path` is given the newest number that anybody was shown of the stream, so a post's page is asked for once the post was
        // taken; `version` says how far the answer had come.
        const at = (path) => () => path;
        const front = { name: 'GET /', stream: 'title', path: at('/'), version: shown(/<title>Version (\d+)<\/title>/g) };
        const settings = { name: 'GET settings', stream: 'title', path: at(site.contentApi('settings')), version: shown(/Version (\d+)/g) };
        const link = { name: 'GET / for its link', stream: 'navigation', path: at('/'), version: shown(/href="[^"]*\/menu-(\d+)\/"/g) };
        const posts = {
            name: 'GET posts', stream: 'posts', path: at(site.contentApi('posts', '&fields=title&limit=15')), version: shown(/"Post (\d+)"/g),
        };
        const sitemap = { name: 'GET sitemap', stream: 'sitemap', path: at('/sitemap-posts.xml'), version: shown(/\/post-(\d+)\//g) };
        const page = { name: 'GET a post', stream: 'pages', path: postPath, version: shownOfPost };
        this.#rota = [front, settings, posts, link, page, sitemap, front, settings, link, page, posts, sitemap, page];
        this.#loop = this.#run(1000 / perSecond);
    }

    async #run(pause) {
        const began = performance.now();
        for (let n = 0; !this.#done; n++) {
            const due = began + n * pause - performance.now();
            if (due > 0) await sleep(due);
            const read = this.#read(this.#rota[n % this.#rota.length]).finally(() => this.#open.delete(read));
            this.#open.add(read);
        }
    }

    async #read(kind) {
        const { name, stream } = kind;
        const at = performance.now();
        const floor = this.witness.floor(stream);
        const path = kind.path(floor);
        const answer = await this.site.ask(path);
        const version = kind.version(answer, floor);
        if (version !== undefined) this.witness.saw(stream, version);
        this.#answers.push({
            name, stream, path, at, floor, version,
            ms: answer.ms,
            backend: answer.headers?.['x-backend'],
            goneFor: stream === 'pages' ? goneFor(answer) : undefined,
            failure: version === undefined ? describe(answer) : undefined,
            twoState: version !== undefined && version < floor,
        });
    }

    // No more requests; the open ones are waited for.
    async finish() {
        this.#done = true;
        await this.#loop;
        await Promise.all(this.#open);
        return this.#answers;
    }
}
