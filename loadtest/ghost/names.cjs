// Loaded into Ghost before itself: names below `.example` are this machine. Ghost asks its own public address for things, and
// no other DNS knows it. Some of its parts look names up as the system does, others ask a DNS server first.
const dns = require('node:dns');
const { syncBuiltinESMExports } = require('node:module');

const isHere = (name) => name.endsWith('.example');

const { lookup } = dns;
dns.lookup = (name, ...rest) => lookup(isHere(name) ? '127.0.0.1' : name, ...rest);

const resolver = dns.promises.Resolver.prototype;
for (const [family, addresses] of [['resolve4', [{ address: '127.0.0.1', ttl: 60 }]], ['resolve6', []]]) {
    const resolve = resolver[family];
    resolver[family] = function (name, ...rest) {
        return isHere(name) ? Promise.resolve(addresses) : resolve.call(this, name, ...rest);
    };
}
syncBuiltinESMExports();
