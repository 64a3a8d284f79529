import { totalmem } from 'node:os';
import { Command, InvalidArgumentError, Option } from 'commander';
import { ports } from '../../contract/src/ports.ts';
import { defaults, environment, paths } from '../../contract/src/settings.ts';
import { messageOf } from './model/error-message.ts';
import type { Column } from './protocol/tables.ts';
import type { ServerSettings } from './server.ts';
import { readColumns } from './tasks/columns.ts';
import {
  aggregations,
  poolings,
  scorings,
  type Task,
  type TaskOptions,
  taskKinds,
  usualHypothesis,
} from './tasks/task.ts';

/** What the pod is started with. */
export interface Options
  extends Omit<
      ServerSettings,
      | 'modelName'
      | 'modelUri'
      | 'modelArchivePath'
      | 'modelSha256'
      | 'modelSignatureKey'
      | 'modelSignatureIdentity'
      | 'modelSignatureFile'
      | 'task'
      | 'handler'
      | 'revision'
      | 'host'
      | 'workDirectory'
      | 'podUid'
      | 'batchMaxSize'
      | 'goldenSet'
      | 'goldenSetPatienceSeconds'
      | 'goldenSetSha256'
      | 'nodeCache'
    >,
    TaskOptions {
  readonly model?: string;
  readonly modelUri?: string;
  readonly modelName?: string;
  readonly modelArchivePath?: string;
  readonly modelSha256?: string;
  readonly modelSignatureKey?: string;
  readonly modelSignatureIdentity?: string;
  readonly modelSignatureFile?: string;
  readonly revision?: string;
  readonly task?: Task['kind'];
  readonly handler: 'Enabled' | 'Disabled';
  readonly handlerFiles: readonly string[];
  readonly handlerModels: readonly string[];
  readonly handlerTimeoutMilliseconds: number;
  readonly handlerSocket?: string;
  readonly host?: string;
  readonly workDirectory?: string;
  readonly podUid?: string;
  readonly batchMaxSize?: number;
  readonly goldenSet?: string;
  readonly goldenSetSha256?: string;
  readonly nodeCacheUrl?: string;
  readonly nodeCacheTokenFile: string;
  readonly preflight?: string;
  readonly prefetch?: string;
  readonly terminationLog?: string;
  readonly logLevel: string;
}

function columnsIn(text: string): readonly Column[] {
  try {
    return readColumns(text);
  } catch (error) {
    throw new InvalidArgumentError(`${messageOf(error)}.`);
  }
}

const integer = (least: number, most: number) => (text: string) => {
  const value = Number(text);
  if (Number.isInteger(value) && value >= least && value <= most && text.trim() !== '') return value;
  throw new InvalidArgumentError(`It must be a whole number from ${least} to ${most}.`);
};

const fileNames = (text: string) => {
  const names = Array.from(new Set(text.split(','))).filter((name) => name !== '');
  if (names.every((name) => /^[A-Za-z0-9][\w.-]*$/.test(name))) return names;
  throw new InvalidArgumentError('It must be names of files beside the model, with commas between.');
};

const domains = (text: string) => {
  const names = text.split(',').filter((name) => name !== '');
  if (names.every((name) => /^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$/.test(name))) return names;
  throw new InvalidArgumentError('It must be domains of operators, such as com.microsoft, with commas between.');
};

const hostNames = (text: string) => {
  const names = text.split(',').filter((name) => name !== '');
  if (names.every((name) => /^(\*|(\*\.)?[a-z0-9-]+(\.[a-z0-9-]+)*)$/.test(name))) return names;
  throw new InvalidArgumentError('It must be hosts without ports, such as images.example.com, *.example.com or *.');
};

const sha256 = (text: string) => {
  if (/^[a-f0-9]{64}$/.test(text)) return text;
  throw new InvalidArgumentError('It must be 64 lower-case hexadecimal digits.');
};

function option(flags: string, description: string, variable: string): Option {
  return new Option(flags, description).env(variable);
}

const anyPort = integer(0, 65535);
const anySize = integer(1, Number.MAX_SAFE_INTEGER);

/** A sixteenth of the memory that the container may use, from 1 MiB to 64 MiB. */
function defaultMaxBodyBytes(): number {
  const memory = process.constrainedMemory();
  const constrained = memory > 0 && memory < totalmem() ? memory : totalmem();
  return Math.min(64 * 2 ** 20, Math.max(2 ** 20, Math.floor(constrained / 16)));
}

