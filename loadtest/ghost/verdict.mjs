// What was seen, judged: a list of promises, each kept or broken, and the table.
import { newest, STREAMS } from './witness.mjs';

export function summary(seen) {
    const twoState = seen.reads.filter((read) => read.twoState);
    return {
        reads: seen.reads.length,
        failedReads: seen.reads.filter((read) => read.failure),
        twoState,
        twoStateBy: STREAMS.map((stream) => twoState.filter((read) => read.stream === stream).length),
        longestWait: Math.max(...seen.reads.map((read) => read.ms)) / 1000,
        writes: seen.writes.length,
        failedWrites: seen.writes.filter((write) => !write.taken),
    };
}

export const judge = {
    // The control: what one Ghost alone does must pass the check, or the check is worth nothing.
    alone(seen) {
        const s = summary(seen);
        return [
            promise('one Ghost alone: no read fails', s.failedReads.length === 0, first(s.failedReads)),
            promise('one Ghost alone: no two-state reads', s.twoState.length === 0, firstTwoState(s)),
            promise('one Ghost alone: no write fails', s.failedWrites.length === 0, first(s.failedWrites)),
        ];
    },

    // The other control: what two Ghosts do must not pass it.
    balanced(seen) {
        const s = summary(seen);
        return [promise('round robin: the check sees two-state reads', s.twoState.length > 0, 'there were none')];
    },

    killed: (seen) => afterHandoff('killed', seen),

    frozen(seen) {
        const [old, current] = seen.titlesHeld.map((title) => newest(title ?? '', /Version (\d+)/g));
        return [
            ...afterHandoff('frozen', seen),
            // Without this there would have been nothing to protect the readers from.
            promise('frozen: the old Ghost came back with an older state', old < current, `it has ${old}, the new one ${current}`),
            promise('frozen: ghostpin names the conflict', seen.conflicts.includes(seen.before.backend), `it says ${JSON.stringify(seen.conflicts)}`),
        ];
    },
};

// The journal's lines of a run, in words.
export function told(seen) {
    return [...(seen.journal ?? [])].reverse().map((entry) => {
        const phases = entry.phases.map(({ phase, ms }) => `${phase} ${(ms / 1000).toFixed(1)} s`).join(', ');
        const pins = [entry.from, entry.to].map((pin) => (pin ? `${pin.backend} (epoch ${pin.epoch})` : 'nobody')).join(' -> ');
        return entry.kind === 'handoff'
            ? `journal: handoff, ${entry.cause}: ${pins}, ${entry.outcome}; ${phases}; ${entry.held} held, ${entry.released} released, ${entry.cut} cut`
            : `journal: ${entry.kind}: ${entry.note ?? pins}`;
    });
}

function afterHandoff(run, seen) {
    const s = summary(seen);
    const { before, after } = seen;
    const copies = new Map();
    for (const title of seen.titles) copies.set(title, (copies.get(title) ?? 0) + 1);
    const lost = seen.writes.filter((write) => write.taken && write.what.startsWith('Post ') && !copies.has(write.what));
    const twice = [...copies].filter(([, count]) => count > 1);
    // One editor has one request on its way when Ghost dies; of that one nobody can know, and it must be said. Others wait.
    const said = s.failedWrites.filter((write) => write.failure.startsWith('502 '));
    return [
        promise(`${run}: the site moved to the other Ghost`, after.backend !== before.backend && after.epoch > before.epoch,
            `${before.backend} at epoch ${before.epoch}, then ${after.backend} at epoch ${after.epoch}`),
        promise(`${run}: no read fails`, s.failedReads.length === 0, `${s.failedReads.length} did; ${first(s.failedReads)}`),
        promise(`${run}: no two-state reads`, s.twoState.length === 0, firstTwoState(s)),
        promise(`${run}: no write fails but one that was on its way, with a 502`,
            said.length === s.failedWrites.length && said.length <= 1, first(s.failedWrites)),
        promise(`${run}: every post that was taken is there`, lost.length === 0, `${lost.length} are not, such as ${lost[0]?.what}`),
        promise(`${run}: no post is there twice`, twice.length === 0, twice.join()),
        promise(`${run}: the scheduled post is published`, seen.published !== null, 'it is not'),
    ];
}

function promise(name, kept, otherwise) { return { name, kept, otherwise }; }

function first(failures) {
    const it = failures[0];
    return it && `the first: ${it.name ?? it.what}: ${it.failure}, after ${(it.ms / 1000).toFixed(1)} s`;
}

function firstTwoState(s) {
    const it = s.twoState[0];
    return it && `${s.twoState.length}; the first: ${it.name} showed ${it.version}, somebody had seen ${it.floor} before it began`;
}

// Rows of the table: a heading, and what to print of a run.
export const ROWS = [
    ['reads', (s) => s.reads],
    ['failed reads', (s) => s.failedReads.length],
    ['two-state reads', (s) => s.twoState.length],
    ['  of the title / posts / sitemap', (s) => s.twoStateBy.join(' / ')],
    ['longest wait of a reader', (s) => `${s.longestWait.toFixed(2)} s`],
    ['writes of the editor', (s) => s.writes],
    ['failed writes', (s) => s.failedWrites.length],
    ['post scheduled into the fault', (_, seen) => published(seen)],
    ['second Ghost named as a conflict', (_, seen) => (seen.conflicts ? (seen.conflicts.length ? 'yes' : 'no') : '-')],
];

function published({ published, patience }) {
    if (published === undefined) return '-';
    return published === null ? `not in ${patience} s` : `${Math.max(0, published).toFixed(1)} s late`;
}

export function table(columns) {
    const cells = [['', ...columns.map(([heading]) => heading)]];
    for (const [heading, cell] of ROWS) cells.push([heading, ...columns.map(([, seen]) => String(cell(summary(seen), seen)))]);
    const widths = cells[0].map((_, n) => Math.max(...cells.map((row) => row[n].length)));
    return cells.map((row) => row.map((cell, n) => (n ? cell.padStart(widths[n]) : cell.padEnd(widths[n]))).join('   ')).join('\n');
}
