import type { FieldSet } from '../kube/objects.ts';
import { parseQuantity } from './quantity.ts';

/**
 * The first field in which a live object differs from the desired one, as a dotted path; undefined if none does.
 *
 * Only what is desired is compared: a field that nobody asked for is a default of the API server, and a cluster upgrade
 * that adds one must not look like drift. What was applied once and is not wanted any more counts as a difference.
 *
 * @param applied the fields that our manager owns on the live object
 */
export function findDifference(desired: object, live: object, applied: FieldSet | undefined): string | undefined {
  return findChanged(desired, live, '') ?? findAbandoned(applied ?? {}, desired, '');
}

function findChanged(desired: unknown, live: unknown, path: string): string | undefined {
  if (Array.isArray(desired)) return findChangedItem(desired, live, path);
  if (isObject(desired)) return findChangedField(desired, live, path);
  return isSameValue(desired, live) ? undefined : path;
}

function findChangedItem(desired: readonly unknown[], live: unknown, path: string): string | undefined {
  // The API server leaves out lists that hold nothing.
  if (live === undefined && desired.length === 0) return undefined;
  if (!Array.isArray(live) || live.length !== desired.length) return path;
  return firstDefined(desired, (item, index) => findChanged(item, live[index], `${path}[${index}]`));
}

function findChangedField(desired: Readonly<Record<string, unknown>>, live: unknown, path: string): string | undefined {
  // The API server leaves out objects that hold nothing.
  if (!isObject(live)) return Object.keys(desired).length === 0 && live === undefined ? undefined : path;
  return firstDefined(Object.entries(desired), ([name, value]) => findChanged(value, live[name], join(path, name)));
}

function firstDefined<T>(
  items: readonly T[],
  find: (item: T, index: number) => string | undefined,
): string | undefined {
  for (const [index, item] of items.entries()) {
    const found = find(item, index);
    if (found !== undefined) return found;
  }
  return undefined;
}

function isSameValue(desired: unknown, live: unknown): boolean {
  if (desired === live) return true;
  // An empty string is left out as well.
  if (desired === '' && live === undefined) return true;
  if (!isScalar(desired) || !isScalar(live)) return false;
  const quantity = parseQuantity(desired);
  return quantity !== undefined && quantity === parseQuantity(live);
}

/** Finds a field that we own and that is not desired; applying removes it. */
function findAbandoned(applied: FieldSet, desired: unknown, path: string): string | undefined {
  for (const [step, inner] of Object.entries(applied)) {
    if (step === '.') continue;
    const value = valueAt(desired, step);
    const where = step.startsWith('f:') ? join(path, step.slice(2)) : `${path}[${step.slice(2)}]`;
    if (value === undefined) return where;
    const abandoned = step.startsWith('v:') ? undefined : findAbandoned(inner, value, where);
    if (abandoned !== undefined) return abandoned;
  }
  return undefined;
}

function valueAt(value: unknown, step: string): unknown {
  if (step.startsWith('f:')) return isObject(value) ? value[step.slice(2)] : undefined;
  if (!Array.isArray(value)) return undefined;
  if (step.startsWith('i:')) return value[Number(step.slice(2))];
  const wanted: unknown = JSON.parse(step.slice(2));
  if (!isObject(wanted)) return value.find((item) => item === wanted);
  return value.find((item) => isObject(item) && Object.entries(wanted).every(([key, part]) => item[key] === part));
}

function join(path: string, name: string): string {
  return path === '' ? name : `${path}.${name}`;
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isScalar(value: unknown): value is string | number {
  return typeof value === 'string' || typeof value === 'number';
}
