// Asking ghostpin: single questions, and the stream of what changes. The token stays in this tab, and goes nowhere but there.
import { byId, write } from './elements.js';

const KEPT = 'ghostpin-token';
const RETRY_MS = [500, 1000, 2000, 5000];
// ghostpin says something every 10 s, even if nothing has changed. A connection that is dead says nothing either, for ever.
const SILENCE_MAX_MS = 25_000;
export const SILENT = 'it does not answer';
// What can be sent in a header. Others are mostly ones that can't be seen, and came along when the token was copied.
const TOKEN = /^[\x21-\x7e]+$/;

let asking;

const fields = () => {
    const token = sessionStorage.getItem(KEPT);
    return token === null ? {} : { authorization: `Bearer ${token}` };
};

// What ghostpin has against it, in its own words.
class Refusal extends Error {
    constructor(status, problem) {
        super(problem?.detail ?? `ghostpin answered with status ${status}`);
        this.status = status;
        this.title = problem?.title ?? 'refused';
    }
}

// Aborts what is silent for too long, or what `signal` does.
class Patience {
    #over = new AbortController();
    #timer;

    constructor(signal) {
        this.signal = signal === undefined ? this.#over.signal : AbortSignal.any([signal, this.#over.signal]);
    }

    // Something was heard, or has just been asked for.
    begin() {
        this.end();
        this.#timer = setTimeout(() => this.#over.abort(new Error(SILENT)), SILENCE_MAX_MS);
    }

    end() { clearTimeout(this.#timer); }
}

// `patience` is for an answer that comes at once. It has none with whoever is to type the token.
async function send(path, options, patience) {
    for (;;) {
        patience?.begin();
        const answer = await fetch(path, { cache: 'no-store', redirect: 'error', ...options, headers: { ...options?.headers, ...fields() } });
        if (answer.ok) return answer;
        const problem = await answer.json().catch(() => undefined);
        if (answer.status !== 401) throw new Refusal(answer.status, problem);
        patience?.end();
        await token();
    }
}

// Asks whoever sits here for the token, once for all who need it.
function token() {
    asking ??= askForToken().finally(() => { asking = undefined; });
    return asking;
}

async function askForToken() {
    const [dialog, text] = [byId('token'), byId('token-text')];
    let wrong = sessionStorage.getItem(KEPT) === null ? '' : 'That was not the token.';
    dialog.oncancel = (event) => event.preventDefault();
    for (;;) {
        write(byId('token-wrong'), wrong);
        dialog.showModal();
        await new Promise((resolve) => { dialog.addEventListener('close', resolve, { once: true }); });
        const typed = text.value.trim();
        text.value = '';
        if (TOKEN.test(typed)) {
            sessionStorage.setItem(KEPT, typed);
            return;
        }
        wrong = 'No token has such a character: there is a space in it, or a letter that is not ASCII and may not be seen.';
    }
}

export async function get(path, signal) {
    const patience = new Patience(signal);
    try {
        return await (await send(path, { signal: patience.signal }, patience)).json();
    } finally {
        patience.end();
    }
}

export const post = async (path, body) => (await send(path, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'x-ghostpin-actor': 'dashboard' },
    body: body === undefined ? undefined : JSON.stringify(body),
})).json();

// The stream of what changes. `path` tells what is to be watched now; `told` is given each event, `linked` whether there is a link.
export class Watch {
    #path;
    #told;
    #linked;
    #stop = new AbortController();

    constructor(path, told, linked) {
        [this.#path, this.#told, this.#linked] = [path, told, linked];
    }

    // Watches from now on, and goes on until it is stopped, whatever happens to the connection.
    async start() {
        this.stop();
        const { signal } = this.#stop = new AbortController();
        for (let failures = 0; !signal.aborted;) {
            let why = '';
            const patience = new Patience(signal);
            try {
                const answer = await send(this.#path(), { signal: patience.signal }, patience);
                this.#linked(true);
                for await (const event of events(answer.body, patience)) {
                    failures = 0;
                    this.#told(event);
                }
            } catch (error) {
                if (signal.aborted) return;
                why = error.status === undefined ? SILENT : error.message;
                failures += 1;
            } finally {
                patience.end();
            }
            if (signal.aborted) return;
            if (why !== '') this.#linked(false, why);
            const pause = failures === 0 ? 0 : RETRY_MS[Math.min(failures, RETRY_MS.length) - 1];
            await new Promise((resolve) => { setTimeout(resolve, pause); });
        }
    }

    stop() { this.#stop.abort(); }
}

// The data of server-sent events. EventSource can't send the token.
async function* events(body, patience) {
    const reader = body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = '';
    try {
        for (;;) {
            const { done, value } = await reader.read();
            if (done) return;
            patience.begin();
            const parts = (rest + value).split('\n\n');
            rest = parts.pop();
            for (const part of parts) {
                if (part.startsWith('data: ')) yield JSON.parse(part.slice('data: '.length));
            }
        }
    } finally {
        reader.cancel().catch(() => {});
    }
}
