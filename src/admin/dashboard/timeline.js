// A handoff as a line of time, drawn to scale: each step as wide as it took. What it shows is said in words below it.
import { badge, clock, duration, element, siteButton } from './elements.js';

// What each step is, for whoever sees the word for the first time.
const STEPS = {
    hold: 'requests wait, and nothing is decided yet',
    drain: 'what was in flight ends by itself',
    fence: 'the rest is cut, and the old instance stopped',
    start: 'the new instance is started',
    prove: 'the new instance is asked whether it serves',
    switch: 'the new pin is made durable',
    release: 'those who waited are let go, in order',
};

const total = (steps) => steps.reduce((sum, { ms }) => sum + ms, 0);

// The line, and its words.
export function timeline(entry) {
    const steps = entry.steps;
    if (steps.length === 0) return undefined;
    const whole = total(steps);
    const bar = element('div', { class: 'bar', 'aria-hidden': 'true' });
    for (const { step, ms } of steps) {
        const part = element('span', { class: `step ${step}`, title: `${step}, ${duration(ms)}: ${STEPS[step]}` });
        part.style.flexGrow = String(Math.max(ms, whole / 1000));
        bar.append(part);
    }
    const words = steps.map(({ step, ms }) => element(
        'li', { title: STEPS[step] },
        element('span', { class: `swatch ${step}`, 'aria-hidden': 'true' }), `${step} ${duration(ms)}`,
    ));
    return element(
        'div', { class: 'timeline' },
        bar,
        element('div', { class: 'scale', 'aria-hidden': 'true' }, element('span', {}, '0'), element('span', {}, duration(whole / 2)), element('span', {}, duration(whole))),
        element('ul', { class: 'steps', 'aria-label': `Steps, ${duration(whole)} in all` }, ...words),
    );
}

const CAUSES = {
    first: 'first pin', planned: 'planned', unwell: 'its backend was unwell', removed: 'its backend was removed',
    suspicion: 'its backend refused a connection', hold: 'held by an operator',
};

function sentence(entry) {
    const { from, to, outcome } = entry;
    if (entry.kind !== 'handoff') return entry.note ?? '';
    switch (outcome) {
    case null: return `goes on, away from ${from?.backend ?? 'nobody'}`;
    case 'switched': return from === null ? `pinned to ${to?.backend}` : `moved from ${from.backend} to ${to?.backend}`;
    case 'returned': return `back at ${to?.backend}, under a new epoch`;
    case 'reopened': return `open again at ${to?.backend ?? from?.backend}`;
    default: return outcome;
    }
}

function counts(entry) {
    const said = [
        [entry.held, 'held'], [entry.released, 'let go'], [entry.cut, 'cut'], [entry.shed, 'refused'],
        [entry.given_up, 'given up'], [entry.late_answers, 'late answers kept back'],
    ].filter(([number]) => number > 0).map(([number, word]) => `${number} ${word}`);
    if (entry.longest_wait_ms > 0) said.push(`longest wait ${duration(entry.longest_wait_ms)}`);
    return said.join(', ');
}

// Of which a person should know at once.
const ALARMS = ['conflict', 'late_answer', 'commit_failed', 'hook_failed', 'refused_update', 'refused_pin', 'machine_down'];

// A journal entry as an item of a list. `named` has it lead to its site.
export function item(entry, named) {
    const isAlarm = ALARMS.includes(entry.kind);
    const why = [entry.kind === 'handoff' ? CAUSES[entry.cause] ?? entry.cause : isAlarm ? '' : entry.kind.replaceAll('_', ' ')];
    if (entry.wished_by !== null) why.push(`wished by ${entry.wished_by}`);
    if (entry.kind === 'handoff' && entry.note !== null) why.push(entry.note);
    const epochs = entry.to === null || entry.from?.epoch === entry.to.epoch ? '' : `epoch ${entry.from?.epoch ?? 0} → ${entry.to.epoch}`;
    const details = [why.filter(Boolean).join(', '), epochs, counts(entry)].filter(Boolean).join(' · ');
    const alarm = isAlarm ? badge({ kind: 'bad', word: entry.kind.replaceAll('_', ' ') }) : '';
    return element(
        'li', { class: 'entry', data: { entry: entry.id } },
        element('p', { class: 'what' }, element('time', {}, clock(entry.at_ms)), named && entry.site !== '-' ? siteButton(entry.site) : '', alarm, element('span', {}, sentence(entry))),
        timeline(entry),
        element('p', { class: 'details' }, details),
    );
}
