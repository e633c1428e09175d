// Readers: requests at a steady rate, whatever the answers do (open loop), each checked for the version that it shows.
import { describe, request } from './http.mjs';
import { sleep } from './processes.mjs';
import { newest } from './witness.mjs';

const TITLE = /Version (\d+)/g;

export class Readers {
    // Five of nine requests ask for the title, as a page or as data. An odd number, so that two backends taking turns both get all.
    #rota;
    #answers = [];
    #open = new Set();
    #done = false;
    #loop;

    constructor(site, witness, perSecond) {
        this.origin = site.origin;
        this.witness = witness;
        const page = { name: 'GET /', stream: 'title', path: '/', pattern: /<title>Version (\d+)<\/title>/g };
        const settings = { name: 'GET settings', stream: 'title', path: site.contentApi('settings'), pattern: TITLE };
        const posts = { name: 'GET posts', stream: 'posts', path: site.contentApi('posts', '&fields=title&limit=15'), pattern: /"Post (\d+)"/g };
        const sitemap = { name: 'GET sitemap', stream: 'sitemap', path: '/sitemap-posts.xml', pattern: /\/post-(\d+)\//g };
        this.#rota = [page, settings, posts, page, settings, sitemap, page, posts, sitemap];
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

    async #read({ name, stream, path, pattern }) {
        const at = performance.now();
        const floor = this.witness.floor(stream);
        const answer = await request(this.origin, path);
        const version = answer.status === 200 ? newest(answer.text, pattern) : undefined;
        if (version !== undefined) this.witness.saw(stream, version);
        this.#answers.push({
            name, stream, at, floor, version,
            ms: answer.ms,
            backend: answer.headers?.['x-backend'],
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
