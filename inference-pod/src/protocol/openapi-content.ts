/** The body of a request or of an answer in JSON, as OpenAPI has it. */
export function jsonContent(schema: object, example?: object): { readonly content: object } {
  return { content: { 'application/json': { schema, ...(example === undefined ? {} : { example }) } } };
}
