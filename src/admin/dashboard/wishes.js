// Hold, release and handoff. Before anything is asked for, it is said what will happen to this site, with the numbers of now.
import { byId, count, duration, element, number, write } from './elements.js';
import { post } from './ask.js';

const backendOf = (site) => site.backend || 'no backend';

// How long, and for how many, waiting is possible.
const waiting = ({ terms }) =>
    `Whoever comes meanwhile waits at the gate: ${count(terms.hold_max_requests, 'request')} at most, each for ${duration(terms.hold_timeout_ms)} at most. `
    + 'Beyond that, readers get a 503 that asks them to come again.';

const held = (site) => `Held now: ${number(site.held)}.`;

function holdWords(site) {
    return [
        `Nobody is let in to ${site.hosts[0] ?? site.name} any more, until you release it or hand it off.`,
        `In flight at ${backendOf(site)} now: ${number(site.in_flight)}. They end by themselves; none is cut.`,
        `${held(site)} ${waiting(site)}`,
        'Readers see a page that is slow to come, and never two states. The pin stays where it is.',
    ];
}

function releaseWords(site) {
    const where = site.phase === 'vacant'
        ? 'A backend that is well is looked for and proved. Then the gate opens.'
        : `The gate opens again, and ${backendOf(site)} serves on under epoch ${number(site.epoch)}.`;
    return [
        where,
        `${held(site)} They go on in the order in which they came, as fast as the backend keeps up; whoever comes now goes behind them.`,
        'Readers who have waited get their page.',
    ];
}

function handoffWords(site, to) {
    const target = site.candidates.find((candidate) => candidate.address === to);
    const seen = target?.last_probe ? `its last probe: ${target.last_probe.result}` : 'it was not probed yet';
    const { fence_hook: fence, start_hook: start, drain_timeout_ms: drain, prove_timeout_ms: prove } = site.terms;
    const words = [
        `The pin moves from ${backendOf(site)} (epoch ${number(site.epoch)}) to ${to}, which is ${target?.health ?? 'unknown'} (${seen}).`,
        `In flight at ${backendOf(site)} now: ${number(site.in_flight)}. They may end by themselves for ${duration(drain)}; what is left then is cut: `
        + `a page that has not begun is asked for anew at ${to}, a POST gets a 502 that says that its outcome is unknown.`,
        `${held(site)} ${waiting(site)}`,
    ];
    if (fence) words.push('The fence hook stops the old instance before anything else may answer.');
    if (start) words.push(`The start hook starts ${to}.`);
    else if (target?.health !== 'well') words.push(`${to} is not known to be well, and there is no start hook: ghostpin will refuse, and nothing changes.`);
    words.push(
        `${to} is proved before anybody is sent there, for ${duration(prove)} at most. If it can't be proved, ${backendOf(site)} gets the pin again, under a new epoch.`,
        'Readers see a page that is slow to come, and never two states.',
    );
    return words;
}

const KINDS = {
    hold: { title: (site) => `Hold ${site.name}?`, yes: 'Hold it', words: holdWords, done: () => 'It is on hold.' },
    release: {
        title: (site) => `Release ${site.name}?`, yes: 'Release it', words: releaseWords,
        done: (stands) => `Released${stands.backend ? `: ${stands.backend} serves under epoch ${number(stands.epoch)}` : ''}.`,
    },
    handoff: {
        title: (site, to) => `Hand ${site.name} off to ${to}?`, yes: 'Hand it off', words: handoffWords,
        done: (stands) => `Moved: ${stands.backend} serves under epoch ${number(stands.epoch)}.`,
    },
};

// The question that is open, and the one who is told the answer.
let open;

// Asks whether it is meant. What will happen is said with the numbers of now, as long as the question is open.
export function confirm(kind, site, to) {
    const dialog = byId('confirm');
    open = { kind, name: site.name, to };
    write(byId('confirm-title'), KINDS[kind].title(site, to));
    write(byId('confirm-yes'), KINDS[kind].yes);
    byId('confirm-words').replaceChildren();
    refresh(site);
    dialog.returnValue = 'no';
    dialog.showModal();
    return new Promise((resolve) => {
        dialog.addEventListener('close', () => {
            open = undefined;
            resolve(dialog.returnValue === 'yes');
        }, { once: true });
    });
}

// The site has changed while the question is open.
export function refresh(site) {
    if (open === undefined || site?.name !== open.name) return;
    const list = byId('confirm-words');
    const words = KINDS[open.kind].words(site, open.to);
    while (list.children.length > words.length) list.lastChild.remove();
    words.forEach((text, place) => {
        if (list.children[place] === undefined) list.append(element('li'));
        write(list.children[place], text);
    });
}

// Does it, and tells what has come of it. A handoff is answered when it has ended.
export async function wish(kind, name, to, tell) {
    tell(`${KINDS[kind].yes.replace(' it', '')}: asked for …`, 'wait');
    try {
        const stands = await post(`/v1/sites/${encodeURIComponent(name)}/${kind}`, kind === 'handoff' ? { to } : undefined);
        tell(KINDS[kind].done(stands), 'good');
    } catch (error) {
        // Without an answer it may have been done, or may still be.
        const unknown = 'It is not known what has come of it: the answer did not get here. Its state and its last entries will tell.';
        tell(error.status === undefined ? unknown : `Not done: ${error.message}`, 'bad');
    }
}
