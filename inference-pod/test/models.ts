import { readFileSync } from 'node:fs';
import { join } from 'node:path';

const examples = join(import.meta.dirname, '../../examples/models');

/** A model of examples/models, with the answers that its training script computed. */
export function exampleModel(name: string, version: string) {
  const answers: Answers = JSON.parse(readFileSync(join(examples, name, `${version}.answers.json`), 'utf8'));
  return { path: join(examples, name, `${version}.onnx`), ...answers };
}

interface Answers {
  readonly inputs: readonly WireTensor[];
  readonly outputs: Readonly<Record<string, unknown>>;
}

export interface WireTensor {
  readonly name: string;
  readonly shape: readonly number[];
  readonly datatype: string;
  readonly data: unknown;
}

/** A model of test/models, made by build.py. */
export function testModel(name: string): string {
  return join(import.meta.dirname, 'models', `${name}.onnx`);
}
