// The page as somebody uses it: by keys alone, and with what is needed to see when something was painted.
import path from 'node:path';
import { Chromium } from '../ghost/chromium.mjs';
import { until } from '../ghost/processes.mjs';

const PATIENCE_MS = 20_000;
const TABS_MAX = 120;
export const DESKTOP = { width: 1360, height: 900 };
export const PHONE = { width: 390, height: 844 };

// Run in the page before its own scripts: when the first window of sites, and what a key leads to, was painted. A frame after the
// change has begun, and what was to be painted in it is over.
function watchPaints() {
    const painted = (resolve) => requestAnimationFrame(() => setTimeout(() => resolve(performance.now())));
    const when = (isSo) => new Promise((resolve) => {
        const observer = new MutationObserver(() => {
            if (!isSo()) return;
            observer.disconnect();
            painted(resolve);
        });
        observer.observe(document, { subtree: true, childList: true, characterData: true, attributes: true });
    });
    window.firstPaint = when(() => document.querySelector('#rows .badge') && document.querySelector('#verdict:not(.asking)'));
    window.nextWindow = () => {
        const before = document.querySelector('#range').textContent;
        let pressed;
        addEventListener('keydown', (event) => { pressed = event.timeStamp; }, { capture: true, once: true });
        window.nextWindowMs = when(() => document.querySelector('#range').textContent !== before).then((at) => at - pressed);
    };
}

export class Page {
    static async open(folder, modules, url) {
        const it = new Page();
        it.chromium = await Chromium.open(folder, path.join(modules, 'playwright-core'), async () => {});
        it.page = it.chromium.page;
        it.url = url;
        it.said = [];
        it.page.on('pageerror', (error) => it.said.push(error.message));
        it.page.on('console', (message) => { if (message.type() === 'error') it.said.push(message.text()); });
        await it.page.setViewportSize(DESKTOP);
        await it.page.addInitScript(watchPaints);
        it.cdp = await it.chromium.context.newCDPSession(it.page);
        return it;
    }

    close() { return this.chromium.close(); }

    // Milliseconds from the navigation's start until all of the first window was painted.
    async load(hash = '') {
        await this.page.goto('about:blank');
        await this.page.goto(this.url + hash);
        return this.page.evaluate(() => window.firstPaint);
    }

    // Presses keys that change what is found; milliseconds from each key until its window was painted.
    async type(keys) {
        const took = [];
        for (const key of keys) {
            await this.page.evaluate(() => window.nextWindow());
            await this.page.keyboard.press(key);
            took.push(await this.page.evaluate(() => window.nextWindowMs));
        }
        return took;
    }

    press(...keys) { return keys.reduce((before, key) => before.then(() => this.page.keyboard.press(key)), Promise.resolve()); }

    // Goes to an element as somebody without a mouse does.
    async tabTo(selector) {
        for (let tabs = 0; tabs < TABS_MAX; tabs += 1) {
            if (await this.page.evaluate((wanted) => document.activeElement.matches(wanted), selector)) return;
            await this.press('Tab');
        }
        throw new Error(`${selector} can't be reached with the Tab key`);
    }

    // Opens a site by keys: looks for it, goes to the first one found.
    async openSite(name) {
        await this.press('Escape', '/', 'ControlOrMeta+a');
        await this.page.keyboard.type(name);
        await this.see(`${name} is found`, (wanted) => document.querySelector('#rows .open')?.textContent === wanted, name);
        await this.press('ArrowDown', 'Enter');
        await this.see(`${name} is open`, (wanted) => document.querySelector('#site-name')?.textContent === wanted && document.querySelector('#site .facts dd'), name);
    }

    // What the question says; it is then answered by keys.
    async confirm() {
        await this.see('the question', () => document.querySelector('#confirm').open);
        const words = await this.page.evaluate(() => document.querySelector('#confirm').innerText);
        await this.tabTo('#confirm-yes');
        await this.press('Enter');
        return words;
    }

    // Waits until the page is as wanted, and gives back what that was told by.
    async see(what, isSo, argument, patience = PATIENCE_MS) {
        const seen = await until(() => this.page.evaluate(isSo, argument), patience, 20);
        if (!seen) throw new Error(`the page does not show that ${what}; it says: ${(await this.text('main')).slice(0, 1500)}`);
        return seen;
    }

    text(selector) { return this.page.evaluate((wanted) => document.querySelector(wanted).innerText, selector); }

    // What the page takes when nothing is left that could be thrown away.
    async memory() {
        await this.cdp.send('HeapProfiler.collectGarbage');
        const { usedSize } = await this.cdp.send('Runtime.getHeapUsage');
        const { nodes, jsEventListeners: listeners } = await this.cdp.send('Memory.getDOMCounters');
        return { mb: usedSize / 1e6, nodes, listeners };
    }
}
