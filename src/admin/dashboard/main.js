// Brings the parts together: what is known, what is watched, and what keys do.
import { byId, write } from './elements.js';
import { SILENT, Watch, get } from './ask.js';
import { showOverview } from './overview.js';
import { age, showSite } from './site.js';

const LINES = 50;
const RECENT = 12;
const ENTRIES_MAX = 60;
// The stream is asked for anew only when the keys have come to rest; what was searched for is there before.
const REST_MS = 250;
// Nobody looks at a tab that is hidden: after this time it gives back its place.
const HIDDEN_MS = 30_000;

const state = {
    text: '', from: 0, site: undefined,
    link: true, why: '',
    now: undefined, facts: undefined, troubles: undefined, window: undefined, view: undefined,
    lines: new Map(), entries: new Map(),
    sorted() { return [...this.entries.values()].sort((a, b) => b.id - a.id); },
    // Each of 100,000 sites has a first pin: that is told where the site is.
    recent() { return this.sorted().filter((entry) => entry.cause !== 'first').slice(0, RECENT); },
};

// Showing: at most once a frame.

let isDue = false;
function show() {
    if (isDue) return;
    isDue = true;
    requestAnimationFrame(() => {
        isDue = false;
        showOverview(state);
        showSite(state.site, state.view, state.sorted(), close);
    });
}

// Watching.

const query = (more) => new URLSearchParams({ text: state.text, from: state.from, count: LINES, ...more });

const watch = new Watch(
    () => `/v1/live?${query(state.site === undefined ? {} : { site: state.site })}`,
    (event) => {
        for (const part of ['now', 'facts', 'troubles', 'window']) {
            if (event[part] !== undefined) state[part] = event[part];
        }
        if (event.site !== undefined) state.view = event.site;
        for (const line of event.lines ?? []) state.lines.set(line.name, line);
        for (const entry of event.entries ?? []) state.entries.set(entry.id, entry);
        forget();
        show();
    },
    linked,
);

function linked(link, why = '') {
    Object.assign(state, { link, why });
    write(byId('link'), link ? 'live' : 'no link');
    byId('link').className = link ? 'live' : 'lost';
    show();
}

// What is not shown is not kept: the page stays as small as it is, however long it is open.
function forget() {
    const names = new Set(state.window?.names);
    for (const name of state.lines.keys()) if (!names.has(name)) state.lines.delete(name);
    if (state.entries.size <= ENTRIES_MAX) return;
    for (const { id } of state.sorted().slice(RECENT)) {
        if (state.entries.size <= ENTRIES_MAX / 2) return;
        if (state.entries.get(id).site !== state.site) state.entries.delete(id);
    }
}

let resting;
function watchSoon(pause) {
    clearTimeout(resting);
    resting = setTimeout(() => watch.start(), pause);
}

// Looking for sites.

let searching;
async function search(text, from) {
    Object.assign(state, { text, from });
    searching?.abort();
    const { signal } = searching = new AbortController();
    watch.stop();
    try {
        const { total, from: first, sites } = await get(`/v1/search?${query()}`, signal);
        state.window = { total, from: first, names: sites.map((line) => line.name) };
        for (const line of sites) state.lines.set(line.name, line);
        forget();
        show();
    } catch (error) {
        if (signal.aborted) return;
        // Nobody watches meanwhile, who would notice.
        linked(false, error.status === undefined ? SILENT : error.message);
    }
    watchSoon(REST_MS);
}

// Opening a site: the address has it, so that it can be sent to somebody, and the way back closes it.

const inAddress = () => new URLSearchParams(location.hash.slice(1)).get('site') ?? undefined;

let opener;
function open(name) {
    opener = document.activeElement;
    location.hash = new URLSearchParams({ site: name });
}

function close() {
    history.pushState(null, '', location.pathname);
    moved();
    if (opener?.isConnected) opener.focus();
}

function moved() {
    const site = inAddress();
    if (site === state.site) return;
    Object.assign(state, { site, view: undefined });
    show();
    watchSoon(0);
}

// Keys and clicks.

function step(by) {
    const all = [...byId('rows').querySelectorAll('button.open')];
    const at = all.indexOf(document.activeElement);
    if (at < 0) return false;
    all[Math.min(Math.max(at + by, 0), all.length - 1)].focus();
    return true;
}

async function turn(by) {
    const from = Math.max(0, state.from + by * LINES);
    if (from >= (state.window?.total ?? 0) || from === state.from) return;
    await search(state.text, from);
}

function pressed(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector('dialog[open]')) return;
    const isTyping = event.target.matches('input');
    const inRows = byId('rows').contains(event.target);
    if (event.key === '/' && !isTyping) byId('search').focus();
    else if (event.key === 'Escape' && state.site !== undefined && !isTyping) close();
    else if (event.key === 'ArrowDown' && event.target.id === 'search') byId('rows').querySelector('button')?.focus();
    else if (event.key === 'ArrowDown' && inRows) step(1);
    else if (event.key === 'ArrowUp' && inRows) step(-1);
    else if (event.key === 'PageDown' && inRows) turn(1);
    else if (event.key === 'PageUp' && inRows) turn(-1);
    else return;
    event.preventDefault();
}

byId('search').addEventListener('input', (event) => search(event.target.value.trim(), 0));
byId('previous').addEventListener('click', () => turn(-1));
byId('next').addEventListener('click', () => turn(1));
document.addEventListener('keydown', pressed);
document.addEventListener('click', (event) => {
    const name = event.target.closest('button.open')?.dataset.site;
    if (name !== undefined) open(name);
});
addEventListener('hashchange', moved);
addEventListener('popstate', moved);

let hiding;
document.addEventListener('visibilitychange', () => {
    clearTimeout(hiding);
    if (document.hidden) hiding = setTimeout(() => { watch.stop(); hiding = undefined; }, HIDDEN_MS);
    else if (hiding === undefined) watchSoon(0);
    else hiding = undefined;
});
setInterval(age, 1000);

state.site = inAddress();
show();
watch.start();
