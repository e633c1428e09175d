// The posts' own pages: where a post is, and what an answer from there says about it.
export const postSlug = (number) => `post-${number}`;
export const postPath = (number) => `/${postSlug(number)}/`;

export const isPost = (answer, number) => answer.status === 200 && answer.text.includes(`<title>Post ${number}</title>`);

// For how many seconds an answer denies a post: a Ghost that finds it in the database, but not in its own list of addresses,
// redirects to the address of nothing, and lets browsers keep that. Undefined if the answer doesn't say so.
export function goneFor(answer) {
    if (answer.status !== 301 || !answer.headers.location?.endsWith('/404/')) return undefined;
    return Number(/max-age=(\d+)/.exec(answer.headers['cache-control'] ?? '')?.[1] ?? 0);
}
