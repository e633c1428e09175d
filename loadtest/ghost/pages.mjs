// What a browser has to say about a page that came through ghostpin over TLS.
import { promise } from './verdict.mjs';

// `issuer` is who has to have issued the certificate; `refused` says what Ghost itself refuses there, by the path.
//
// Only what came from the page's own origin is judged. Pages ask other hosts for pictures, and can't reach any here.
export function judgePage(what, page, issuer, refused = /^$/) {
    const own = (list) => list.filter(({ url }) => url.startsWith(page.origin));
    const unexpected = own(page.refused).filter(({ url, text }) => text >= 500 || !refused.test(new URL(url).pathname));
    // What the browser, and then a script, say about an answer that was expected.
    const expected = page.refused.length > unexpected.length
        ? /^Failed to load resource: the server responded with a status of 4|You are not authorised to make this request/ : /^$/;
    const said = own(page.said).filter(({ text }) => !expected.test(text));
    const isSecure = page.security === 'secure' && page.issues.length === 0 && page.isSecureContext;
    return [
        promise(`${what}: is there`, page.status === 200, `status ${page.status}`),
        promise(`${what}: has a padlock`, isSecure, `${page.security} ${page.issues}, secure context: ${page.isSecureContext}`),
        promise(`${what}: by a certificate of the right authority`, issuer.test(page.certificate?.issuer), JSON.stringify(page.certificate)),
        promise(`${what}: came over HTTP/2 with all its parts`, page.parts > 0 && page.protocols.join() === 'h2',
            `${page.parts} parts, ${page.protocols}`),
        promise(`${what}: no request fails`, own(page.failed).length === 0, list(own(page.failed))),
        promise(`${what}: none is refused that should not be`, unexpected.length === 0, list(unexpected)),
        promise(`${what}: nothing is complained of`, said.length === 0, list(said)),
    ];
}

// A page in a line.
export function toldPage({ name, status, ms, parts, protocols, security, certificate, refused }) {
    const of4xx = refused.length ? `; refused: ${list(refused)}` : '';
    return `${name}: ${status} after ${(ms / 1000).toFixed(2)} s, ${parts} parts over ${protocols}, ${security}, ${certificate?.protocol} `
        + `by ${certificate?.issuer}${of4xx}`;
}

const list = (noted) => [...new Set(noted.map(({ url, text }) => `${text} (${url.split('?')[0]})`))].join('; ');
