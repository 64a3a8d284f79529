import { readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Command } from 'commander';
import { repository } from './cluster/cache.ts';
import { buildAndLoadImage, installChart } from './cluster/install.ts';
import { print, step } from './cluster/progress.ts';
import { existingTools, localTools, type Tools } from './cluster/tools.ts';

const namespace = 'slipway-demo';

const options = new Command('demo')
  .description('Brings up a cluster, installs Slipway, serves a model and asks it for predictions.')
  .option('--context <name>', 'use a cluster that exists, by its context in the kubeconfig')
  .option('--image <reference>', "Slipway's image, which that cluster can pull or has loaded")
  .parse()
  .opts<{ context?: string; image?: string }>();

interface Prediction {
  readonly outputs: readonly { readonly name: string; readonly data: readonly number[] }[];
}

async function main(): Promise<void> {
  const start = performance.now();
  const { context, image } = options;
  if (context !== undefined && image === undefined) {
    throw new Error(
      'with --context, give the image as well: npm run image -- --tag NAME:TAG, load it into the cluster or push it, and add --image NAME:TAG',
    );
  }
  const tools = context === undefined ? await localTools() : await existingTools(context);
  await installChart(tools, image ?? (await buildAndLoadImage()));
  const manifest = join(repository, 'examples/iris.yaml');
  await step('kubectl apply -f examples/iris.yaml, until it is Ready', async () => {
    const made = await tools.kubectl(['create', 'namespace', namespace, '--dry-run=client', '-o', 'yaml']);
    await tools.kubectl(['apply', '-f', '-'], { input: made });
    await tools.kubectl(['-n', namespace, 'apply', '-f', manifest]);
    await tools.kubectl(['-n', namespace, 'wait', '--for=condition=Ready', 'mdeploy/iris', '--timeout=180s']);
  });
  await predict(tools);
  console.log(`\n${await tools.kubectl(['-n', namespace, 'get', 'mdeploy,pods'])}`);
  console.log(`Done in ${((performance.now() - start) / 1000).toFixed(0)} s. Try next:\n`);
  console.log(nextSteps(tools));
}

/** Asks the model through its Service, and compares with what scikit-learn itself has answered. */
async function predict(tools: Tools): Promise<void> {
  const answers: { inputs: object[]; outputs: { label: number[]; probabilities: number[][] } } = JSON.parse(
    readFileSync(join(repository, 'examples/models/iris/1.answers.json'), 'utf8'),
  );
  const folder = await mkdtemp(join(tmpdir(), 'slipway-demo-'));
  try {
    const request = join(folder, 'request.json');
    await writeFile(request, JSON.stringify({ inputs: answers.inputs }));
    const service = `/api/v1/namespaces/${namespace}/services/iris:http/proxy`;
    const text = await step('asking the model through its Service', () =>
      tools.kubectl(['create', '--raw', `${service}/v2/models/iris/infer`, '-f', request]),
    );
    const { outputs }: Prediction = JSON.parse(text);
    const output = (name: string) => outputs.find((candidate) => candidate.name === name)?.data ?? [];
    const [labels, probabilities] = [output('label'), output('probabilities')];
    const expected = answers.outputs.probabilities.flat();
    const worst = Math.max(...expected.map((value, index) => Math.abs(value - (probabilities[index] ?? Number.NaN))));
    if (labels.join() !== answers.outputs.label.join() || !(worst < 1e-5)) {
      throw new Error(
        `the model answered ${labels.join()}, and scikit-learn ${answers.outputs.label.join()}; probabilities differ by ${worst}`,
      );
    }
    console.log(
      `            ${labels.length} flowers: ${labels.join(' ')}; as scikit-learn answers, probabilities within ${worst.toExponential(0)}`,
    );
  } finally {
    await rm(folder, { recursive: true });
  }
}

function nextSteps({ kind, preparation }: Tools): string {
  return [
    `  ${preparation}`,
    `  kubectl -n ${namespace} describe mdeploy iris        # conditions, history, events`,
    `  kubectl -n ${namespace} port-forward service/iris 8080:80 &`,
    '  curl localhost:8080/v2/models/iris                   # what the model takes and gives',
    `  kubectl -n ${namespace} apply -f examples/iris-2.yaml # the next version, without a failed request`,
    `  kubectl -n ${namespace} rollout status deployment/iris`,
    `  kubectl -n ${namespace} rollout history deployment/iris`,
    `  kubectl -n ${namespace} apply -f examples/digits.yaml # a network that scales with its load`,
    ...(kind === 'local' ? ['  npm run cluster down                                 # take everything down'] : []),
  ].join('\n');
}

try {
  await main();
} catch (error) {
  print(`\n${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
}
