import { createServer } from 'node:http';
import { Command, InvalidArgumentError, Option } from 'commander';
import express from 'express';
import { pino } from 'pino';
import { nodeCache } from '../../contract/src/node-cache.ts';
import { serveCache } from './cache-server.ts';
import { Callers } from './callers.ts';
import { createMetrics } from './metrics.ts';
import { ModelStore } from './model-store.ts';

const integer = (least: number, most: number) => (text: string) => {
  const value = Number(text);
  if (Number.isInteger(value) && value >= least && value <= most) return value;
  throw new InvalidArgumentError(`It must be a whole number from ${least} to ${most}.`);
};

interface Options {
  readonly directory: string;
  readonly maxGibibytes: number;
  readonly port: number;
  readonly healthPort: number;
  readonly host?: string;
  readonly apiServer: string;
  readonly credentialsDirectory: string;
  readonly logLevel: string;
}

const options = new Command('slipway-node-cache')
  .description('Keeps models that pods of its node have fetched, for the next ones there.')
  .requiredOption('--directory <path>', 'where they are kept')
  .addOption(new Option('--max-gibibytes <n>', 'of all together').argParser(integer(1, 1_048_576)).default(20))
  .addOption(
    new Option('--port <n>', 'the port that serves pods')
      .argParser(integer(0, 65535))
      .default(Number(new URL(nodeCache.url).port)),
  )
  .addOption(new Option('--health-port <n>', 'of health checks and metrics').argParser(integer(0, 65535)).default(9090))
  .option('--host <address>', 'the address to listen on; default: all')
  .option('--api-server <url>', 'whom tokens are shown', 'https://kubernetes.default.svc')
  .option(
    '--credentials-directory <path>',
    'where the own token and ca.crt are',
    '/var/run/secrets/kubernetes.io/serviceaccount',
  )
  .addOption(
    new Option('--log-level <level>', 'how much is logged').choices(['debug', 'info', 'warn', 'error']).default('info'),
  )
  .parse()
  .opts<Options>();

const log = pino(
  { level: options.logLevel, base: { component: 'node-cache' } },
  pino.destination({ dest: 1, sync: true }),
);

let store: ModelStore | undefined;
const metrics = createMetrics(() => store);
const health = express();
health.disable('x-powered-by');
health.get(['/healthz', '/readyz'], (_request, response) => {
  response.send('ok');
});
health.get('/metrics', async (_request, response) => {
  response.type(metrics.contentType).send(await metrics.exposition());
});

try {
  store = await ModelStore.open({
    directory: options.directory,
    mostBytes: options.maxGibibytes * 2 ** 30,
    onEvicted: () => metrics.countEvicted(),
  });
  const callers = new Callers({
    url: options.apiServer.replace(/\/+$/, ''),
    credentialsDirectory: options.credentialsDirectory,
    audience: nodeCache.audience,
    now: () => performance.now(),
  });
  const server = await serveCache({ ...options, store, callers, metrics, log });
  const healthServer = createServer(health).listen(options.healthPort, options.host);
  const address = server.address();
  const { models, bytes } = store;
  log.info({ port: typeof address === 'object' ? address?.port : address, models, bytes }, 'models are kept');
  for (const signal of ['SIGTERM', 'SIGINT'] as const)
    process.once(signal, () => {
      log.info({ signal }, 'told to end');
      healthServer.close();
      healthServer.closeAllConnections();
      // Who is being sent a model gets it whole, as long as the kubelet waits.
      server.close(() => process.exit(0));
      server.closeIdleConnections();
    });
} catch (error) {
  log.fatal({ err: error }, 'the cache ends');
  process.exit(1);
}
