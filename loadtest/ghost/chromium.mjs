// Debian's Chromium, driven by playwright-core: a home and a profile of its own, one more authority that it trusts, and what it
// says about each page. No certificate is ignored, and it can reach nothing but this machine.
import fs from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { sleep } from './processes.mjs';

const NAMES = 'MAP *.example 127.0.0.1, MAP *.localhost 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1';
const PATIENCE_MS = 30_000;
const QUIET_MS = 500; // for what a page does after it is there

export class Chromium {
    // `trust` is given the home of the browser, and tells it there whom to trust.
    static async open(folder, playwright, trust) {
        const it = new Chromium();
        it.folder = folder;
        const home = path.join(folder, 'home');
        fs.mkdirSync(home, { recursive: true });
        await trust(home);
        const { XDG_DATA_HOME: _, ...env } = process.env; // another home has no other store
        const { chromium } = createRequire(import.meta.url)(playwright);
        it.context = await chromium.launchPersistentContext(path.join(folder, 'profile'), {
            executablePath: '/usr/bin/chromium',
            headless: true,
            viewport: { width: 1200, height: 800 },
            env: { ...env, HOME: home },
            args: [
                '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
                '--disable-component-update', '--disable-sync',
                `--host-resolver-rules=${NAMES}`,
            ],
        });
        it.context.setDefaultTimeout(PATIENCE_MS);
        it.page = await it.context.newPage();
        it.#listen();
        const security = await it.context.newCDPSession(it.page);
        security.on('Security.visibleSecurityStateChanged', ({ visibleSecurityState }) => { it.security = visibleSecurityState; });
        await security.send('Security.enable');
        return it;
    }

    // Goes to a page, does there what `until` says, and tells what was seen of it. A picture of it stays in the folder.
    async visit(name, url, until) {
        const page = this.page;
        await page.goto('about:blank'); // it cuts what the page before had under way, which is nobody's failure
        this.#noted = { failed: [], refused: [], said: [] };
        const began = performance.now();
        const answer = await page.goto(url);
        const ms = performance.now() - began;
        await until?.(page);
        await page.waitForLoadState('load');
        await sleep(QUIET_MS);
        await page.screenshot({ path: path.join(this.folder, `${name.replaceAll(/[ ,]+/g, '-')}.png`) });
        const noted = this.#noted;
        this.#noted = undefined;
        return {
            name, ms,
            status: answer?.status(),
            certificate: await answer?.securityDetails(),
            security: this.security?.securityState,
            issues: this.security?.securityStateIssueIds,
            ...await page.evaluate(loaded),
            origin: new URL(url).origin,
            ...noted,
        };
    }

    close() { return this.context.close(); }

    #noted;

    #listen() {
        const note = (kind, what) => this.#noted?.[kind].push(what);
        this.page.on('requestfailed', (request) => note('failed', { url: request.url(), text: request.failure()?.errorText }));
        this.page.on('response', (answer) => answer.status() >= 400 && note('refused', { url: answer.url(), text: answer.status() }));
        this.page.on('pageerror', (error) => note('said', { url: this.page.url(), text: error.message }));
        this.page.on('console', (message) => {
            if (['error', 'warning'].includes(message.type())) note('said', { url: message.location().url, text: message.text() });
        });
    }
}

// Run in the page: how it and its parts came here. Those out of the cache did not come.
function loaded() {
    const entries = [...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')];
    const came = entries.filter((entry) => entry.name.startsWith(location.origin) && entry.transferSize > 0);
    return { isSecureContext, parts: came.length, protocols: [...new Set(came.map((entry) => entry.nextHopProtocol))] };
}
