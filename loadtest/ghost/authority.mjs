// An authority that ghostpin orders its certificate from: Debian's `pebble`, and a DNS server that leads every name here.
import dgram from 'node:dgram';
import fs from 'node:fs';
import path from 'node:path';
import { once } from 'node:events';
import { requestTls } from './http.mjs';
import { finish, freePort, start, tail, until } from './processes.mjs';

const START_PATIENCE_MS = 10_000;

export class Authority {
    // It comes to these ports to see whether a name leads here. Its own https has a certificate by `ghostpin certs-dev`.
    static async create(folder, program, { httpPort, tlsPort }) {
        const it = new Authority();
        it.log = path.join(folder, 'pebble.log');
        const own = path.join(folder, 'authority');
        await finish('certs-dev', program, ['certs-dev', '--out', own, 'localhost'], { log: path.join(folder, 'certs-dev.log') });
        it.caFile = path.join(own, 'ca.crt');
        const [port, management] = [await freePort(), await freePort()];
        it.directory = `https://localhost:${port}/dir`;
        const config = path.join(folder, 'pebble.json');
        fs.writeFileSync(config, JSON.stringify({
            pebble: {
                listenAddress: `127.0.0.1:${port}`,
                managementListenAddress: `127.0.0.1:${management}`,
                certificate: path.join(own, 'certificates/localhost.crt'),
                privateKey: path.join(own, 'certificates/localhost.key'),
                httpPort,
                tlsPort,
                ocspResponderURL: '',
                externalAccountBindingRequired: false,
            },
        }));
        const env = { PEBBLE_VA_NOSLEEP: '1', PEBBLE_WFE_NONCEREJECT: '0', PEBBLE_AUTHZREUSE: '0' };
        const process = start('pebble', 'pebble', ['-config', config, '-dnsserver', await dns()], { log: it.log, env });

        // What its certificates are trusted by is new with every start.
        const ca = fs.readFileSync(it.caFile);
        const root = () => process.ended || requestTls(`https://localhost:${management}`, '/roots/0', ca);
        const answered = (answer) => answer === true || (answer.status === 200 && answer);
        const answer = await until(async () => answered(await root()), START_PATIENCE_MS);
        if (!answer?.text) throw new Error(`pebble does not start; the end of ${it.log}:\n${tail(it.log)}`);
        it.root = answer.text;
        it.rootFile = path.join(folder, 'root.pem');
        fs.writeFileSync(it.rootFile, it.root);
        return it;
    }

    // How many certificates it has issued.
    issued() { return fs.readFileSync(this.log, 'utf8').split('Issued certificate serial').length - 1; }
}

// A DNS server to which every name is this machine.
async function dns() {
    const socket = dgram.createSocket('udp4').unref();
    socket.on('message', (query, peer) => {
        const end = query.indexOf(0, 12) + 5; // of the question: a name, its type, its class
        const isA = query.readUInt16BE(end - 4) === 1;
        const head = Buffer.from([query[0], query[1], 0x81, 0x80, 0, 1, 0, Number(isA), 0, 0, 0, 0]);
        // The name of the question, A, IN, for a second.
        const answer = isA ? [0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4, 127, 0, 0, 1] : [];
        socket.send(Buffer.concat([head, query.subarray(12, end), Buffer.from(answer)]), peer.port, peer.address);
    });
    socket.bind(0, '127.0.0.1');
    await once(socket, 'listening');
    return `127.0.0.1:${socket.address().port}`;
}