export const program = new Command('inference-pod')
  .description('Serves one ONNX model over the Open Inference Protocol v2.')
  .option('--model <file>', 'the model file to serve: short for --model-uri')
  .addOption(option('--model-uri <uri>', 'https, http, pvc, configmap or file URI of the model', environment.modelUri))
  .addOption(option('--model-name <name>', "the name in URLs; default: the file's", environment.modelName))
  .addOption(option('--model-version <version>', 'the version in URLs', environment.modelVersion).default('1'))
  .addOption(
    option(
      '--model-archive-path <path>',
      'where the model is in the archive that the URI names',
      environment.modelArchivePath,
    ),
  )
  .addOption(
    option(
      '--operator-domains <list>',
      "domains of operators, beside ONNX's own, that the model may have, with commas between",
      environment.operatorDomains,
    )
      .argParser(domains)
      .default([]),
  )
  .addOption(
    option('--model-sha256 <digest>', 'refuse a model with another digest', environment.modelSha256).argParser(sha256),
  )
  .addOption(
    option(
      '--model-signature-key <pem>',
      'refuse a model that this public key has not signed',
      environment.modelSignatureKey,
    ),
  )
  .addOption(
    option(
      '--model-signature-identity <json>',
      'refuse a model that was not signed with a certificate of this subject, issuer and authorities',
      environment.modelSignatureIdentity,
    ),
  )
  .addOption(
    option(
      '--model-signature-file <name>',
      "the signature's name beside the model; default: the model's with .sig",
      environment.modelSignatureFile,
    ),
  )
  .addOption(
    option('--model-max-bytes <n>', 'refuse a larger model', environment.modelMaxBytes)
      .argParser(anySize)
      .default(defaults.maxModelBytes),
  )
  .addOption(
    option('--task <name>', 'what the model is used for beside its tensors', environment.task).choices(taskKinds),
  )
  .addOption(
    option(
      '--max-tokens <n>',
      'longer texts are cut, or refused by TokenClassification; default: as tokenizer.json says, or 512',
      environment.taskMaxTokens,
    ).argParser(integer(1, 131_072)),
  )
  .addOption(
    option('--pooling <how>', "how tokens' vectors become one of the text: TextEmbedding", environment.taskPooling)
      .choices(poolings)
      .default('Mean'),
  )
  .addOption(
    option('--normalization <how>', 'whether vectors are made 1 long: TextEmbedding', environment.taskNormalization)
      .choices(['Enabled', 'Disabled'])
      .default('Enabled'),
  )
  .addOption(
    option(
      '--scoring <how>',
      "what is made of the model's numbers; default: Sigmoid for Rerank, for TextClassification as config.json says",
      environment.taskScoring,
    ).choices(scorings),
  )
  .addOption(
    option(
      '--columns <list>',
      'names of columns with commas between, or JSON with their categories: Tabular',
      environment.taskColumns,
    ).argParser(columnsIn),
  )
  .addOption(
    option(
      '--max-pixels <n>',
      'refuse larger pictures: ImageClassification, ObjectDetection',
      environment.taskMaxPixels,
    )
      .argParser(integer(1, 2 ** 30))
      .default(defaults.maxPixels),
  )
  .addOption(
    option(
      '--picture-hosts <list>',
      'fetch pictures from these hosts, *.DOMAIN or * with commas between: ImageClassification, ObjectDetection',
      environment.taskPictureHosts,
    )
      .argParser(hostNames)
      .default([]),
  )
  .addOption(
    option(
      '--aggregation <how>',
      'how labels of tokens become those of what they name: TokenClassification',
      environment.taskAggregation,
    )
      .choices(aggregations)
      .default('Simple'),
  )
  .addOption(
    option('--hypothesis <text>', 'what is asked about a label, for {}: ZeroShot', environment.taskHypothesis).default(
      usualHypothesis,
    ),
  )
  .addOption(
    option('--handler <Enabled|Disabled>', 'use the module handler.mjs beside the model', environment.handler)
      .choices(['Enabled', 'Disabled'])
      .default('Disabled'),
  )
  .addOption(
    option('--handler-files <list>', 'what it reads beside it, with commas between', environment.handlerFiles)
      .argParser(fileNames)
      .default([]),
  )
  .addOption(
    option('--handler-models <list>', 'models beside it that it runs, with commas between', environment.handlerModels)
      .argParser(fileNames)
      .default([]),
  )
  .addOption(
    option('--handler-timeout-milliseconds <n>', 'end it when a call takes longer', environment.handlerTimeout)
      .argParser(integer(1, 86_400_000))
      .default(defaults.handlerTimeoutMilliseconds),
  )
  .addOption(
    option(
      '--handler-socket <path>',
      'where the container listens that it runs in; default: it runs in this one',
      environment.handlerSocket,
    ),
  )
  .addOption(option('--revision <name>', 'told in the header x-slipway-revision', environment.revision))
  .addOption(
    option('--threads <n>', 'threads that one inference uses', environment.threads)
      .argParser(integer(1, 1024))
      .default(defaults.threads),
  )
  .addOption(option('--port <n>', 'the port that serves', environment.port).argParser(anyPort).default(ports.serving))
  .addOption(
    option('--grpc-port <n>', 'the port that serves gRPC', environment.grpcPort).argParser(anyPort).default(ports.grpc),
  )
  .addOption(
    option('--control-port <n>', 'the port of metrics', environment.controlPort)
      .argParser(anyPort)
      .default(ports.control),
  )
  .option('--host <address>', 'the address to listen on; default: all')
  .addOption(
    option(
      '--source-check-seconds <n>',
      'ask so often what a tag, a branch or an alias in the URI leads to; 0: never',
      environment.sourceCheckSeconds,
    )
      .argParser(integer(0, 31_536_000))
      .default(defaults.sourceCheckSeconds),
  )
  .addOption(
    option('--drain-seconds <n>', 'go on accepting for so long after SIGTERM', environment.drainSeconds)
      .argParser(integer(0, 3600))
      .default(defaults.drainSeconds),
  )
  .addOption(
    option('--max-in-flight <n>', 'refuse requests above this number', environment.maxInFlight)
      .argParser(integer(1, 1_000_000))
      .default(defaults.maxInFlight),
  )
  .addOption(
    option('--max-body-bytes <n>', 'refuse larger request bodies', environment.maxBodyBytes)
      .argParser(anySize)
      .default(defaultMaxBodyBytes()),
  )
  .addOption(
    option('--max-answer-bytes <n>', 'refuse to send larger answers', environment.maxAnswerBytes)
      .argParser(anySize)
      .default(defaultMaxBodyBytes()),
  )
  .addOption(
    option(
      '--request-timeout-milliseconds <n>',
      'answer 504 after so long; a request may ask for less in x-request-timeout-ms',
      environment.requestTimeout,
    )
      .argParser(integer(1, 86_400_000))
      .default(defaults.requestTimeoutMilliseconds),
  )
  .addOption(
    option('--instances <n>', 'processes that run the model', environment.instances)
      .argParser(integer(1, 64))
      .default(defaults.instances),
  )
  .addOption(
    option(
      '--batch-max-size <n>',
      'run requests together, of so many rows at most',
      environment.batchMaxSize,
    ).argParser(integer(2, 4096)),
  )
  .addOption(
    option(
      '--batch-max-delay-milliseconds <n>',
      'how long a request may wait for others',
      environment.batchMaxDelayMilliseconds,
    )
      .argParser(integer(0, 10_000))
      .default(0),
  )
  .addOption(
    option('--fetch-timeout-seconds <n>', 'give up fetching the model after so long', environment.fetchTimeout)
      .argParser(integer(1, 1_000_000))
      .default(defaults.fetchTimeoutSeconds),
  )
  .addOption(
    option('--work-directory <path>', 'where the verified copy of the model is kept', environment.workDirectory),
  )
  .addOption(
    option('--mount-directory <path>', 'where a claim or ConfigMap is mounted', environment.mountDirectory).default(
      paths.mountDirectory,
    ),
  )
  .addOption(
    option(
      '--credentials-directory <path>',
      "where the credentials for the model's store are mounted, a file each",
      environment.credentialsDirectory,
    ).default(paths.credentialsDirectory),
  )
  .addOption(
    option('--node-cache-url <url>', 'ask it first for a model whose digest is given', environment.nodeCacheUrl),
  )
  .addOption(
    option('--node-cache-token-file <file>', 'with the token that it takes', environment.nodeCacheTokenFile).default(
      `${paths.nodeCacheDirectory}/token`,
    ),
  )
  .addOption(option('--prefetch <1>', 'end once the cache of the node has the model', environment.prefetch))
  .addOption(option('--preflight <1>', 'end once the operator was told which model is loaded', environment.preflight))
  .addOption(option('--pod-uid <uid>', 'whom tables of the pod link are addressed to', environment.podUid))
  .addOption(
    option('--access-log-percent <n>', 'write so many of a hundred requests to the log', environment.accessLogPercent)
      .argParser(integer(0, 100))
      .default(defaults.accessLogPercent),
  )
  .addOption(
    option('--page <Enabled|Disabled>', 'a page for people at /', environment.page)
      .choices(['Enabled', 'Disabled'])
      .default('Enabled'),
  )
  .addOption(
    option('--golden-set <file>', 'requests with their answers, asked before it is ready', environment.goldenSet),
  )
  .addOption(
    option('--golden-set-sha256 <digest>', 'refuse another golden set', environment.goldenSetSha256).argParser(sha256),
  )
  .addOption(
    option(
      '--link-directory <path>',
      "where the operator's public keys are mounted",
      environment.linkDirectory,
    ).default(paths.linkDirectory),
  )
  .addOption(
    option('--termination-log <file>', 'where the reason of a failed start is written', environment.terminationLog),
  )
  .addOption(
    option('--log-level <level>', 'how much is logged', environment.logLevel)
      .choices(['debug', 'info', 'warn', 'error'])
      .default('info'),
  );
