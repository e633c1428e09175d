// Everything about one site: who has the pin, who could have it, what goes on, what was, and what can be wished.
import { badge, byId, count, duration, element, number, standing, write } from './elements.js';
import { item, timeline } from './timeline.js';
import { confirm, refresh, wish } from './wishes.js';

const HOSTS_MAX = 6;
const HEALTH = { well: 'good', unwell: 'bad', unknown: 'wait' };

// What the section is made of, and what was shown in it last.
let parts;
let shown = {};
let current;
let came = 0;

function build(close) {
    const section = byId('site');
    const made = {
        name: element('h2', { id: 'site-name', tabIndex: -1 }),
        state: element('p', { class: 'state' }),
        said: element('p', { class: 'said', role: 'status' }),
        facts: element('dl', { class: 'facts' }),
        hold: element('button', { type: 'button', id: 'hold', onclick: () => ask('hold') }, 'Hold'),
        release: element('button', { type: 'button', id: 'release', onclick: () => ask('release') }, 'Release'),
        candidates: element('ul', { class: 'candidates' }),
        underWay: element('div', { class: 'under-way' }),
        entries: element('ol'),
    };
    section.replaceChildren(
        element('div', { class: 'title' }, made.name, element('button', { type: 'button', class: 'close', id: 'close', onclick: close }, 'Close')),
        made.state, made.said, made.facts,
        element('p', { class: 'buttons' }, made.hold, made.release),
        element('h3', {}, 'Candidates, in order of preference'), made.candidates,
        made.underWay,
        element('h3', {}, 'Its last entries'), made.entries,
    );
    made.candidates.addEventListener('click', (event) => {
        const to = event.target.closest('button')?.dataset.to;
        if (to !== undefined) ask('handoff', to);
    });
    return made;
}

async function ask(kind, to) {
    const [site, place] = [current, parts];
    if (!site || !await confirm(kind, site, to)) return;
    await wish(kind, site.name, to, (text, how) => {
        // Another site may be open when it has ended; this one's journal tells of it.
        if (parts !== place) return;
        place.said.className = `said ${how}`;
        write(place.said, text);
    });
}

const fact = (name, value) => [element('dt', {}, name), element('dd', {}, value)];

function facts(site) {
    const hosts = site.hosts.slice(0, HOSTS_MAX).join(', ') + (site.hosts.length > HOSTS_MAX ? ` and ${number(site.hosts.length - HOSTS_MAX)} more` : '');
    const all = [
        ...fact('Pinned to', site.backend || 'nobody'),
        ...fact('Epoch', number(site.epoch)),
        ...fact('Phase', site.phase),
        ...fact('Held', `${number(site.held)} of ${number(site.terms.hold_max_requests)}, each for ${duration(site.terms.hold_timeout_ms)} at most`),
        ...fact('In flight', number(site.in_flight)),
        ...fact('Hosts', hosts),
        ...fact('Failover', site.failover),
    ];
    if (site.detour) all.push(...fact('Detour', `its requests go through ${site.detour}`));
    for (const name of site.names) all.push(...fact(name.name, `${name.error ?? name.addresses.join(', ')}${name.conflict ? ' (several: which one is meant?)' : ''}`));
    return all;
}

function candidate(one, site) {
    const probe = one.last_probe;
    const seen = probe === null ? 'not probed yet' : `${probe.result}, ${duration(probe.took_ms)}`;
    const parts = [badge({ kind: HEALTH[one.health], word: one.health }), element('span', { class: 'address' }, one.address)];
    if (one.pinned) parts.push(element('strong', {}, 'has the pin'));
    if (one.conflict) parts.push(badge({ kind: 'bad', word: 'answers beside the pin' }));
    parts.push(element('span', { class: 'details' }, seen, probe === null ? '' : element('span', { class: 'ago' })));
    if (!one.pinned) parts.push(element('button', { type: 'button', data: { to: one.address }, 'aria-label': `Hand off ${site.name} to ${one.address}` }, 'Hand off'));
    return element('li', {}, ...parts);
}

// Replaces what is in a place if it is made from something else now, and leaves the focus where it was.
function renew(key, from, place, make) {
    const text = JSON.stringify(from);
    if (shown[key] === text) return;
    shown[key] = text;
    const to = place.contains(document.activeElement) ? document.activeElement.dataset.to : undefined;
    place.replaceChildren(...make());
    if (to !== undefined) [...place.querySelectorAll('button')].find((button) => button.dataset.to === to)?.focus();
}

// Shows a site: `site` is null if there is none of that name, and undefined as long as nothing is known.
export function showSite(name, site, entries, close) {
    const section = byId('site');
    const isOpen = name !== undefined;
    document.body.classList.toggle('site-open', isOpen);
    section.hidden = !isOpen;
    if (!isOpen) {
        parts = current = undefined;
        section.replaceChildren();
        return;
    }
    if (parts === undefined || parts.name.textContent !== name) {
        [parts, shown] = [build(close), {}];
        write(parts.name, name);
        parts.name.focus({ preventScroll: true });
        section.scrollIntoView({ block: 'nearest' });
    }
    if (current !== site) came = performance.now();
    current = site ?? undefined;
    if (!site) {
        write(parts.state, site === null ? `There is no site ${name} (any more).` : 'Looking');
        parts.hold.disabled = parts.release.disabled = true;
        return;
    }
    const { kind, word } = standing(site);
    renew('state', [kind, word, site.waiting_for, site.conflicts], parts.state, () => [
        badge({ kind, word }), site.waiting_for && ` waits for ${site.waiting_for}`,
        site.conflicts.length > 0 ? ` ${site.conflicts.join(', ')} ${site.conflicts.length === 1 ? 'answers' : 'answer'} although the pin is elsewhere: two instances are running` : '',
    ].filter(Boolean));
    renew('facts', facts(site).map((one) => one.textContent), parts.facts, () => facts(site));
    parts.hold.disabled = site.on_hold;
    parts.release.disabled = !site.on_hold;
    const steady = site.candidates.map(({ last_probe: probe, ...rest }) => [rest, probe && [probe.result, duration(probe.took_ms)]]);
    renew('candidates', steady, parts.candidates, () => site.candidates.map((one) => candidate(one, site)));
    renew('under way', site.under_way, parts.underWay, () => (site.under_way === null ? [] : [
        element('h3', {}, 'Goes on now'), timeline(site.under_way) ?? '',
        element('p', { class: 'details' }, `${count(site.held, 'request')} held, ${number(site.in_flight)} in flight`),
    ]));
    const own = entries.filter((entry) => entry.site === name);
    renew('entries', own, parts.entries, () => own.map((entry) => item(entry, false)));
    age();
    refresh(site);
}

// How long ago each probe was: that changes without any news.
export function age() {
    if (parts === undefined || current === undefined) return;
    const since = performance.now() - came;
    current.candidates.forEach((one, place) => {
        const ago = parts.candidates.children[place]?.querySelector('.ago');
        const seconds = Math.round(((one.last_probe?.ago_ms ?? 0) + since) / 1000);
        if (ago) write(ago, seconds === 0 ? ', just now' : `, ${duration(seconds * 1000)} ago`);
    });
}
