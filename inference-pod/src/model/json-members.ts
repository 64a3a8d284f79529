/** What a text means as JSON; undefined for what is none. Nothing of it is taken for granted: a store has sent it. */
export function parsedJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** The members of an object by their names, its own alone; none of what is no object. */
export function membersOf(value: unknown): ReadonlyMap<string, unknown> {
  return new Map(typeof value === 'object' && value !== null ? Object.entries(value) : []);
}

/** A member that is a text. */
export function textOf(value: unknown, name: string): string | undefined {
  const member = membersOf(value).get(name);
  return typeof member === 'string' ? member : undefined;
}
