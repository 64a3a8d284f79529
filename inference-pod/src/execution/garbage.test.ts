import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { describe, expect, test } from '@jest/globals';

/** Runs a script in a process of its own, with so many zeros for its input. @returns what it and V8's collector say */
async function run(source: string, inputBytes = 0): Promise<string> {
  const flags = ['--trace-gc', '--max-semi-space-size=4', '--single-threaded-gc', '--no-warnings', '--expose-gc'];
  const child = spawn(process.execPath, [...flags, '--input-type=module', '-e', source], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const said = text(child.stdout);
  const zeros = Buffer.alloc(1_000_000);
  for (let written = 0; written < inputBytes; written += zeros.length) {
    if (!child.stdin.write(zeros)) await once(child.stdin, 'drain');
  }
  child.stdin.end();
  return said;
}

const module = (name: string) => JSON.stringify(join(import.meta.dirname, name));

/** What passes through a pod must not make V8 collect everything again and again, nor stay until it does. */
describe('garbage', () => {
  test('of large buffers is collected while it is young', async () => {
    const wholeCollections = async (perChunk: string) => {
      const said = await run(
        `import { leaveBehind } from ${module('garbage.ts')};
        process.stdin.on('data', (chunk) => { ${perChunk} });`,
        1e9,
      );
      return said.split('\n').filter((line) => line.includes('Mark-Compact')).length;
    };
    expect(await wholeCollections('')).toBeGreaterThan(4);
    expect(await wholeCollections('leaveBehind(chunk.length);')).toBeLessThan(4);
  }, 60_000);

  test('of answers that executors give is collected while it is young', async () => {
    const said = await run(`
      import { Executor } from ${module('executor.ts')};
      // An executor is started with the arguments of its parent, of which one is this script.
      process.execArgv.splice(0);
      const executor = await Executor.start({
        path: ${module('../../test/models/wide.onnx')},
        threads: 1,
        model: { name: 'wide', version: '1' },
        limits: { mostTensorBytes: 1e9, mostAnswerBytes: 1e9 },
        mostRows: 1,
      }, new AbortController().signal);
      const inputs = [{ name: 'count', datatype: 'INT64', shape: [1], data: [65_000] }];
      const call = { wire: 'open-inference', body: Buffer.from(JSON.stringify({ inputs })), headerLength: undefined };
      for (let run = 0; run < 2000; run++) await executor.run([{ call, leftMilliseconds: 30_000 }])[0];
      executor.kill();`);
    expect(said.split('\n').filter((line) => line.includes('Mark-Compact')).length).toBeLessThan(5);
  }, 60_000);

  test('of what was under way is not kept by garbage that is older', async () => {
    const promotedBytes = async (add: string, remove: string) => {
      const said = await run(`
        import { getHeapSpaceStatistics } from 'node:v8';
        import { UnderWay } from ${module('under-way.ts')};
        const oldBytes = () => getHeapSpaceStatistics().find((space) => space.space_name === 'old_space').space_used_size;
        const underWay = new UnderWay(), set = new Set(), inOrder = [];
        let before = 0;
        for (let passed = 0; passed < 120_000; passed++) {
          const request = { passed, size: new Array(100).fill(passed) };
          inOrder.push(${add});
          if (inOrder.length > 64) { const oldest = inOrder.shift(); ${remove} }
          if (passed === 20_000) { gc(); before = oldBytes(); }
        }
        console.log('promoted', oldBytes() - before);`);
      return Number(/promoted (-?\d+)/.exec(said)?.[1]);
    };
    expect(await promotedBytes('(set.add(request), request)', 'set.delete(oldest)')).toBeGreaterThan(10_000_000);
    expect(await promotedBytes('underWay.add(request)', 'underWay.remove(oldest)')).toBeLessThan(1_000_000);
  }, 60_000);

  test('of the outputs of a model is collected before a gigabyte of it', async () => {
    const residentMegabytes = async (perRun: string) => {
      const said = await run(`
        import { InferenceSession, Tensor } from 'onnxruntime-node';
        import { leaveOldBehind } from ${module('garbage.ts')};
        const session = await InferenceSession.create(${module('../../test/models/wide.onnx')});
        const count = new Tensor('int64', BigInt64Array.of(4_000_000n), [1]);
        for (let run = 0; run < 60; run++) {
          await session.run({ count });
          ${perRun}
        }
        console.log('resident', process.memoryUsage.rss());`);
      return Number(/resident (\d+)/.exec(said)?.[1]) / 1e6;
    };
    expect(await residentMegabytes('')).toBeGreaterThan(500);
    expect(await residentMegabytes('leaveOldBehind(16_000_000);')).toBeLessThan(350);
  }, 60_000);
});
