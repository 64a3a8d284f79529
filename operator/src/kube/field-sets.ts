import type { FieldSet, KubeObject, ManagedFieldsEntry } from './objects.ts';

/** The fields that a manager set by server-side apply on the object itself (not on a subresource). */
export function appliedFields(object: KubeObject, manager: string): FieldSet | undefined {
  return object.metadata.managedFields?.find((entry) => isApplyOf(entry, manager))?.fieldsV1;
}

export function isApplyOf(entry: ManagedFieldsEntry, manager: string): boolean {
  return entry.manager === manager && entry.operation === 'Apply' && (entry.subresource ?? '') === '';
}

/** The set at a path of field names; undefined when the set holds nothing there. */
export function fieldsAt(fields: FieldSet | undefined, path: readonly string[]): FieldSet | undefined {
  return path.reduce<FieldSet | undefined>((set, name) => set?.[`f:${name}`], fields);
}

/** The union of two sets. */
export function unite(a: FieldSet, b: FieldSet): FieldSet {
  const united: Record<string, FieldSet> = { ...a };
  for (const [path, inner] of Object.entries(b)) united[path] = unite(united[path] ?? {}, inner);
  return united;
}

/** A set without what is below a path of field names; empty parents go as well. */
export function without(fields: FieldSet, path: readonly string[]): FieldSet {
  const [name, ...rest] = path;
  const key = `f:${name}`;
  const inner = fields[key];
  if (name === undefined || inner === undefined) return fields;
  const { [key]: _, ...others } = fields;
  if (rest.length === 0) return others;
  const remaining = without(inner, rest);
  const empty = Object.keys(remaining).every((path) => path === '.');
  return empty ? others : { ...others, [key]: remaining };
}

/** A set that holds just another one, at a path of field names. */
export function nest(fields: FieldSet, path: readonly string[]): FieldSet {
  return path.reduceRight<FieldSet>((inner, name) => ({ [`f:${name}`]: inner }), fields);
}

/** The leaves of a set as dotted paths, for messages. */
export function leafPaths(fields: FieldSet, prefix = ''): string[] {
  const inner = Object.entries(fields).filter(([path]) => path !== '.');
  if (inner.length === 0) return prefix === '' ? [] : [prefix];
  return inner.flatMap(([path, set]) => {
    const name = path.startsWith('f:') ? path.slice(2) : `[${path.slice(2)}]`;
    return leafPaths(set, prefix === '' ? name : `${prefix}.${name}`);
  });
}
