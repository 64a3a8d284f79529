import { cp, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

const texts = join(import.meta.dirname, 'models/texts');

/** A model of test/models/texts/onnx. */
export function textModel(name: string): string {
  return join(texts, 'onnx', `${name}.onnx`);
}

/** A folder as the hub has it: the tokenizer, and the configuration if there is one, above the folder of the model. */
export async function textRepository(
  path: string,
  { tokenizer, model, configuration }: { tokenizer: string; model: string; configuration?: object },
): Promise<void> {
  await mkdir(join(path, 'onnx'), { recursive: true });
  await cp(textModel(model), join(path, 'onnx/model.onnx'));
  await cp(join(texts, tokenizer, 'tokenizer.json'), join(path, 'tokenizer.json'));
  if (configuration !== undefined) await writeFile(join(path, 'config.json'), JSON.stringify(configuration));
}
