import { environment } from '../../../contract/src/settings.ts';
import type { PodTemplate } from '../desired/children.ts';

/** What is said of a column of rows. */
interface Column {
  readonly name: string;
  readonly categories?: readonly string[];
}

/**
 * Why requests in the form of the task of a template could fail or be answered otherwise by pods of another: one sentence for each
 * breach. A task where there was none breaks nothing.
 */
export function taskBreaches(serving: PodTemplate, candidate: PodTemplate): string[] {
  const [old, now] = [settingOf(serving, environment.task), settingOf(candidate, environment.task)];
  if (old === undefined) return [];
  if (now === undefined) return [`the task ${old} is gone`];
  if (now !== old) return [`the task is ${now} instead of ${old}`];
  return columnBreaches(columnsOf(serving), columnsOf(candidate));
}

function settingOf({ spec }: PodTemplate, name: string): string | undefined {
  const [container] = spec?.containers ?? [];
  return container?.env?.find((one) => one.name === name)?.value;
}

/** As the operator has written them; those of an input for each are known by the model's signature. */
function columnsOf(template: PodTemplate): readonly Column[] {
  const text = settingOf(template, environment.taskColumns);
  return text === undefined ? [] : JSON.parse(text);
}

function columnBreaches(old: readonly Column[], now: readonly Column[]): string[] {
  if (old.length === 0) return [];
  if (now.length === 0) return ['the columns have no names any more'];
  const fresh = now.filter(({ name }) => !old.some((column) => column.name === name));
  const known = now.filter((column) => !fresh.includes(column));
  const isReordered = known.map(({ name }) => name).join() !== sharedNames(old, known).join();
  return [
    ...fresh.map(({ name }) => `the column '${name}' is new, and required`),
    ...known.flatMap((column) =>
      categoryBreaches(
        old.find(({ name }) => name === column.name),
        column,
      ),
    ),
    ...(isReordered ? ['the columns stand in another order, by which rows without names are read'] : []),
  ];
}

function sharedNames(old: readonly Column[], known: readonly Column[]): readonly string[] {
  return old.map(({ name }) => name).filter((name) => known.some((column) => column.name === name));
}

function categoryBreaches(old: Column | undefined, { name, categories }: Column): string[] {
  const before = old?.categories;
  if (before === undefined)
    return categories === undefined ? [] : [`the column '${name}' takes words instead of numbers`];
  if (categories === undefined) return [`the column '${name}' takes numbers instead of words`];
  const gone = before.filter((word) => !categories.includes(word));
  return gone.length === 0
    ? []
    : [`the column '${name}' takes no ${gone.map((word) => `'${word}'`).join(', ')} any more`];
}
