// What is seen without opening anything: the verdict, what is in trouble, a window of the sites, the edges, what happened last.
import { badge, byId, count, duration, element, number, siteButton, standing, write } from './elements.js';
import { item } from './timeline.js';

const SOON_DAYS = 7;

// How sites are shut: in the words of their states if all of them are known, else by phases.
function howShut({ phases }, known, more) {
    const many = new Map();
    for (const line of known) {
        const { word } = standing(line);
        many.set(word, (many.get(word) ?? 0) + 1);
    }
    const all = more === 0 ? [...many] : [['without a backend', phases.vacant], ['in a handoff or on hold', phases.draining + phases.fencing + phases.proving]];
    return all.filter(([, sites]) => sites > 0).map(([word, sites]) => `${count(sites, 'site')} ${word === 'no backend' ? 'without a backend' : word}`).join(', ');
}

// Everything that is not as it should be, worst first: its kind, a text for the verdict, and the items that tell more.
function findings({ now, facts, troubles }) {
    const found = [];
    const add = (kind, word, text, items = [], more = 0) => found.push({ kind, word, text, items, more });
    const lines = (list, words) => list.map((line) => ({ line, words: words(line) }));
    if (now.stalled_workers > 0) {
        const words = 'Whoever is connected to it waits. The journal (worker_stalled) names the request that it is at.';
        add('bad', 'worker', `${count(now.stalled_workers, 'worker')} ${now.stalled_workers === 1 ? 'stands' : 'stand'} still`, [{ words }]);
    }
    if (now.late_answers > 0) {
        const words = 'No reader saw them, and there should be none. Please report it, with the log.';
        add('bad', 'late', `${count(now.late_answers, 'late answer')} kept from readers since the start`, [{ words }]);
    }
    if (facts?.fleet_error) add('bad', 'fleet', 'the fleet’s store does not answer', [{ words: facts.fleet_error }]);
    if (now.fleet?.fenced) add('bad', 'fleet', 'this edge holds its sites: it has no lease');
    if (troubles.in_conflict > 0) {
        const words = ({ conflicts, backend }) => `${conflicts.join(', ')} ${conflicts.length === 1 ? 'answers' : 'answer'} beside the pinned ${backend || 'nobody'}`;
        add('bad', 'conflict', `${count(troubles.in_conflict, 'site')} in conflict`, lines(troubles.conflicts, words), troubles.in_conflict - troubles.conflicts.length);
    }
    if (troubles.shut > 0) {
        const words = (line) => [line.waiting_for && `waits for ${line.waiting_for}`, `${number(line.held)} held`, `${number(line.in_flight)} in flight`].filter(Boolean).join(' · ');
        const known = [...troubles.held, ...troubles.conflicts.filter((line) => line.phase !== 'serving')];
        const more = Math.max(0, troubles.shut - known.length);
        const isBad = now.phases.vacant > 0 && (more > 0 || known.some((line) => standing(line).kind === 'bad'));
        add(isBad ? 'bad' : 'wait', 'shut', howShut(now, known, more), lines(troubles.held, words), more);
    }
    if (troubles.unreachable > 0) {
        const items = lines(troubles.unreached, (line) => `held here; pinned to ${line.backend}`);
        add('wait', 'held', `${count(troubles.unreachable, 'site')} whose backend this edge can’t reach`, items, troubles.unreachable - items.length);
    }
    const certificates = facts?.certificates;
    if (certificates?.problems > 0) {
        const items = certificates.bad.map(({ file, names, problem }) => ({ words: `${names.slice(0, 3).join(', ') || file}: ${problem}` }));
        add('bad', 'certificate', `${count(certificates.problems, 'certificate')} with a problem`, items, certificates.problems - items.length);
    }
    if (now.commits_failed > 0) {
        const words = 'Handoffs wait until it works again. Is there room on the disk of server.state?';
        add('wait', 'pin', `${count(now.commits_failed, 'pin')} could not be made durable since the start`, [{ words }]);
    }
    for (const { id, source, removed, changed, added, of, why } of now.waiting_updates) {
        const words = `Update ${id} of the ${source} would remove ${number(removed)} and change ${number(changed)} of ${count(of, 'site')}, and add ${number(added)}. It is ${why}`;
        add('wait', 'update', 'an update waits', [{ words }]);
    }
    if (now.refused_update) add('wait', 'update', 'the last update was refused', [{ words: now.refused_update }]);
    if (facts?.managers && facts.managers[0] === 0) add('wait', 'swarm', 'no manager of the swarm answers');
    const slow = facts?.edges?.filter((edge) => edge.waited_for > 0) ?? [];
    if (slow.length > 0) add('wait', 'edge', `handoffs wait for ${count(slow.length, 'edge')}`, slow.map((edge) => ({ words: `${edge.name}: ${count(edge.waited_for, 'site')}` })));
    return found.sort((a, b) => (a.kind === 'bad' ? 0 : 1) - (b.kind === 'bad' ? 0 : 1));
}

