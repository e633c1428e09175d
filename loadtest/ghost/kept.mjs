// Readers over TLS with HTTP/2: a few connections that stay open, as from browsers that stay on the site, each with many
// requests at a time. A connection that is lost is made anew for the next request; nothing is sent twice.
import http2 from 'node:http2';
import tls from 'node:tls';
import { GIVE_UP_MS } from './http.mjs';

export class Kept {
    opened = 0; // handshakes that succeeded
    protocols = new Set(); // what they agreed on
    #sessions;
    #next = 0;

    // `ca` is what the server's certificate has to be trusted by. The host of `origin` is this machine.
    constructor(origin, ca, connections) {
        this.origin = origin;
        this.ca = ca;
        this.connections = connections;
        this.#sessions = Array(connections).fill();
    }

    // As `request` of http.mjs: nothing here throws.
    request(path, { method = 'GET', headers = {}, json } = {}) {
        const body = json === undefined ? undefined : JSON.stringify(json);
        const began = performance.now();
        return new Promise((resolve) => {
            const stream = this.#session().request({
                ':method': method,
                ':path': path,
                ...headers,
                ...(body && { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) }),
            });
            const done = (result) => {
                clearTimeout(timer);
                resolve({ ms: performance.now() - began, ...result });
            };
            const timer = setTimeout(() => {
                done({ error: 'no answer' });
                stream.close(http2.constants.NGHTTP2_CANCEL);
            }, GIVE_UP_MS);
            let head;
            const chunks = [];
            stream.on('response', (fields) => { head = fields; });
            stream.on('data', (chunk) => chunks.push(chunk));
            stream.on('error', (error) => done({ error: error.message, status: head?.[':status'] }));
            stream.on('end', () => head && done({ status: head[':status'], headers: head, text: Buffer.concat(chunks).toString() }));
            stream.on('close', () => done({ error: 'closed without an answer' })); // if none of the others came first
            stream.end(body);
        });
    }

    close() {
        for (const session of this.#sessions) session?.destroy();
    }

    #session() {
        const at = this.#next++ % this.connections;
        const session = this.#sessions[at];
        if (session && !session.closed && !session.destroyed) return session;
        return this.#sessions[at] = this.#open();
    }

    #open() {
        const { hostname, port } = new URL(this.origin);
        const socket = tls.connect({ host: '127.0.0.1', port, servername: hostname, ca: this.ca, ALPNProtocols: ['h2'] }, () => {
            this.opened += 1;
            this.protocols.add(`${socket.alpnProtocol} over ${socket.getProtocol()}`);
        });
        const session = http2.connect(this.origin, { createConnection: () => socket });
        session.on('error', () => {}); // each of its requests is told so
        return session;
    }
}
