import { jsonContent } from './openapi-content.ts';

/** Where requests are sent that a handler of the model reads. */
export const handlerPath = '/predict';

/** What is taken and given is up to whoever wrote the handler. */
export const handlerOperation = {
  operationId: 'predict',
  summary: "What the model's own handler takes, and gives",
  requestBody: { required: true, content: { '*/*': {} } },
  responses: {
    200: { description: 'An answer of the handler', content: { '*/*': {} } },
    default: { description: 'What is wrong', ...jsonContent({ $ref: '#/components/schemas/Error' }) },
  },
};
