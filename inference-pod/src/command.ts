import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { shownUri } from '../../contract/src/model-uri.ts';
import { environment } from '../../contract/src/settings.ts';
import type { StartupFailure } from '../../contract/src/startup-failure.ts';
import { prefetch } from './fetch-for-pod.ts';
import { messageOf } from './model/error-message.ts';
import { StartupError } from './model/startup-error.ts';
import { type Options, program } from './options.ts';
import { type InferenceServer, type ServerSettings, startServer } from './server.ts';
import { taskOf } from './tasks/task.ts';
import { createLog } from './telemetry/log.ts';

function nameOf(modelUri: string): string {
  return basename(shownUri(modelUri), '.onnx');
}

/** Kubelets bring a ConfigMap that was made or changed into a pod within little more than a minute. */
const preflightPatienceSeconds = 120;

/** onnxruntime reads its process's command line, and crashes of one of 16 KiB. */
const mostArgumentBytes = 8192;

/** The kubelet keeps 4096 bytes of a termination message, and JSON that is cut cannot be read. */
function terminationMessage({ reason, message }: StartupFailure): string {
  return JSON.stringify({ reason, message: message.slice(0, 900) } satisfies StartupFailure);
}

function temporaryDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), 'slipway-'));
  process.once('exit', () => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

async function run(options: Options, stopBeforehand: () => void): Promise<void> {
  const {
    model,
    modelName,
    modelUri = model,
    revision,
    modelArchivePath,
    modelSha256,
    modelSignatureKey,
    modelSignatureIdentity,
    modelSignatureFile,
    task,
    maxTokens,
    pooling,
    normalization,
    scoring,
    aggregation,
    hypothesis,
    columns,
    maxPixels,
    handler,
    handlerFiles,
    handlerModels,
    handlerTimeoutMilliseconds,
    handlerSocket,
    host,
    podUid,
    batchMaxSize,
    goldenSet,
    goldenSetSha256,
    nodeCacheUrl,
    nodeCacheTokenFile,
    preflight,
    prefetch: isPrefetch,
    terminationLog,
    logLevel,
    ...rest
  } = options;
  const name = modelName ?? (modelUri === undefined ? 'model' : nameOf(modelUri));
  const log = createLog(logLevel, { model: name, version: rest.modelVersion, revision });
  const end = (failure: StartupFailure) => {
    log.fatal(failure, 'the server ends');
    if (terminationLog !== undefined) writeFileSync(terminationLog, terminationMessage(failure));
    process.exit(1);
  };
  const argumentBytes = Buffer.byteLength(process.argv.join(' '));
  if (argumentBytes > mostArgumentBytes)
    return end({
      reason: 'InvalidConfiguration',
      message: `the arguments have ${argumentBytes} bytes together, and at most ${mostArgumentBytes} are taken: set what is long in the environment, as ${environment.taskColumns} instead of --columns`,
    });

  const whole = new AbortController();
  // Executors do not outlive this process, however it ends.
  process.once('exit', () => whole.abort());
  let server: InferenceServer | undefined;
  const stop = (signal: NodeJS.Signals) => {
    log.info({ signal }, 'told to end');
    if (server === undefined) process.exit(0);
    void server.drain().then(() => process.exit(0));
  };
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.on(signal, stop);
    process.off(signal, stopBeforehand);
  }

  try {
    if (modelUri === undefined) throw new StartupError('InvalidConfiguration', 'no model is given: use --model FILE');
    const workDirectory = rest.workDirectory ?? temporaryDirectory();
    const settings: ServerSettings = {
      ...rest,
      modelName: name,
      modelUri,
      modelArchivePath,
      modelSha256,
      modelSignatureKey,
      modelSignatureIdentity,
      modelSignatureFile,
      task:
        task === undefined
          ? undefined
          : taskOf(task, { maxTokens, pooling, normalization, scoring, aggregation, hypothesis, columns, maxPixels }),
      handler:
        handler === 'Enabled'
          ? {
              files: handlerFiles,
              models: handlerModels,
              timeoutMilliseconds: handlerTimeoutMilliseconds,
              socketPath: handlerSocket,
            }
          : undefined,
      revision,
      host,
      workDirectory,
      podUid,
      batchMaxSize,
      goldenSet,
      goldenSetSha256,
      nodeCache: nodeCacheUrl === undefined ? undefined : { url: nodeCacheUrl, tokenFile: nodeCacheTokenFile },
      // A container is started anew; a preflight pod is asked once.
      goldenSetPatienceSeconds: preflight === '1' ? preflightPatienceSeconds : 0,
    };
    if (isPrefetch === '1') {
      await prefetch(settings, log, whole.signal);
      process.exit(0);
    }
    server = await startServer(
      settings,
      log,
      {
        onTold: () => {
          if (preflight !== '1') return;
          void (server?.offered ?? Promise.resolve()).then(() => {
            log.info('the model is told of: the preflight ends');
            process.exit(0);
          });
        },
        onHopeless: (message) => end({ reason: 'ModelInvalid', message }),
      },
      whole.signal,
    );
    log.info(
      { port: server.port, grpcPort: server.grpcPort, controlPort: server.controlPort },
      `serving /v2/models/${name}`,
    );
  } catch (error) {
    if (error instanceof StartupError) end({ reason: error.reason, message: error.message });
    else end({ reason: 'InvalidConfiguration', message: messageOf(error) });
  }
}

/** @param stopBeforehand the handler of signals until there is one that knows what to do */
export async function command(stopBeforehand: () => void): Promise<void> {
  // It has written to standard error what is wrong.
  program.exitOverride(({ exitCode, message }) => {
    const terminationLog = process.env[environment.terminationLog];
    if (exitCode !== 0 && terminationLog !== undefined) {
      const failure = { reason: 'InvalidConfiguration', message: message.replace(/^error: /, '') } as const;
      writeFileSync(terminationLog, terminationMessage(failure));
    }
    process.exit(exitCode);
  });
  await run(program.parse().opts<Options>(), stopBeforehand);
}
