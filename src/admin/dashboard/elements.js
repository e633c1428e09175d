// Small parts that the others are made of: elements, numbers and times in words, and how a site stands.

// An element. `of` has its properties; `class`, `data` and whatever begins with `aria-` are given as in HTML.
export function element(tag, of = {}, ...children) {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(of)) {
        if (value === undefined || value === null) continue;
        if (name === 'class') made.className = value;
        else if (name === 'data') Object.assign(made.dataset, value);
        else if (name === 'role' || name.startsWith('aria-')) made.setAttribute(name, value);
        else made[name] = value;
    }
    made.append(...children.filter((child) => child !== undefined && child !== null && child !== ''));
    return made;
}

export const byId = (id) => document.getElementById(id);

// Writes a text where it is another one: what is the same needs no new layout, and no reader is told of it again.
export function write(place, text) {
    if (place.textContent !== text) place.textContent = text;
}

export const number = (value) => value.toLocaleString('en');

export const count = (value, one, many = `${one}s`) => `${number(value)} ${value === 1 ? one : many}`;

// A time in milliseconds, as exact as it matters.
export function duration(ms) {
    if (ms < 1) return `${ms.toFixed(1)} ms`;
    if (ms < 1000) return `${Math.round(ms)} ms`;
    const seconds = ms / 1000;
    if (seconds < 10) return `${seconds.toFixed(1)} s`;
    if (seconds < 120) return `${Math.round(seconds)} s`;
    if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
    if (seconds < 172_800) return `${Math.round(seconds / 3600)} h`;
    return `${Math.round(seconds / 86_400)} days`;
}

export function clock(ms) {
    const at = new Date(ms);
    const time = at.toLocaleTimeString('en-GB');
    // Swedes write a date as ISO 8601 does. That of toISOString() would be the one at Greenwich.
    return at.toDateString() === new Date().toDateString() ? time : `${at.toLocaleDateString('sv-SE')} ${time}`;
}

// How a site stands: a word, and what it means for whoever looks. `bad` wants somebody, `wait` has readers waiting.
export function standing(line) {
    if (line.conflicts.length > 0 && line.phase === 'serving') return { kind: 'bad', word: 'conflict' };
    if (line.on_hold) return { kind: 'wait', word: 'on hold' };
    if (line.phase === 'vacant') return { kind: 'bad', word: 'no backend' };
    if (line.phase !== 'serving') return { kind: 'wait', word: line.phase };
    if (!line.open) return { kind: 'wait', word: 'held here' };
    return { kind: 'good', word: 'serves' };
}

// The shape tells the same as the colour.
const SHAPES = { good: '●', wait: '◆', bad: '▲' };

export const badge = ({ kind, word }) =>
    element('span', { class: `badge ${kind}` }, element('span', { 'aria-hidden': 'true' }, `${SHAPES[kind]} `), word);

// A button that opens a site.
export const siteButton = (name) => element('button', { type: 'button', class: 'open', data: { site: name } }, name);
