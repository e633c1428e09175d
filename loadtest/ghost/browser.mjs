// The site in a real browser: what a reader, an owner and a member see of it over TLS, and whether there is a padlock.
import fs from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { once } from 'node:events';
import { Chromium } from './chromium.mjs';
import { Editor } from './editor.mjs';
import { ghostpin } from './fronts.mjs';
import { describe, parse } from './http.mjs';
import { finish } from './processes.mjs';
import { OWNER } from './site.mjs';
import { judgePage } from './pages.mjs';
import { promise } from './verdict.mjs';
import { Witness } from './witness.mjs';

const MEMBER = { name: 'Mira Member', email: 'mira@example.com' };

// A reader, an owner who logs in, and a member who does; then the active Ghost is killed, and the member reads on.
export async function browser(site, program, name, challenge, parts) {
    const [a] = site.backends;
    const folder = path.join(site.folder, name);
    const portal = await serve(path.join(parts, 'portal.min.js'));
    await site.start(a);
    const front = await ghostpin(site, program, name, { fence: true, challenge, routes: { [site.portalPath]: portal.address } });
    const editor = new Editor(site, new Witness());
    await editor.step();
    const number = editor.witness.floor('posts');
    const trust = (home) => trusts(home, site.authority.rootFile);
    const chromium = await Chromium.open(path.join(folder, 'chromium'), path.join(parts, 'playwright-core'), trust);
    const seen = { issuer: /^Pebble Intermediate CA/, pages: [] };
    const visit = async (what, pagePath, until) => seen.pages.push(await chromium.visit(what, site.origin + pagePath, until));
    try {
        await visit('front page', '/', (page) => page.getByText(`Post ${number}`).first().waitFor());
        await visit('post', `/post-${number}/`, (page) => page.getByRole('heading', { name: `Post ${number}` }).first().waitFor());
        await visit('member signs in', '/#/portal/signin', (page) => portalOf(page).getByLabel('Email').waitFor());
        await visit('owner comes', '/ghost/', (page) => page.locator('input[name=identification]').waitFor());
        await visit('owner signs in', '/ghost/', async (page) => {
            await page.locator('input[name=identification]').fill(OWNER.email);
            await page.locator('input[name=password]').fill(OWNER.password);
            await page.locator('button[type=submit]').click();
            await page.getByRole('link', { name: 'Posts' }).first().waitFor();
        });
        await visit('posts in the admin', '/ghost/#/posts', (page) => page.getByText(`Post ${number}`).first().waitFor());
        await visit('member comes by his link', await signinPath(site), (page) => page.getByText(`Post ${number}`).first().waitFor());
        const account = (page) => portalOf(page).getByText(MEMBER.email).first().waitFor();
        await visit('member account', '/#/portal/account', account);
        site.kill(a);
        await visit('member account after a handoff', '/#/portal/account', account);
        seen.after = await front.site();
        seen.before = a;
    } finally {
        await chromium.close();
        portal.server.close();
    }
    await front.stop();
    site.stopAll();
    return seen;
}

// Who has not signed in yet is refused by the admin API. ActivityPub is another server, which this site has not.
const REFUSED = {
    'owner comes': /^\/ghost\/api\/admin\//,
    'owner signs in': /^\/ghost\/api\/admin\/|^\/\.ghost\/activitypub\//,
    'posts in the admin': /^\/\.ghost\/activitypub\//,
};

export function judgeBrowser(run, { pages, issuer, before, after }) {
    return [
        ...pages.flatMap((page) => judgePage(`${run}: ${page.name}`, page, issuer, REFUSED[page.name])),
        promise(`${run}: the site moved to the other Ghost`, after?.backend !== before, `it is at ${after?.backend}`),
    ];
}

// Trusts an authority as a user's browser on Linux does it: in the NSS store of his home.
async function trusts(home, file) {
    const store = path.join(home, '.pki/nssdb');
    fs.mkdirSync(store, { recursive: true });
    const args = ['-d', `sql:${store}`, '-A', '-t', 'C,,', '-n', 'authority', '-i', file];
    await finish('certutil', 'certutil', args, { log: path.join(home, 'certutil.log') });
}

const portalOf = (page) => page.frameLocator('iframe[title="portal-popup"]');

// Makes the member; gives the link that Ghost would have sent him by mail.
async function signinPath(site) {
    const admin = async (apiPath, options) => {
        const answer = await site.ask(`/ghost/api/admin/${apiPath}`, { headers: site.ownerHeaders, ...options });
        if (!(answer.status < 300)) throw new Error(`${apiPath}: ${describe(answer)}`);
        return parse(answer);
    };
    const { members } = await admin('members/', { method: 'POST', json: { members: [MEMBER] } });
    const { member_signin_urls: urls } = await admin(`members/${members[0].id}/signin_urls/`);
    const { pathname, search } = new URL(urls[0].url);
    return pathname + search;
}

// One file, for every path: Ghost's portal, which its pages otherwise load from elsewhere.
async function serve(file) {
    const text = fs.readFileSync(file);
    const server = http.createServer((_, answer) => answer.setHeader('content-type', 'text/javascript').end(text));
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return { server, address: `127.0.0.1:${server.address().port}` };
}
