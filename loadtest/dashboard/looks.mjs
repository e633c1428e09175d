// Whether everybody can use the page, as far as a program can tell (axe-core), and pictures of it for those who look themselves.
import fs from 'node:fs';
import path from 'node:path';
import { promise } from '../ghost/verdict.mjs';
import { DESKTOP, PHONE } from './page.mjs';

const SERIOUS = ['serious', 'critical'];

// Looks at what is shown now, light and dark, on a desk and on a phone.
export async function usable(page, modules, what) {
    const axe = fs.readFileSync(path.join(modules, 'axe-core/axe.min.js'), 'utf8');
    const found = [];
    for (const [width, viewport] of Object.entries({ desktop: DESKTOP, phone: PHONE })) {
        for (const colorScheme of ['light', 'dark']) {
            await page.page.setViewportSize(viewport);
            await page.page.emulateMedia({ colorScheme, reducedMotion: 'reduce' });
            // Put there by the debugger: the page's own policy lets nothing else in.
            await page.cdp.send('Runtime.evaluate', { expression: axe });
            const violations = await page.page.evaluate(() => window.axe.run().then((told) => told.violations));
            for (const one of violations.filter((violation) => SERIOUS.includes(violation.impact))) {
                found.push(`${width}, ${colorScheme}: ${one.id}: ${one.nodes.slice(0, 3).map((node) => `${node.target} (${node.any.map((any) => any.message).join('; ')})`).join(' | ')}`);
            }
            const wider = await page.page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
            if (wider > 0) found.push(`${width}: the page is ${wider} px wider than its window`);
        }
    }
    await page.page.setViewportSize(DESKTOP);
    await page.page.emulateMedia({ colorScheme: 'light', reducedMotion: null });
    return promise(`everybody can use it: ${what}`, found.length === 0, found.join('\n        '));
}

// A picture of what is shown now, if pictures are wanted.
export async function picture(page, folder, name, { viewport = DESKTOP, colorScheme = 'light' } = {}) {
    if (folder === undefined) return;
    await page.page.setViewportSize(viewport);
    await page.page.emulateMedia({ colorScheme });
    fs.mkdirSync(folder, { recursive: true });
    await page.page.screenshot({ path: path.join(folder, `dashboard-${name}.png`), animations: 'disabled' });
    await page.page.setViewportSize(DESKTOP);
    await page.page.emulateMedia({ colorScheme: 'light' });
}
