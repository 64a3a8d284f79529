import { shorten } from '../protocol/json-reader.ts';
import { StartupError } from './startup-error.ts';

/** What a folder of MLflow's is named by, and how long it is at most. */
export const mlflowFileName = 'MLmodel';
export const mostBytesOfMlflowFile = 2 ** 20;

/**
 * Where the model of an MLflow folder is, as its file `MLmodel` says (MLflow's model format: `flavors.onnx.data`).
 *
 * @returns a path from that folder on, within it
 * @throws StartupError ModelInvalid
 */
export async function modelInFolder(text: string): Promise<string> {
  const flavors = member(await parsed(text), 'flavors');
  const data = member(member(flavors, 'onnx'), 'data');
  if (typeof data !== 'string') {
    const others = typeof flavors === 'object' && flavors !== null ? Object.keys(flavors).join(', ') : '';
    throw invalid(
      `it has ${others === '' ? 'no flavors' : `the flavors ${shorten(others)}`}, and no onnx: log it with mlflow.onnx`,
    );
  }
  if (data.split('/').some((step) => ['', '.', '..'].includes(step)))
    throw invalid(`its model is in ${JSON.stringify(data)}, which is no path in its folder`);
  return data;
}

async function parsed(text: string): Promise<unknown> {
  const { load, YAML11_SCHEMA } = await import('js-yaml');
  try {
    // As PyYAML writes it, which knows bytes and sets.
    return load(text, { schema: YAML11_SCHEMA });
  } catch (error) {
    throw invalid(`it is no YAML: ${error instanceof Error ? error.message : error}`, error);
  }
}

function member(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null ? Reflect.get(value, name) : undefined;
}

function invalid(problem: string, cause?: unknown): StartupError {
  return new StartupError('ModelInvalid', `the file MLmodel of the model's folder cannot be used: ${problem}`, {
    cause,
  });
}
