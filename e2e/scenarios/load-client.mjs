// Runs in a pod: sends inference requests to a Service for as long as it is told to, and counts what comes back.
// GET /stats on port 8000 tells the counts, POST /stop ends the load. Ends by itself after SECONDS.
import http from 'node:http';

const { URL: target, BODY: body, CONNECTIONS, SECONDS, PAUSE_MILLISECONDS, KEEP_ALIVE } = process.env;
const stats = { answered: 0, failed: 0, versions: {}, lastAnswers: {}, failures: [], stopped: false };
const agent = new http.Agent({ keepAlive: KEEP_ALIVE !== 'false', maxSockets: Number(CONNECTIONS) });

const send = () =>
  new Promise((resolve) => {
    const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) };
    const request = http.request(target, { method: 'POST', agent, headers, timeout: 20_000 }, (response) => {
      const chunks = [];
      response.on('data', (chunk) => chunks.push(chunk));
      response.on('error', (error) => resolve(error.message));
      response.on('end', () => {
        const text = Buffer.concat(chunks).toString();
        if (response.statusCode !== 200) return resolve(`${response.statusCode} ${text.slice(0, 200)}`);
        const version = JSON.parse(text).model_version;
        stats.versions[version] = (stats.versions[version] ?? 0) + 1;
        stats.lastAnswers[version] = Date.now();
        resolve(undefined);
      });
    });
    request.on('timeout', () => request.destroy(new Error('no answer within 20 s')));
    request.on('error', (error) => resolve(`${error.code ?? ''} ${error.message}`));
    request.end(body);
  });

const worker = async () => {
  while (!stats.stopped) {
    const failure = await send();
    if (failure === undefined) stats.answered++;
    else {
      stats.failed++;
      if (stats.failures.length < 20) stats.failures.push(`${new Date().toISOString()} ${failure}`);
    }
    if (Number(PAUSE_MILLISECONDS) > 0) await new Promise((resolve) => setTimeout(resolve, Number(PAUSE_MILLISECONDS)));
  }
};

http
  .createServer((request, response) => {
    if (request.method === 'POST') stats.stopped = true;
    response.end(JSON.stringify(stats));
  })
  .listen(8000);
setTimeout(() => process.exit(0), Number(SECONDS) * 1000).unref();
await Promise.all(Array.from({ length: Number(CONNECTIONS) }, worker));
