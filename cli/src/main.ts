#!/usr/bin/env node
import { setTimeout as sleep } from 'node:timers/promises';
import { Argument, Command, InvalidArgumentError, Option } from 'commander';
import { UntrustedModel } from '../../contract/src/untrusted-model.ts';
import { completionScript } from './completion.ts';
import { type Kubectl, KubectlError, kubectlWith, printable } from './kubectl.ts';
import { type Rollout, readRollout } from './rollout.ts';
import { historyLines, rolloutLines } from './rollout-view.ts';
import { type AskedSigner, verified } from './verify.ts';

/** How often a rollout is looked at while it is watched. */
const watchMilliseconds = 1000;

const program = new Command('kubectl slipway')
  .description('Rollouts of models: what they are at, and what a person can do. Writes only what plain kubectl could.')
  .option('-n, --namespace <name>', 'default: that of the current context')
  .option('--context <name>', 'a context of the kubeconfig')
  .option('--kubeconfig <file>', 'default: as kubectl has it');

/** What begins with a dash would be an option of kubectl. */
function objectName(text: string): string {
  if (/^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$/.test(text)) return text;
  throw new InvalidArgumentError("It must be the name of a ModelDeployment: a-z, 0-9, '-' and '.'.");
}

function revisionNumber(text: string): string {
  if (/^\d{1,18}$/.test(text)) return text;
  throw new InvalidArgumentError('It must be a number, as kubectl rollout history tells it.');
}

const nameArgument = () => new Argument('<name>', 'of a ModelDeployment').argParser(objectName);

function kubectl(): Kubectl {
  const options = program.opts<Record<string, string>>();
  return kubectlWith(Object.entries(options).map(([name, value]) => `--${name}=${value}`));
}

/** @throws KubectlError */
async function read(name: string, run: Kubectl): Promise<Rollout> {
  const resource = 'modeldeployments.serving.slipway.dev';
  const [model, pods, events] = await Promise.all([
    run(['get', resource, name, '-o', 'json']),
    run(['get', 'pods', '-l', `serving.slipway.dev/model-deployment=${name}`, '-o', 'json']),
    run([
      'get',
      'events',
      '--field-selector',
      `involvedObject.kind=ModelDeployment,involvedObject.name=${name}`,
      '-o',
      'json',
    ]),
  ]);
  return readRollout(parsed(model), parsed(pods), parsed(events));
}

/** @throws KubectlError */
function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new KubectlError(`kubectl printed what is no JSON: ${text.trim().slice(0, 200) || 'nothing'}`);
  }
}

program
  .command('status')
  .addArgument(nameArgument())
  .description('tracks, weights, step, gates, pods and events of a rollout')
  .option('-w, --watch', 'go on until it is over, or you are')
  .addOption(new Option('-o, --output <form>', 'json: what is shown, as JSON').choices(['json']))
  .action(async (name: string, { watch = false, output }: { watch?: boolean; output?: string }) => {
    const run = kubectl();
    let shown = '';
    for (;;) {
      const rollout = await read(name, run);
      const text = output === 'json' ? JSON.stringify(rollout) : rolloutLines(rollout, new Date()).join('\n');
      show(text, shown, watch && output === undefined);
      shown = text;
      if (!watch || isOver(rollout)) return;
      await sleep(watchMilliseconds);
    }
  });

/** On a terminal the last picture is drawn over; elsewhere only what is news is printed. */
function show(text: string, before: string, isWatched: boolean): void {
  if (isWatched && process.stdout.isTTY) process.stdout.write(`\u001b[H\u001b[J${text}\n`);
  else if (withoutTimes(text) !== withoutTimes(before)) process.stdout.write(`${text}\n`);
}

function withoutTimes(text: string): string {
  return text.replace(/\b\d+[smhd]\b/g, '');
}

function isOver({ ready, canary, message }: Rollout): boolean {
  return canary === undefined && (ready || message.startsWith('rolled back') || message.startsWith('not rolled out'));
}

program
  .command('history')
  .addArgument(nameArgument())
  .description('the revisions that are kept')
  .action(async (name: string) => {
    const rollout = await read(name, kubectl());
    print(historyLines(rollout.history, rollout.serving.revision, new Date()));
  });

