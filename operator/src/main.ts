import { Command, InvalidArgumentError, Option } from 'commander';
import { pino } from 'pino';
import { lease } from './api/names.ts';
import { messageOf } from './kube/errors.ts';
import { type OperatorSettings, runOperator } from './operator.ts';

/** The version that the user agent tells. */
const version = '0.1.0';

const integer = (least: number, most: number) => (text: string) => {
  const value = Number(text);
  if (Number.isInteger(value) && value >= least && value <= most) return value;
  throw new InvalidArgumentError(`It must be a whole number from ${least} to ${most}.`);
};

const address = (text: string) => {
  const protocol = URL.canParse(text) ? new URL(text).protocol : undefined;
  if (text === '' || protocol === 'http:' || protocol === 'https:') return text;
  throw new InvalidArgumentError('It must be a URL, such as http://prometheus.monitoring:9090.');
};

interface Options extends Omit<OperatorSettings, 'version'> {
  readonly logLevel: string;
}

const { logLevel, ...settings } = new Command('slipway-operator')
  .description('Reconciles ModelDeployments.')
  .option('--kubeconfig <file>', 'default: KUBECONFIG, ~/.kube/config, or the service account of the pod')
  .option('--context <name>', 'a context of the kubeconfig; default: its current one')
  .addOption(new Option('--namespace <name>', 'watch one namespace; default: all').env('SLIPWAY_NAMESPACE').default(''))
  .addOption(
    new Option('--lease-namespace <name>', 'where the lease of the leader is')
      .env('SLIPWAY_LEASE_NAMESPACE')
      .default(lease.namespace),
  )
  .addOption(
    new Option('--inference-image <image>', 'image of models whose spec names none; an immutable reference')
      .env('SLIPWAY_INFERENCE_IMAGE')
      .makeOptionMandatory(),
  )
  .addOption(
    new Option('--prometheus-url <url>', 'of the Prometheus that PromQL gates query; default: none')
      .env('SLIPWAY_PROMETHEUS_URL')
      .argParser(address),
  )
  .addOption(
    new Option('--prometheus-token-file <file>', 'with the bearer token that it asks for').env(
      'SLIPWAY_PROMETHEUS_TOKEN_FILE',
    ),
  )
  .addOption(
    new Option('--workers <n>', 'passes at the same time').env('SLIPWAY_WORKERS').argParser(integer(1, 64)).default(8),
  )
  .addOption(
    // No variable: the cluster sets SLIPWAY_PORT where a Service is called slipway.
    new Option('--port <n>', 'of health checks and metrics').argParser(integer(0, 65535)).default(9090),
  )
  .addOption(
    new Option('--log-level <level>', 'how much is logged')
      .env('SLIPWAY_LOG_LEVEL')
      .choices(['debug', 'info', 'warn', 'error'])
      .default('info'),
  )
  .parse()
  .opts<Options>();

const log = pino({ level: logLevel, base: { component: 'operator' } }, pino.destination({ dest: 1, sync: true }));
const stop = new AbortController();
for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => stop.abort());

try {
  const told = await runOperator({ ...settings, version }, log, stop.signal);
  if (!told) log.fatal('the lease was lost: another process may lead now');
  process.exit(told ? 0 : 1);
} catch (error) {
  log.fatal({ err: error }, `the operator ends: ${messageOf(error)}`);
  process.exit(1);
}
