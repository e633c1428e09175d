// What the page must not say: that all is well when it doesn't know, that something was not done when it may have been, and what belongs
// to another site or another day.
import { promise } from '../ghost/verdict.mjs';
import { until } from '../ghost/processes.mjs';

// ghostpin says something every 10 s; the page waits for 25 s.
const SILENCE_SEEN_MS = 40_000;
const TOKEN_WITH_MORE = '\u200b';

// In the middle of what the browser asks for: `meet` is given each wish that is about to be sent.
async function intercepted(page, meet, during) {
    const wishes = '**/v1/sites/*/hold';
    await page.page.route(wishes, meet);
    await during();
    await page.page.unroute(wishes);
}

async function wishToHold(page) {
    await page.openSite('corner-shop');
    await page.tabTo('#hold');
    await page.press('Enter');
    await page.confirm();
}

// An answer comes when another site is open; or none comes.
export async function wishes(page) {
    let letGo;
    const answered = new Promise((resolve) => { letGo = resolve; });
    let said;
    const answer = async (wish) => {
        await answered;
        await wish.fulfill({ json: { site: 'corner-shop', epoch: 1, backend: '' } });
    };
    await intercepted(page, answer, async () => {
        await wishToHold(page);
        await page.see('it was asked for', () => /asked for/.test(document.querySelector('#site .said').textContent));
        await page.openSite('twins');
        const response = page.page.waitForResponse(/\/hold$/);
        letGo();
        await (await response).finished();
        await page.page.evaluate(() => new Promise((painted) => { requestAnimationFrame(() => setTimeout(painted, 50)); }));
        said = await page.page.evaluate(() => document.querySelector('#site .said').textContent);
    });
    let unknown;
    await intercepted(page, (wish) => wish.abort(), async () => {
        await wishToHold(page);
        unknown = await page.see('what has come of it', () => /^(?!Hold).+/.exec(document.querySelector('#site .said').textContent)?.[0]);
    });
    await page.press('Escape');
    return [
        promise('what has come of a wish is not told of another site', said === '', said),
        promise('a wish whose answer was lost is not said to be undone', /not known/.test(unknown) && !/Not done/.test(unknown), unknown),
    ];
}

// The parts that say it, given what seldom happens.
export async function words(page) {
    await page.cdp.send('Emulation.setTimezoneOverride', { timezoneId: 'Pacific/Auckland' });
    const date = await page.page.evaluate(async (at) => (await import('/dashboard/elements.js')).clock(at), Date.UTC(2024, 0, 1, 12, 30));
    await page.cdp.send('Emulation.setTimezoneOverride', { timezoneId: '' });
    // In one go: what is really so is shown again with the next event.
    const shown = await page.page.evaluate(async () => {
        const { showOverview } = await import('/dashboard/overview.js');
        const calm = { sites: 1, version: '', phases: { serving: 1 }, held: 0, held_max: 1, handoffs: 0, stalled_workers: 0, late_answers: 0, commits_failed: 0, waiting_updates: [] };
        const waiting = { id: 'ab', source: 'file', removed: 9, changed: 0, added: 0, of: 10, why: 'more than half' };
        const all = { refused_update: 'no', waiting_updates: [waiting], commits_failed: 3, late_answers: 1, stalled_workers: 2 };
        return [{}, all].map((now) => {
            showOverview({ link: true, now: { ...calm, ...now }, troubles: { in_conflict: 0, shut: 0, unreachable: 0 }, recent: () => [] });
            return `${document.querySelector('#verdict').className}: ${document.querySelector('#verdict-words').textContent}`;
        });
    });
    const wanted = /^bad: 2 workers stand still; 1 late answer .*; 3 pins could not .*; an update waits; the last update was refused$/;
    return [
        promise('a date is that of where it is read', date === '2024-01-02 01:30:00', date),
        promise('what is wrong with the process is told, worst first', shown[0] === 'good: The one site serves' && wanted.test(shown[1]), JSON.stringify(shown)),
    ];
}

// The process stands still, and all connections with it: nothing breaks, nothing comes.
export async function standsStill(world, page) {
    const searching = await page.chromium.context.newPage();
    await searching.goto(page.url);
    const says = async (tab, text) => tab.evaluate((wanted) => document.querySelector('#verdict-words').textContent.startsWith(wanted), text);
    const isLost = (tab) => until(() => says(tab, 'No word from ghostpin (it does not answer)'), SILENCE_SEEN_MS, 100);
    const isBack = (tab) => until(() => says(tab, 'All '), SILENCE_SEEN_MS, 100);
    await isBack(searching);
    world.front.child.kill('SIGSTOP');
    await searching.keyboard.press('/');
    await searching.keyboard.type('shop');
    const lost = await Promise.all([isLost(page.page), isLost(searching)]);
    world.front.child.kill('SIGCONT');
    const back = await Promise.all([isBack(page.page), isBack(searching)]);
    await searching.close();
    return [
        promise('a ghostpin that stands still is told of', Boolean(lost[0]), 'the page shows the old state'),
        promise('the same while sites are looked for', Boolean(lost[1]), 'the page shows the old state'),
        promise('the page goes on when ghostpin does', back.every(Boolean), JSON.stringify(back)),
    ];
}

// A character that can't be sent, and mostly can't be seen; then the token, with what a selection takes along.
export async function typesToken(page, token) {
    const type = async (text) => {
        await page.page.keyboard.insertText(text);
        await page.press('Enter');
    };
    await type(token + TOKEN_WITH_MORE);
    const refused = await page.see('it is none', () => document.querySelector('#token').open && /not ASCII/.exec(document.querySelector('#token-wrong').textContent)?.[0]).catch(() => undefined);
    if (refused) await type(` ${token} `);
    return promise('a token that can’t be sent is refused with a word, and blanks around it do no harm', Boolean(refused), 'it was taken');
}