function figures({ now, facts }) {
    const all = [
        ['Sites', number(now.sites)], ['Serving', number(now.phases.serving)],
        ['Held', `${number(now.held)} of ${number(now.held_max)}`],
        ['In flight', facts ? number(facts.in_flight) : '–'], ['Handoffs', number(now.handoffs)],
    ];
    const certificates = facts?.certificates;
    if (certificates) {
        const left = certificates.first_end_s * 1000 - Date.now();
        const first = certificates.first_end_s > 0 ? `, first ends ${left > 0 ? `in ${duration(left)}` : 'now'}` : '';
        all.push(['Certificates', `${number(certificates.serving)}${certificates.unread > 0 ? ` (${number(certificates.unread)} unread)` : ''}${first}`, left < SOON_DAYS * 86_400_000 && certificates.first_end_s > 0]);
    }
    if (now.fleet) all.push(['This edge', `${now.fleet.controller ? 'decides' : now.fleet.life}, lease for ${now.fleet.lease_s.toFixed(1)} s`]);
    return all;
}

function trouble({ line, words }, kind, word) {
    const state = line ? standing(line) : { kind, word };
    return element('li', { class: state.kind }, badge(state), line ? siteButton(line.name) : '', element('span', {}, words));
}

const shown = {};
// Whether a part is made from something else than before; so little is compared that its text will do.
function isNew(part, from) {
    const text = JSON.stringify(from);
    if (shown[part] === text) return false;
    shown[part] = text;
    return true;
}

function showVerdict(state) {
    const found = findings(state);
    const [verdict, words] = [byId('verdict'), byId('verdict-words')];
    const kind = state.link ? found[0]?.kind ?? 'good' : 'lost';
    verdict.className = kind;
    let text = found.map((one) => one.text).join('; ');
    if (found.length === 0) text = `${state.now.sites === 1 ? 'The one site' : `All ${count(state.now.sites, 'site')}`} ${state.now.sites === 1 ? 'serves' : 'serve'}`;
    text = text.charAt(0).toUpperCase() + text.slice(1);
    if (!state.link) text = `No word from ghostpin (${state.why}). What is here is old: ${text}`;
    write(words, text);
    document.title = `${{ good: '', wait: '◆ ', bad: '▲ ', lost: '? ' }[kind]}ghostpin`;
    if (isNew('figures', figures(state))) {
        byId('figures').replaceChildren(...figures(state).map(([name, value, soon]) => element('div', { class: soon ? 'soon' : '' }, element('dt', {}, name), element('dd', {}, value))));
    }
    const items = found.filter((one) => one.items.length > 0);
    byId('troubles').hidden = items.length === 0;
    if (!isNew('troubles', items)) return;
    const focused = byId('troubles').contains(document.activeElement) ? document.activeElement.dataset.site : undefined;
    byId('troubles-list').replaceChildren(...items.flatMap(({ kind: worst, word, items: all, more }) => [
        ...all.map((one) => trouble(one, worst, word)),
        ...(more > 0 ? [element('li', { class: 'more' }, `and ${number(more)} more like these`)] : []),
    ]));
    if (focused !== undefined) [...byId('troubles').querySelectorAll('button')].find((button) => button.dataset.site === focused)?.focus();
}

