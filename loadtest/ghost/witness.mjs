// The check: no reader may be shown an older state than one that somebody had been shown before.
//
// The editor numbers everything: the title "Version 7", the link "Menu 7", the posts "Post 12". So each answer shows how far
// the site had come, in one of the streams. A request remembers, when it begins, the newest number that any answer had shown
// until then; an answer below that is a **two-state read**. Answers that overlap prove nothing.
export const STREAMS = ['title', 'navigation', 'posts', 'sitemap', 'pages'];

export class Witness {
    #newest = Object.fromEntries(STREAMS.map((stream) => [stream, 0]));

    // What a request that begins now must not fall behind.
    floor(stream) { return this.#newest[stream]; }

    // What an answer showed.
    saw(stream, version) { this.#newest[stream] = Math.max(this.#newest[stream], version); }
}

// The newest number in a text, or undefined if it shows none.
export function newest(text, pattern) {
    const numbers = [...text.matchAll(pattern)].map((match) => Number(match[1]));
    return numbers.length ? Math.max(...numbers) : undefined;
}
