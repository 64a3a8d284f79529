import type { Column } from '../protocol/tables.ts';

/**
 * What is said of the columns of a model: their names with commas between, or a list in JSON of objects with a `name` and perhaps
 * `categories`.
 *
 * @throws Error that says what is wrong
 */
export function readColumns(text: string): readonly Column[] {
  const columns = text.trimStart().startsWith('[')
    ? columnsInJson(text)
    : text.split(',').map((name) => ({ name: name.trim() }));
  const names = columns.map(({ name }) => name);
  if (names.includes('')) throw new Error('a column has no name');
  const twice = names.find((name, at) => names.indexOf(name) !== at);
  if (twice !== undefined) throw new Error(`the column '${twice}' is named twice`);
  return columns;
}

function columnsInJson(text: string): readonly Column[] {
  const list: unknown = JSON.parse(text);
  if (!Array.isArray(list)) throw new Error('it is no list of columns');
  return list.map((each: unknown) => {
    const { name, categories } = fieldsOf(each);
    if (typeof name !== 'string') throw new Error('a column has no name');
    if (categories === undefined) return { name };
    if (!isListOfStrings(categories) || new Set(categories).size < categories.length)
      throw new Error(`the categories of the column '${name}' are no list of different words`);
    return { name, categories };
  });
}

function fieldsOf(value: unknown): { readonly name?: unknown; readonly categories?: unknown } {
  return typeof value === 'object' && value !== null ? value : {};
}

function isListOfStrings(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every((each) => typeof each === 'string');
}
