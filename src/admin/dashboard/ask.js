// Asking ghostpin: single questions, and the stream of what changes. The token stays in this tab, and goes nowhere but there.
import { byId, write } from './elements.js';

const KEPT = 'ghostpin-token';
const RETRY_MS = [500, 1000, 2000, 5000];
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

async function send(path, options) {
    for (;;) {
        const answer = await fetch(path, { cache: 'no-store', redirect: 'error', ...options, headers: { ...options?.headers, ...fields() } });
        if (answer.ok) return answer;
        const problem = await answer.json().catch(() => undefined);
        if (answer.status !== 401) throw new Refusal(answer.status, problem);
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

export const get = async (path, signal) => (await send(path, { signal })).json();

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
            try {
                const answer = await send(this.#path(), { signal });
                this.#linked(true);
                for await (const event of events(answer.body)) {
                    failures = 0;
                    this.#told(event);
                }
            } catch (error) {
                if (signal.aborted) return;
                why = error.status === undefined ? 'it does not answer' : error.message;
                failures += 1;
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
async function* events(body) {
    const reader = body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = '';
    try {
        for (;;) {
            const { done, value } = await reader.read();
            if (done) return;
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
