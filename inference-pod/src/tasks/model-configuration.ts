import { UnusableModel } from './model-outputs.ts';
import { configurationName, type Scoring } from './task.ts';

/** A file is none of a model's configuration, or lacks what the task needs. */
export class InvalidConfiguration extends UnusableModel {
  override readonly name = 'InvalidConfiguration';

  /** @param problem of the file */
  constructor(file: string, problem: string, options?: ErrorOptions) {
    super(`${file} cannot be used: ${problem}`, options);
  }
}

/** What a `config.json` of the hub says of what a model gives. */
export interface ModelConfiguration {
  readonly labels: readonly string[];
  /** What the model was trained for, as the pipelines of `transformers` take it. */
  readonly scoring: Scoring;
}

/**
 * @param text of the file
 * @throws InvalidConfiguration
 */
export function configurationIn(text: string): ModelConfiguration {
  const configuration = objectIn(configurationName, text);
  const names: unknown = Reflect.get(configuration, 'id2label');
  if (typeof names !== 'object' || names === null)
    throw new InvalidConfiguration(configurationName, "it has no 'id2label'");
  const entries = Object.entries(names);
  const labels = entries.map(([, label]) => label);
  // Whole numbers stand in their order.
  const isWhole = labels.length > 0 && entries.every(([key, label], at) => key === String(at) && isText(label));
  if (!isWhole)
    throw new InvalidConfiguration(
      configurationName,
      "its 'id2label' does not give a name to each of '0', '1' and so on",
    );
  return { labels, scoring: scoringOf(Reflect.get(configuration, 'problem_type'), labels.length) };
}

/** @throws InvalidConfiguration */
export function objectIn(file: string, text: string): object {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new InvalidConfiguration(file, 'it is no JSON', { cause: error });
  }
  if (typeof value !== 'object' || value === null) throw new InvalidConfiguration(file, 'it is no JSON object');
  return value;
}

function isText(value: unknown): boolean {
  return typeof value === 'string' && value !== '';
}

function scoringOf(problem: unknown, labels: number): Scoring {
  if (problem === 'regression') return 'Logits';
  return problem === 'multi_label_classification' || labels === 1 ? 'Sigmoid' : 'Softmax';
}
