// Processes that this test starts, and waiting. Everything that was started is ended by its own pid.
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import net from 'node:net';

const started = new Set();

// Starts a process whose output goes to `log`; `stop` ends it.
export function start(name, command, args, { log, cwd, env } = {}) {
    const out = fs.openSync(log, 'a');
    const child = spawn(command, args, { cwd, env: { ...process.env, ...env }, stdio: ['ignore', out, out] });
    fs.closeSync(out);
    const it = { name, log, child, ended: false };
    it.exit = new Promise((resolve) => {
        child.on('error', (error) => { it.ended = true; resolve(error.message); });
        child.on('exit', (code, signal) => { it.ended = true; resolve(signal ?? `exit ${code}`); });
    });
    started.add(it);
    return it;
}

// Runs a program to its end.
export async function finish(name, command, args, options) {
    const it = start(name, command, args, options);
    const how = await it.exit;
    started.delete(it);
    if (how !== 'exit 0') throw new Error(`${name}: ${how}; the end of ${it.log}:\n${tail(it.log)}`);
}

export async function stop(it, signal = 'SIGTERM', patience = 10_000) {
    if (!it.ended) {
        it.child.kill(signal);
        await Promise.race([it.exit, sleep(patience)]);
        if (!it.ended) it.child.kill('SIGKILL');
        await it.exit;
    }
    started.delete(it);
}

export const stopAll = () => Promise.all([...started].map((it) => stop(it)));

export function tail(file, lines = 8) {
    return fs.existsSync(file) ? fs.readFileSync(file, 'utf8').trimEnd().split('\n').slice(-lines).join('\n') : '(empty)';
}

export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// Waits until `check` gives something, and gives it back; undefined when the time is up.
export async function until(check, patience, pause = 50) {
    const end = performance.now() + patience;
    for (;;) {
        const value = await check();
        if (value || performance.now() > end) return value || undefined;
        await sleep(pause);
    }
}

export function freePort() {
    return new Promise((resolve, reject) => {
        const server = net.createServer().on('error', reject);
        server.listen(0, '127.0.0.1', () => {
            const { port } = server.address();
            server.close(() => resolve(port));
        });
    });
}

// Signals a process that somebody else started (a hook). False if it is not there.
export function signal(pid, name) {
    try {
        return process.kill(pid, name);
    } catch {
        return false;
    }
}
