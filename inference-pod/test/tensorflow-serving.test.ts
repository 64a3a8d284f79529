import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { get, outputData, post } from './http.ts';
import { exampleModel, testModel } from './models.ts';
import { type RunningPod, startPod } from './running-pod.ts';

const iris = exampleModel('iris', '1');
const rows = [
  [5.1, 3.5, 1.4, 0.2],
  [6.3, 3.3, 6.0, 2.5],
];

describe("TensorFlow Serving's REST API", () => {
  let pod: RunningPod;
  let model: string;
  let expected: Record<string, unknown>;
  beforeAll(async () => {
    pod = await startPod('--model', iris.path, '--model-name', 'iris', '--model-version', '3');
    model = `${pod.url}/v1/models/iris`;
    const input = { name: 'X', datatype: 'FP32', shape: [2, 4], data: rows };
    expected = outputData(await post(`${pod.url}/v2/models/iris/infer`, { inputs: [input] }));
  });
  afterAll(() => pod.stop());

  const label = () => [expected['label']].flat().map(Number);
  const probabilities = () => {
    const flat = [expected['probabilities']].flat().map(Number);
    return [flat.slice(0, 3), flat.slice(3)];
  };

  test('status and metadata, also of the version and of its label', async () => {
    for (const path of [model, `${model}/versions/3`, `${model}/labels/3`]) {
      expect((await get(path)).json).toEqual({
        name: 'iris',
        ready: true,
        model_version_status: [{ version: '3', state: 'AVAILABLE', status: { error_code: 'OK', error_message: '' } }],
      });
    }
    expect((await get(`${model}/metadata`)).json).toMatchObject({
      model_spec: { name: 'iris', version: '3' },
      metadata: {
        signature_def: {
          signature_def: {
            serving_default: {
              inputs: { X: { dtype: 'DT_FLOAT', tensor_shape: { dim: [{ size: '-1' }, { size: '4' }] } } },
              outputs: { label: { dtype: 'DT_INT64' }, probabilities: { dtype: 'DT_FLOAT' } },
              method_name: 'tensorflow/serving/predict',
            },
          },
        },
      },
    });
  });

  test.each([
    ['bare', rows],
    ['named', rows.map((X) => ({ X }))],
  ])('rows are answered one by one, %s', async (_name, instances) => {
    const predictions = label().map((each, row) => ({ label: each, probabilities: probabilities()[row] }));
    for (const path of [model, `${model}/versions/3`, `${model}/labels/3`]) {
      expect(await post(`${path}:predict`, { signature_name: 'serving_default', instances })).toMatchObject({
        status: 200,
        json: { predictions },
      });
    }
  });

  test.each([
    ['bare', rows],
    ['named', { X: rows }],
  ])('columns are answered as columns, %s', async (_name, inputs) => {
    expect((await post(`${model}:predict`, { inputs })).json).toEqual({
      outputs: { label: label(), probabilities: probabilities() },
    });
  });

  test.each<[string, unknown, string]>([
    ['neither form', {}, 'the body must have instances (row format) or inputs (column format)'],
    ['both forms', { instances: rows, inputs: rows }, 'either instances or inputs, once'],
    ['no rows', { instances: [] }, 'instances is empty'],
    ['rows that are no list', { instances: 7 }, 'instances must be a list, not 7'],
    ['a row of another shape', { instances: [rows[0], [1]] }, 'a list at depth 2 has 1 elements, not 4'],
    ['a wrong rank', { instances: [[rows[0]]] }, "input 'X': shape [1, 1, 4] has rank 3, expected rank 2"],
    ['a wrong name', { instances: [{ Y: rows[0] }] }, "input 'Y': the model has no such input"],
    ['a missing name', { instances: [{ X: rows[0] }, {}] }, "instances[1]: input 'X': missing"],
    ['a wrong signature', { signature_name: 'x', instances: rows }, 'signature_name is "x", and the model has only'],
    ['text for a number', { instances: [['a', 1, 2, 3]] }, `input 'X': element 0 is "a", expected a number`],
    [
      'uneven lists',
      { inputs: [new Array(4).fill(1), ...new Array(1000).fill([])] },
      'its lists do not all have the shape of the first, which is [1001, 4]',
    ],
    ['no JSON', '{', 'the body is not JSON'],
  ])('%s gets a 400 that says what was expected', async (_name, body, message) => {
    const answer = await post(`${model}:predict`, body);
    expect(answer.json.error).toContain(message);
    expect(answer.status).toBe(400);
  });

  test('another model or version gets a 404', async () => {
    expect((await post(`${pod.url}/v1/models/other:predict`, { instances: rows })).status).toBe(404);
    expect((await post(`${model}/versions/4:predict`, { instances: rows })).status).toBe(404);
    expect((await get(`${model}/versions/4`)).status).toBe(404);
  });

  test('is counted by route', async () => {
    await post(`${model}/labels/3:predict`, { instances: rows });
    const { text } = await get(`${pod.controlUrl}/metrics`);
    expect(text).toMatch(/route="\/v1\/models\/:name:predict",code="200"\} \d+/);
    expect(text).toMatch(/route="\/v1\/models\/:name\/versions\/:version:predict",code="200"\} \d+/);
  });
});

test('several inputs, of all types, strings in base64 and scalars', async () => {
  const pod = await startPod('--model', testModel('types'));
  try {
    const row = {
      BOOL: [true, false],
      UINT8: [0, 255],
      UINT16: [0, 65535],
      UINT32: [0, 4294967295],
      UINT64: [0, 1],
      INT8: [-128, 127],
      INT16: [-32768, 32767],
      INT32: [-2147483648, 2147483647],
      INT64: [-1, 1],
      FP16: [0.5, -2],
      FP32: [0.25, -1.5],
      FP64: [0.1, 5e-324],
      BYTES: ['a', 'b'],
    };
    const based = { ...row, BYTES: [{ b64: Buffer.from('grüß').toString('base64') }, 'b'] };
    const url = `${pod.url}/v1/models/types:predict`;
    const answer = await post(url, { instances: [row, based] });
    const out = (values: object) =>
      Object.fromEntries(Object.entries(values).map(([name, value]) => [`${name}_out`, value]));
    expect(answer.json).toEqual({ predictions: [out(row), out({ ...row, BYTES: ['grüß', 'b'] })] });
    const columns = Object.fromEntries(Object.entries(row).map(([name, value]) => [name, [value]]));
    expect((await post(url, { inputs: columns })).json).toEqual({ outputs: out(columns) });
    expect(await post(url, { instances: [{ ...row, BYTES: [{ b64: '!' }, 'b'] }] })).toMatchObject({
      status: 400,
      json: { error: "input 'BYTES': element 0 is not base64" },
    });
    expect(await post(url, { instances: [row.BOOL] })).toMatchObject({
      status: 400,
      json: { error: expect.stringContaining('the model has several inputs, which have to be named') },
    });
  } finally {
    await pod.stop();
  }
});
