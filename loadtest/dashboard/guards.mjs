// The pages of others, in the same browser: one sends what a page can send without asking, one has a name that leads to ghostpin.
import http from 'node:http';
import { once } from 'node:events';
import { promise } from '../ghost/verdict.mjs';

// Run in the page of another site: everything that it can try. Answers can't be read there, so what counts is what became of the site.
async function attack(origin) {
    const at = `${origin}/v1/sites/corner-shop/hold`;
    const tries = [
        () => fetch(at, { method: 'POST', mode: 'no-cors', body: '{}' }),
        () => fetch(at, { method: 'POST', mode: 'no-cors', headers: { 'content-type': 'application/x-www-form-urlencoded' }, body: 'a=b' }),
        () => fetch(at, { method: 'POST', mode: 'cors', headers: { 'content-type': 'application/json' }, body: '{}' }),
        () => navigator.sendBeacon(at, new Blob(['{}'], { type: 'text/plain' })),
        () => fetch(at, { mode: 'no-cors' }),
        () => fetch(`${origin}/v1/sites`, { mode: 'cors' }).then((answer) => answer.text()),
    ];
    const told = [];
    for (const one of tries) told.push(await Promise.resolve().then(one).then((got) => (typeof got === 'string' ? 'read' : 'sent'), () => 'refused'));
    const frame = document.createElement('iframe');
    frame.name = 'hidden';
    const form = document.createElement('form');
    Object.assign(form, { method: 'POST', action: at, target: 'hidden', enctype: 'text/plain' });
    document.body.append(frame, form);
    const loaded = new Promise((resolve) => { frame.addEventListener('load', resolve); });
    form.submit();
    await loaded;
    return told;
}

export async function guards(world, page) {
    const foreign = http.createServer((_, answer) => { answer.setHeader('content-type', 'text/html'); answer.end('<!doctype html><title>other</title>'); });
    foreign.listen(0, '127.0.0.1');
    await once(foreign, 'listening');
    const tab = await page.chromium.context.newPage();
    const statuses = [];
    tab.on('response', (answer) => { if (answer.request().method() === 'POST' && answer.url().startsWith(world.origin)) statuses.push(answer.status()); });
    await tab.goto(`http://evil.example:${foreign.address().port}/`);
    const told = await tab.evaluate(attack, world.origin);
    const site = await world.site();
    const rebound = await tab.goto(`http://rebound.example:${world.admin}/`);
    const tried = await tab.evaluate(async () => (await fetch('/v1/sites/corner-shop/hold', { method: 'POST', headers: { 'content-type': 'application/json' } })).status);
    const after = await world.site();
    await tab.close();
    foreign.close();
    foreign.closeAllConnections();
    return [
        promise('a forged POST of another site’s page changes nothing', !site.on_hold && site.epoch === after.epoch, 'the site is on hold'),
        promise('each of them is refused', statuses.length >= 3 && statuses.every((status) => status === 403), `answered ${statuses.join()}`),
        promise('another site’s page reads nothing', told.at(-1) === 'refused', told.join()),
        promise('a name that was made to lead here gets neither the page nor a wish', rebound.status() === 403 && tried === 403 && !after.on_hold, `${rebound.status()}, ${tried}`),
    ];
}
