import type { ModelSignature } from '../../../contract/src/link.ts';
import { defaults, environment } from '../../../contract/src/settings.ts';
import type { PodTemplate } from '../desired/children.ts';
import { textOfEnvironment } from '../desired/environment-value.ts';

/** What is said of a column of rows. */
interface Column {
  readonly name: string;
  readonly categories?: readonly string[];
}

/**
 * Why requests in the form of the task of a template could fail or be answered otherwise by pods of another: one sentence for each
 * breach. A task where there was none breaks nothing.
 *
 * @param inputs of the serving model
 */
export function taskBreaches(
  serving: PodTemplate,
  candidate: PodTemplate,
  { inputs }: Pick<ModelSignature, 'inputs'>,
): string[] {
  const [old, now] = [settingOf(serving, environment.task), settingOf(candidate, environment.task)];
  const handler = handlerBreaches(serving, candidate);
  if (old === undefined) return handler;
  if (now === undefined) return [`the task ${old} is gone`, ...handler];
  if (now !== old) return [`the task is ${now} instead of ${old}`, ...handler];
  const [oldColumns, columns] = [columnsOf(serving), columnsOf(candidate)];
  return [
    ...handler,
    ...(isMatrix(inputs) ? matrixBreaches(oldColumns, columns) : inputBreaches(oldColumns, columns)),
    ...changedSetting(serving, candidate, environment.taskScoring, now === 'Rerank' ? 'Sigmoid' : undefined),
    ...changedSetting(serving, candidate, environment.taskNormalization, 'Enabled'),
    ...changedSetting(serving, candidate, environment.taskAggregation, 'Simple'),
    ...pixelBreaches(serving, candidate),
    ...(now === 'TokenClassification' ? tokenBreaches(serving, candidate) : []),
  ];
}

/** What a handler takes and gives is up to whoever wrote it. */
function handlerBreaches(serving: PodTemplate, candidate: PodTemplate): string[] {
  const [old, now] = [settingOf(serving, environment.handler), settingOf(candidate, environment.handler)];
  return old === 'Enabled' && now !== 'Enabled' ? ['the handler is gone'] : [];
}

function settingOf({ spec }: PodTemplate, name: string): string | undefined {
  const [container] = spec?.containers ?? [];
  const value = container?.env?.find((one) => one.name === name)?.value;
  return value === undefined ? undefined : textOfEnvironment(value);
}

/** As the operator has written them; somebody may have changed the record since. */
function columnsOf(template: PodTemplate): readonly Column[] {
  const text = settingOf(template, environment.taskColumns);
  if (text === undefined) return [];
  try {
    return JSON.parse(text);
  } catch {
    return [];
  }
}

/** Whether a model takes all columns side by side in one input: where each has an input, its signature says which there are. */
function isMatrix([only, ...others]: ModelSignature['inputs']): boolean {
  return only !== undefined && others.length === 0 && only.shape.length === 2 && only.shape[1] !== 1;
}

function matrixBreaches(old: readonly Column[], now: readonly Column[]): string[] {
  if (old.length === 0) return now.flatMap((column) => categoryBreaches({ name: column.name }, column));
  if (now.length === 0) return ['the columns have no names any more'];
  const fresh = now.filter(({ name }) => !old.some((column) => column.name === name));
  const known = now.filter((column) => !fresh.includes(column));
  const isReordered = known.map(({ name }) => name).join() !== sharedNames(old, known).join();
  return [
    ...fresh.map(({ name }) => `the column '${name}' is new, and required`),
    ...known.flatMap((column) => categoryBreaches(named(old, column.name), column)),
    ...(isReordered ? ['the columns stand in another order, by which rows without names are read'] : []),
  ];
}

/** A column of which nothing is said has an input of numbers. */
function inputBreaches(old: readonly Column[], now: readonly Column[]): string[] {
  const names = new Set([...old, ...now].map(({ name }) => name));
  return Array.from(names).flatMap((name) => categoryBreaches(named(old, name), named(now, name)));
}

function named(columns: readonly Column[], name: string): Column {
  return columns.find((column) => column.name === name) ?? { name };
}

function sharedNames(old: readonly Column[], known: readonly Column[]): readonly string[] {
  return old.map(({ name }) => name).filter((name) => known.some((column) => column.name === name));
}

function categoryBreaches({ categories: before }: Column, { name, categories }: Column): string[] {
  if (before === undefined)
    return categories === undefined ? [] : [`the column '${name}' takes words instead of numbers`];
  if (categories === undefined) return [`the column '${name}' takes numbers instead of words`];
  const gone = before.filter((word) => !categories.includes(word));
  return gone.length === 0
    ? []
    : [`the column '${name}' takes no ${gone.map((word) => `'${word}'`).join(', ')} any more`];
}

/** Settings that make other answers of what a model gives. */
const changingSettings = {
  [environment.taskScoring]: 'scoring',
  [environment.taskNormalization]: 'normalization',
  [environment.taskAggregation]: 'aggregation',
} as const;

/** @param usual when nothing is said; undefined where that depends on the model's files, and is not known */
function changedSetting(
  serving: PodTemplate,
  candidate: PodTemplate,
  name: keyof typeof changingSettings,
  usual: string | undefined,
): string[] {
  const [old, now] = [settingOf(serving, name) ?? usual, settingOf(candidate, name) ?? usual];
  const what = changingSettings[name];
  return old === undefined || now === undefined || old === now ? [] : [`the ${what} is ${now} instead of ${old}`];
}

/** Longer texts are refused, and not cut as with other tasks; where nothing is said, the tokenizer decides. */
function tokenBreaches(serving: PodTemplate, candidate: PodTemplate): string[] {
  const [old, now] = [settingOf(serving, environment.taskMaxTokens), settingOf(candidate, environment.taskMaxTokens)];
  return old !== undefined && now !== undefined && Number(now) < Number(old)
    ? [`texts of more than ${now} tokens are refused, and ${old} were taken`]
    : [];
}

function pixelBreaches(serving: PodTemplate, candidate: PodTemplate): string[] {
  const pixelsOf = (template: PodTemplate) =>
    Number(settingOf(template, environment.taskMaxPixels) ?? defaults.maxPixels);
  const [old, now] = [pixelsOf(serving), pixelsOf(candidate)];
  return now < old ? [`pictures of more than ${now} pixels are refused, and ${old} were taken`] : [];
}
