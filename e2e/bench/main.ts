import { Command, InvalidArgumentError, Option } from 'commander';
import { benchAnalysis } from './analysis.ts';
import { benchHandler } from './handler.ts';
import { benchMirroring } from './mirroring.ts';
import { benchNodeCache } from './node-cache.ts';
import { benchOperator } from './operator.ts';
import { benchOverload } from './overload.ts';
import { benchPod, caseNames, peerNames } from './pod.ts';
import { benchPodLink } from './podlink.ts';
import { benchRollback } from './rollback.ts';
import { benchText } from './text.ts';

const count = (text: string) => {
  const value = Number(text);
  if (Number.isInteger(value) && value > 0) return value;
  throw new InvalidArgumentError('It must be a whole number above 0.');
};

const namesOf = (known: readonly string[]) => (text: string) => {
  const names = text.split(',');
  const unknown = names.find((name) => !known.includes(name));
  if (unknown === undefined) return names;
  throw new InvalidArgumentError(`There is no ${JSON.stringify(unknown)}; there are ${known.join(', ')}.`);
};

const program = new Command('bench').description('Measurements, each beside a baseline of the same run.');
program
  .command('operator', { isDefault: true })
  .description('many ModelDeployments at once, against a bare API server')
  .option('--models <n>', 'how many', count, 1000)
  .option('--idle-seconds <n>', 'how long nothing is done afterwards', count, 60)
  .action(benchOperator);
program
  .command('podlink')
  .description('what following many pods costs the operator, against bare requests')
  .option('--pods <n>', 'how many', count, 1000)
  .option('--seconds <n>', 'how long', count, 60)
  .action(benchPodLink);
program
  .command('pod')
  .description('requests a second of the inference pod on one core, against bare listeners and other servers')
  .option('--seconds <n>', 'how long each is measured', count, 3)
  .option('--rounds <n>', 'how often; the best is told', count, 3)
  .option('--quick', 'without the other servers')
  .addOption(
    new Option('--peers <names>', 'with these of the other servers alone, as a,b')
      .argParser(namesOf(peerNames))
      .conflicts('quick'),
  )
  .addOption(new Option('--cases <names>', 'these cases alone, as a,b').argParser(namesOf(caseNames)))
  .action(benchPod);
program
  .command('text')
  .description('sentences a second of /v1/embeddings on one core, against FastAPI with tokenizers and onnxruntime')
  .option('--seconds <n>', 'how long each is measured', count, 8)
  .option('--rounds <n>', 'how often; the best is told', count, 3)
  .action(benchText);
program
  .command('handler')
  .description('requests a second of a handler on one core, against the service in Flask that it takes the place of')
  .option('--seconds <n>', 'how long each is measured', count, 5)
  .option('--rounds <n>', 'how often; the best is told', count, 3)
  .action(benchHandler);
program
  .command('cache')
  .description('the time until a model is loaded from the cache of a node, against its store and a volume')
  .option('--megabytes <n>', 'of the model', count, 500)
  .option('--rounds <n>', 'how often; the median is told', count, 5)
  .action(benchNodeCache);
program
  .command('overload')
  .description('what becomes of requests when twice as many come as the pod can bear')
  .option('--seconds <n>', 'how long each is measured', count, 10)
  .option('--max-in-flight <n>', 'how many the pod accepts at once', count, 2)
  .action(benchOverload);
program
  .command('mirroring')
  .description('what comparing the answers of a canary costs those whose requests are answered')
  .option('--seconds <n>', 'how long each is measured', count, 5)
  .option('--rounds <n>', 'how often', count, 7)
  .action(benchMirroring);
program
  .command('analysis')
  .description('what becomes of good and of bad versions by evidence, and by the rules of Argo Rollouts and Flagger')
  .option('--rollouts <n>', 'how many of each kind', count, 200)
  .action(benchAnalysis);
program
  .command('rollback')
  .description(
    'seconds from an undo, and from a failed gate, to the last answer of the bad version, on the local cluster',
  )
  .option('--runs <n>', 'how many of each', count, 20)
  .action(benchRollback);
await program.parseAsync();
