// What was seen, judged: a list of promises, each kept or broken, and the table.
import { newest, STREAMS } from './witness.mjs';

const YEAR_S = 31_536_000;

// Until 6.56 each Ghost keeps a list of all addresses in its memory, and a post that is not in it is nowhere.
function keepsAddresses(version) {
    const [major, minor] = version.split('.').map(Number);
    return major === 6 && minor <= 56;
}

export function summary(seen) {
    const twoState = seen.reads.filter((read) => read.twoState);
    return {
        reads: seen.reads.length,
        failedReads: seen.reads.filter((read) => read.failure),
        twoState,
        twoStateOf: Object.fromEntries(STREAMS.map((stream) => [stream, twoState.filter((read) => read.stream === stream)])),
        thereAndGone: thereAndGone(seen.reads),
        longestWait: Math.max(...seen.reads.map((read) => read.ms)) / 1000,
        writes: seen.writes.length,
        failedWrites: seen.writes.filter((write) => !write.taken),
    };
}

// Reads that found a published post gone, which one before it had found, and one after it did again. Only reads that don't
// overlap count, so this was to be seen by one person who reloads the page twice.
function thereAndGone(reads) {
    const pages = reads.filter((read) => read.stream === 'pages');
    return pages.filter((gone) => {
        if (gone.goneFor === undefined) return false;
        const found = pages.filter((read) => read.path === gone.path && read.version === read.floor);
        return found.some((read) => read.at + read.ms <= gone.at) && found.some((read) => read.at >= gone.at + gone.ms);
    });
}

// What a run must have shown, given its name, what was seen, and Ghost's version.
export const judges = {
    // The control: what one Ghost alone does must pass the check, or the check is worth nothing.
    alone(_, seen) {
        const s = summary(seen);
        return [
            promise('one Ghost alone: no read fails', s.failedReads.length === 0, first(s.failedReads)),
            ...nothingGoesBack('one Ghost alone', seen, s),
            promise('one Ghost alone: no write fails', s.failedWrites.length === 0, first(s.failedWrites)),
        ];
    },

    // The other control: what two Ghosts do must not pass it.
    balanced(_, seen, version) {
        const s = summary(seen);
        const flickers = ['title', 'navigation'].map((stream) =>
            promise(`round robin: the check sees two-state reads of the ${stream}`, s.twoStateOf[stream].length > 0, 'there were none'));
        if (!keepsAddresses(version)) return flickers;
        const kept = s.twoStateOf.pages.map((read) => read.goneFor);
        return [
            ...flickers,
            promise('round robin: posts are there, and gone, and there again', s.thereAndGone.length > 0,
                `${kept.length} reads found one gone, none between two that found it`),
            promise('round robin: browsers are told to keep that for a year', kept.length > 0 && kept.every((seconds) => seconds >= YEAR_S),
                `max-age was ${[...new Set(kept)].join()}`),
        ];
    },

    killed(run, seen) {
        return [
            ...afterHandoff(run, seen),
            promise(`${run}: every post in the list has its page`, seen.withoutPage.length === 0, `not so: ${seen.withoutPage}`),
        ];
    },

    frozen(run, seen, version) {
        const [old, current] = seen.titlesHeld.map((title) => newest(title ?? '', /Version (\d+)/g));
        // A frozen Ghost that nobody fences may end its last write when the new one has read the database already. That write is
        // the one that got a 502; whatever has become of it is no promise.
        const unknown = summary(seen).failedWrites.map((write) => write.what);
        const withoutPage = seen.withoutPage.filter((title) => !unknown.includes(title));
        return [
            ...afterHandoff(run, seen),
            promise(`${run}: every post in the list has its page, but one whose outcome is unknown`, withoutPage.length === 0,
                `not so: ${withoutPage}`),
            // Without this there would have been nothing to protect the readers from.
            promise(`${run}: the old Ghost came back with an older state`, old < current, `it has ${old}, the new one ${current}`),
            ...(keepsAddresses(version) ? [promise(`${run}: the old Ghost came back without the newest post`, isOnlyOnNew(seen.newestHeld),
                `of old and new, these have it: ${seen.newestHeld}`)] : []),
            promise(`${run}: ghostpin names the conflict`, seen.conflicts.includes(seen.before.backend), `it says ${JSON.stringify(seen.conflicts)}`),
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
        ...nothingGoesBack(run, seen, s),
        promise(`${run}: no write fails but one that was on its way, with a 502`,
            said.length === s.failedWrites.length && said.length <= 1, first(s.failedWrites)),
        promise(`${run}: every post that was taken is there`, lost.length === 0, `${lost.length} are not, such as ${lost[0]?.what}`),
        promise(`${run}: no post is there twice`, twice.length === 0, twice.join()),
        promise(`${run}: the scheduled post is published`, seen.published !== null, 'it is not'),
        ...(seen.secure ? overTls(run, seen.secure) : []),
    ];
}

function overTls(run, { protocols, connections, opened, issued, clear, origin }) {
    return [
        promise(`${run}: every reader comes with HTTP/2 over TLS 1.3`, protocols.join() === 'h2 over TLSv1.3', protocols.join()),
        promise(`${run}: no connection of a reader is lost`, opened === connections, `${opened} were opened for ${connections}`),
        promise(`${run}: the authority issued one certificate`, issued === 1, `${issued}`),
        promise(`${run}: clear text is sent to TLS`, clear === `301 ${origin}/`, clear),
    ];
}

export function promise(name, kept, otherwise) { return { name, kept, otherwise }; }

function first(failures) {
    const it = failures[0];
    return it && `the first: ${it.name ?? it.what}: ${it.failure}, after ${(it.ms / 1000).toFixed(1)} s`;
}

function isOnlyOnNew([old, current]) { return !old && current; }

// One promise for each stream. One of which nothing was seen would prove nothing, so that breaks it, too.
function nothingGoesBack(run, seen, s) {
    return STREAMS.map((stream) => {
        const some = seen.reads.some((read) => read.stream === stream && read.version !== undefined);
        return promise(`${run}: no two-state reads of the ${stream}`, some && s.twoStateOf[stream].length === 0,
            some ? firstTwoState(s.twoStateOf[stream]) : 'nothing was seen of it');
    });
}

function firstTwoState(twoState) {
    const it = twoState[0];
    if (!it) return undefined;
    const what = it.goneFor === undefined ? `showed ${it.version}` : `sent ${it.path} to /404/ for ${it.goneFor} s`;
    return `${twoState.length}; the first: ${it.name} ${what}, somebody had seen ${it.floor} before it began`;
}

// Rows of the table: a heading, and what to print of a run.
export const ROWS = [
    ['reads', (s) => s.reads],
    ['failed reads', (s) => s.failedReads.length],
    ['two-state reads', (s) => s.twoState.length],
    ...STREAMS.map((stream) => [`  of the ${stream}`, (s) => s.twoStateOf[stream].length]),
    ['    posts there, gone, and there again', (s) => s.thereAndGone.length],
    ['posts in the list without a page', (_, seen) => seen.withoutPage?.length ?? '-'],
    ['longest wait of a reader', (s) => `${s.longestWait.toFixed(2)} s`],
    ['writes of the editor', (s) => s.writes],
    ['failed writes', (s) => s.failedWrites.length],
    ['post scheduled into the fault', (_, seen) => published(seen)],
    ['second Ghost named as a conflict', (_, seen) => (seen.conflicts ? (seen.conflicts.length ? 'yes' : 'no') : '-')],
    ['connections that were lost', (_, seen) => (seen.secure ? seen.secure.opened - seen.secure.connections : '-')],
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
