// A server as Ghost has it: Node's own HTTP, with all its settings as they come. It answers each request when it has all
// of it, and tells at its end what it has understood.
//
// Says its port on the first line of its output. When its input ends, it waits for its connections to end and prints
// everything it was asked, as JSON.
import http from 'node:http';

const asked = [];
const hex = (text) => Buffer.from(text, 'latin1').toString('hex');

// As the recording backend writes it: what is not printable, or would need it, is escaped, and it has an end.
const shown = (text) =>
  [...text]
    .map((char) => {
      const code = char.charCodeAt(0);
      if ('\\\'"'.includes(char)) return `\\${char}`;
      return code < 0x20 || code > 0x7e ? `\\x${code.toString(16).padStart(2, '0')}` : char;
    })
    .join('')
    .slice(0, 200);

const server = http.createServer((request, response) => {
  const one = { connection: request.socket.remotePort, method: hex(request.method), target: hex(request.url) };
  one.fields = request.rawHeaders.map(hex);
  one.body = '';
  one.is_whole = false;
  asked.push(one);
  request.on('data', (data) => (one.body += data.toString('hex')));
  request.on('error', () => {});
  request.on('end', () => {
    one.is_whole = request.complete;
    const saw = shown(`${request.method} ${request.url}`);
    response.writeHead(200, { 'content-length': saw.length, 'x-saw': saw });
    response.end(saw);
  });
});

server.listen(0, '127.0.0.1', () => console.log(server.address().port));
process.stdin.resume();
process.stdin.on('end', () => {
  server.close(() => process.stdout.write(JSON.stringify(asked)));
});