const cell = (name, ...children) => element('span', { role: 'cell', class: name }, ...children);

function row() {
    const cells = ['state', 'name', 'pin', 'health', 'held number', 'flight number'].map((name) => cell(name));
    cells[1].append(element('button', { type: 'button', class: 'open' }), element('span', { class: 'host' }));
    cells[2].append(element('span', { class: 'address' }), element('span', { class: 'epoch' }));
    return element('div', { role: 'row', class: 'row' }, ...cells);
}

function fill(one, name, line, isOpen) {
    const text = JSON.stringify([name, line, isOpen]);
    if (one.shown === text) return;
    one.shown = text;
    one.classList.toggle('current', isOpen);
    const [state, title, pin, health, held, flight] = one.children;
    const [button, host] = title.children;
    write(button, name);
    button.dataset.site = name;
    if (isOpen) button.setAttribute('aria-current', 'true');
    else button.removeAttribute('aria-current');
    write(host, line && line.host !== name ? line.host : '');
    const stands = line && standing(line);
    one.dataset.kind = stands?.kind ?? '';
    state.replaceChildren(...(stands ? [badge(stands)] : []));
    write(pin.children[0], line ? line.backend || 'nobody' : '');
    write(pin.children[1], line ? `epoch ${number(line.epoch)}` : '');
    const well = line?.health.filter((of) => of === 'well').length ?? 0;
    health.replaceChildren(...(line ? [
        ...line.health.slice(0, 6).map((of) => element('span', { class: `dot ${of}`, 'aria-hidden': 'true', title: of })),
        element('span', { class: 'words' }, `${number(well)} of ${number(line.health.length)} well`),
    ] : []));
    for (const [place, value] of [[held, line?.held], [flight, line?.in_flight]]) {
        write(place, value === undefined ? '' : number(value));
        place.classList.toggle('none', value === 0);
    }
}

function showSites({ window, lines, site }) {
    const { names, total, from } = window;
    const rows = byId('rows');
    while (rows.children.length > names.length) rows.lastChild.remove();
    while (rows.children.length < names.length) rows.append(row());
    names.forEach((name, place) => fill(rows.children[place], name, lines.get(name), name === site));
    write(byId('range'), total === 0 ? 'No site has that in its name or hosts' : `${number(from + 1)} to ${number(from + names.length)} of ${number(total)}`);
    byId('previous').disabled = from === 0;
    byId('next').disabled = from + names.length >= total;
}

function edge({ name, version, controller, this: isThis, watermark, pending, waited_for: waitedFor }) {
    const is = [controller && 'decides', isThis && 'this one'].filter(Boolean).join(', ');
    const state = waitedFor > 0 ? { kind: 'wait', word: `${count(waitedFor, 'handoff')} wait${waitedFor === 1 ? 's' : ''} for it` } : { kind: 'good', word: 'up to date' };
    return element('li', {}, badge(state), element('strong', {}, name), element('span', {}, is), element('span', { class: 'details' }, `${version && `version ${version}, `}revision ${number(watermark)}, ${count(pending, 'site')} pending`));
}

// Shows all of it, as far as it has changed.
export function showOverview(state) {
    if (state.now) {
        write(byId('version'), state.now.version);
        showVerdict(state);
    } else if (!state.link) {
        byId('verdict').className = 'lost';
        write(byId('verdict-words'), `No word from ghostpin (${state.why})`);
    }
    if (state.window) showSites(state);
    const edges = state.facts?.edges;
    byId('edges').hidden = !edges;
    if (edges && isNew('edges', edges)) byId('edges-list').replaceChildren(...edges.map(edge));
    const recent = state.recent();
    if (isNew('recent', recent)) {
        const list = recent.length > 0 ? recent.map((entry) => item(entry, true)) : [element('li', { class: 'details' }, 'Nothing yet')];
        byId('recent-list').replaceChildren(...list);
    }
}
