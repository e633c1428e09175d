// One HTTP request, told as a plain value: nothing here throws, since a failed request is a result.
import http from 'node:http';
import https from 'node:https';

export const GIVE_UP_MS = 40_000;

// A connection of its own for each request, as from one reader each, so that no idle connection can be the cause of a failure.
export function request(origin, path, options) {
    return ask(http, origin, path, options);
}

// The same over TLS with HTTP/1.1, from a server that has to be trusted by `ca`.
export function requestTls(origin, path, ca, options) {
    return ask(https, origin, path, { ...options, ca });
}

function ask(how, origin, path, { method = 'GET', headers = {}, json, ca } = {}) {
    const body = json === undefined ? undefined : JSON.stringify(json);
    const began = performance.now();
    return new Promise((resolve) => {
        const done = (result) => resolve({ ms: performance.now() - began, ...result });
        const req = how.request(origin + path, {
            method,
            ca,
            agent: false,
            signal: AbortSignal.timeout(GIVE_UP_MS),
            headers: {
                ...headers,
                ...(body && { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) }),
            },
        });
        req.on('error', (error) => done({ error: error.name === 'TimeoutError' ? 'no answer' : error.code ?? error.message }));
        req.on('response', (res) => {
            const chunks = [];
            res.on('data', (chunk) => chunks.push(chunk));
            res.on('error', (error) => done({ error: error.code ?? error.message, status: res.statusCode }));
            res.on('end', () => done({ status: res.statusCode, headers: res.headers, text: Buffer.concat(chunks).toString() }));
        });
        req.end(body);
    });
}

export function parse(answer) {
    try {
        return JSON.parse(answer.text);
    } catch {
        return undefined;
    }
}

export function describe(answer) {
    return answer.error ?? `${answer.status} ${(answer.text ?? '').replace(/\s+/g, ' ').slice(0, 160)}`;
}