const commands = {
  promote: 'let the canary take over at once',
  abort: 'take the canary back',
  pause: 'keep the canary at its weight',
  resume: 'let the canary go on, also from a hold that is Manual',
  retry: 'try the revision again that was rolled back',
} as const;
for (const [command, description] of Object.entries(commands)) {
  program
    .command(command)
    .addArgument(nameArgument())
    .description(description)
    .action(async (name: string) => {
      const run = kubectl();
      const rollout = await read(name, run);
      await give(command, name, rollout, run);
    });
}

async function give(command: string, name: string, { updateRevision }: Rollout, run: Kubectl): Promise<void> {
  if (updateRevision === '') throw new KubectlError(`the operator has not looked at ${name} yet: try again`);
  // The time makes it another request than the last one was.
  const value = `serving.slipway.dev/${command}=${updateRevision}@${new Date().toISOString()}`;
  print([await run(['annotate', '--overwrite', `modeldeployments.serving.slipway.dev/${name}`, value])]);
}

program
  .command('undo')
  .addArgument(nameArgument())
  .description('what kubectl rollout undo does; while a canary is tried, that is taken back')
  .addOption(
    new Option('--to-revision <number>', 'as kubectl rollout history numbers them')
      .argParser(revisionNumber)
      .conflicts('toVersion'),
  )
  .option('--to-version <version>', 'the newest revision of this version')
  .action(async (name: string, { toRevision, toVersion }: { toRevision?: string; toVersion?: string }) => {
    const run = kubectl();
    const rollout = await read(name, run);
    // kubectl itself refuses where nothing ran before what serves beside the canary.
    if (
      rollout.canary !== undefined &&
      rollout.canary.state !== 'Promoting' &&
      toRevision === undefined &&
      toVersion === undefined
    )
      return give('abort', name, rollout, run);
    const number = toVersion === undefined ? toRevision : await numberOf(name, toVersion, run);
    const to = number === undefined ? [] : [`--to-revision=${number}`];
    print([await run(['rollout', 'undo', `deployment/${name}`, ...to])]);
  });

/** The number by which kubectl knows the newest revision of a version. */
async function numberOf(name: string, version: string, run: Kubectl): Promise<string> {
  const history = await run(['rollout', 'history', `deployment/${name}`]);
  const lines = history.split('\n').filter((line) => line.includes(`version ${version},`));
  const number = lines.at(-1)?.trim().split(/\s+/)[0];
  if (number === undefined)
    throw new KubectlError(`no revision of version ${version} is kept: kubectl slipway history ${name}`);
  return number;
}

program
  .command('verify')
  .argument('<model>', 'its file')
  .argument('[beside...]', 'the files beside it that it has its data in')
  .description('whether somebody has signed a model, as the pods that serve it ask')
  .addOption(new Option('--key <file>', 'the public key, in PEM').conflicts(['subject', 'authorities', 'issuer']))
  .option('--subject <name>', 'a name that the certificate of the signature is for')
  .option('--authorities <file>', 'the certificates of those who may have issued it, in PEM')
  .option('--issuer <text>', 'who has told the authority who that is, as Sigstore has it')
  .option('--signature <file>', "default: the model's with .sig")
  .action(async (model: string, beside: string[], options: VerifyOptions) => {
    print([await verified(model, beside, signerAsked(options), options.signature ?? `${model}.sig`)]);
  });

interface VerifyOptions {
  readonly key?: string;
  readonly subject?: string;
  readonly authorities?: string;
  readonly issuer?: string;
  readonly signature?: string;
}

function signerAsked({ key, subject, authorities, issuer }: VerifyOptions): AskedSigner {
  if (key !== undefined) return { keyFile: key };
  if (subject !== undefined && authorities !== undefined) return { authoritiesFile: authorities, subject, issuer };
  return program.error('error: say who has to have signed: --key, or --subject and --authorities');
}

program
  .command('completion')
  .description('prints a script for your PATH, as kubectl_complete-slipway: kubectl then completes names and commands')
  .action(() => print([completionScript(program.commands.map((command) => command.name()))]));

function print(lines: readonly string[]): void {
  process.stdout.write(`${lines.join('\n').trimEnd()}\n`);
}

// Whoever reads this has read enough.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
  process.exit(0);
});

try {
  await program.parseAsync();
} catch (error) {
  if (!(error instanceof KubectlError || error instanceof UntrustedModel)) throw error;
  process.stderr.write(`error: ${error.message.split('\n').map(printable).join('\n')}\n`);
  process.exitCode = 1;
}
