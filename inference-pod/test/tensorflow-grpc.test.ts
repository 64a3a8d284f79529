import { status } from '@grpc/grpc-js';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { type Caller, call, clientOf } from './grpc-client.ts';
import { get, outputData, post, singles } from './http.ts';
import { exampleModel, testModel } from './models.ts';
import { type RunningPod, startPod } from './running-pod.ts';

const predictions = (address: string) =>
  clientOf(address, 'tensorflow_serving.proto', 'tensorflow.serving.PredictionService');
const models = (address: string) => clientOf(address, 'tensorflow_serving.proto', 'tensorflow.serving.ModelService');

const rows = [
  [5.1, 3.5, 1.4, 0.2],
  [6.3, 3.3, 6.0, 2.5],
];
const shapeOf = (...sizes: number[]) => ({ dim: sizes.map((size) => ({ size })) });
const floats = (shape: readonly number[], ...values: number[]) => ({
  dtype: 'DT_FLOAT',
  tensor_shape: shapeOf(...shape),
  float_val: values,
});
const X = floats([2, 4], ...rows.flat());
const example = (values: readonly number[]) => ({ features: { feature: { X: { float_list: { value: values } } } } });
const spec = { name: 'iris' };

describe("TensorFlow Serving's gRPC services", () => {
  let pod: RunningPod;
  let client: Caller;
  let expected: Record<string, unknown>;
  beforeAll(async () => {
    pod = await startPod(
      '--model',
      exampleModel('iris', '1').path,
      '--model-name',
      'iris',
      '--model-version',
      'spring',
    );
    client = predictions(pod.grpcAddress);
    const input = { name: 'X', datatype: 'FP32', shape: [2, 4], data: rows };
    expected = outputData(await post(`${pod.url}/v2/models/iris/infer`, { inputs: [input] }));
  });
  afterAll(async () => {
    client.close();
    await pod.stop();
  });

  const predict = (inputs: object, more: object = {}) => call(client, 'Predict', { model_spec: spec, inputs, ...more });
  const refused = async (answer: Promise<unknown>) => {
    const error = await answer.then(
      () => undefined,
      (reason: unknown) => reason,
    );
    return error instanceof Error && 'code' in error && 'details' in error ? [error.code, error.details] : error;
  };

  test('Predict answers with values in the fields of their types, and says which model it was', async () => {
    const answer = await predict({ X });
    expect(answer.outputs.probabilities).toMatchObject({
      dtype: 'DT_FLOAT',
      tensor_shape: { dim: [{ size: '2' }, { size: '3' }] },
      float_val: singles(expected['probabilities']),
    });
    expect(answer.outputs.label).toMatchObject({
      dtype: 'DT_INT64',
      tensor_shape: { dim: [{ size: '2' }] },
      int64_val: [expected['label']].flat().map(String),
    });
    expect(answer.model_spec).toMatchObject({ name: 'iris', signature_name: 'serving_default' });
  });

  test('Predict takes tensors as bytes, fills a tensor with its last value, and filters outputs', async () => {
    const content = { ...X, float_val: [], tensor_content: Buffer.from(Float32Array.from(rows.flat()).buffer) };
    const whole = await predict({ X: content });
    expect(whole.outputs.probabilities.float_val).toEqual(singles(expected['probabilities']));
    const filled = await predict({ X: floats([1, 4], 5.1, 0.2) }, { output_filter: ['probabilities'] });
    const written = await predict({ X: floats([1, 4], 5.1, 0.2, 0.2, 0.2) });
    expect(Object.keys(filled.outputs)).toEqual(['probabilities']);
    expect(filled.outputs.probabilities).toEqual(written.outputs.probabilities);
  });

  test('a version is asked for by its number or its label', async () => {
    const { version } = (await predict({ X })).model_spec;
    for (const asked of [{ version }, { version_label: 'spring' }, { signature_name: 'serving_default' }]) {
      const answer = await predict({ X }, { model_spec: { ...spec, ...asked } });
      expect(answer.outputs.probabilities.float_val).toEqual(singles(expected['probabilities']));
    }
    for (const asked of [{ version: { value: 7 } }, { version_label: 'autumn' }]) {
      const answer = await refused(predict({ X }, { model_spec: { ...spec, ...asked } }));
      expect(answer).toEqual([status.NOT_FOUND, expect.stringContaining("of the model 'iris' here, only 'spring'")]);
    }
    const overRest = await get(`${pod.url}/v1/models/iris`);
    expect(overRest.json).toMatchObject({ model_version_status: [{ version: version.value, label: 'spring' }] });
    expect((await get(`${pod.url}/v1/models/iris/versions/${version.value}`)).status).toBe(200);
    expect((await get(`${pod.url}/v1/models/iris/labels/spring`)).status).toBe(200);
    expect((await get(`${pod.url}/v1/models/iris/labels/${version.value}`)).status).toBe(404);
  });

  test('status and metadata', async () => {
    const service = models(pod.grpcAddress);
    const found = await call(service, 'GetModelStatus', { model_spec: spec });
    service.close();
    expect(found.model_version_status).toMatchObject([{ state: 'AVAILABLE', status: {} }]);
    const metadata = await call(client, 'GetModelMetadata', { model_spec: spec, metadata_field: ['signature_def'] });
    const { type_url, value } = metadata.metadata.signature_def;
    expect(type_url).toBe('type.googleapis.com/tensorflow.serving.SignatureDefMap');
    for (const name of ['serving_default', 'X', 'probabilities', 'tensorflow/serving/predict']) {
      expect(value.toString('latin1')).toContain(name);
    }
  });

  test('Classify answers each example with its classes, also in JSON', async () => {
    const input = { example_list: { examples: rows.map(example) } };
    const { result } = await call(client, 'Classify', { model_spec: spec, input });
    const scores = [expected['probabilities']].flat().map(Number);
    const classes = (row: number) => [0, 1, 2].map((index) => [String(index), scores[3 * row + index]]);
    const found = result.classifications.map((one: { classes: { label: string; score: number }[] }) =>
      one.classes.map(({ label, score }) => [label, score]),
    );
    expect(found).toEqual(singles([classes(0), classes(1)]));
    const body = { examples: [{ X: rows[0] }, { X: rows[1], unused: 'x' }] };
    expect((await post(`${pod.url}/v1/models/iris:classify`, body)).json).toEqual({
      results: [classes(0), classes(1)],
    });
    expect((await post(`${pod.url}/v1/models/iris/labels/spring:classify`, body)).status).toBe(200);
  });

  test('what examples have in common is said once', async () => {
    const common = example(rows[1] ?? []);
    const input = { example_list_with_context: { examples: [example(rows[0] ?? []), {}], context: common } };
    const both = await call(client, 'Classify', { model_spec: spec, input });
    const plain = await call(client, 'Classify', {
      model_spec: spec,
      input: { example_list: { examples: rows.map(example) } },
    });
    expect(both).toEqual(plain);
    const body = { examples: [{ X: rows[0] }, {}], context: { X: rows[1] } };
    const overRest = await post(`${pod.url}/v1/models/iris:classify`, body);
    expect(overRest.json).toEqual(
      (await post(`${pod.url}/v1/models/iris:classify`, { examples: [{ X: rows[0] }, { X: rows[1] }] })).json,
    );
  });

  test.each<[string, string, object, number, string]>([
    ['a missing input', 'Predict', { inputs: {} }, status.INVALID_ARGUMENT, "input 'X': missing"],
    ['an unknown input', 'Predict', { inputs: { Y: X } }, status.INVALID_ARGUMENT, "input 'Y': the model has no such"],
    [
      'another type',
      'Predict',
      { inputs: { X: { ...X, dtype: 'DT_DOUBLE' } } },
      status.INVALID_ARGUMENT,
      "input 'X': dtype is DT_DOUBLE, expected DT_FLOAT",
    ],
    [
      'no values',
      'Predict',
      { inputs: { X: floats([1, 4]) } },
      status.INVALID_ARGUMENT,
      "input 'X': no values are given: DT_FLOAT has them in field 5",
    ],
    [
      'too many values',
      'Predict',
      { inputs: { X: floats([1, 4], 1, 2, 3, 4, 5) } },
      status.INVALID_ARGUMENT,
      "input 'X': shape [1, 4] has 4 elements, but more are given",
    ],
    [
      'one value for more than may be',
      'Predict',
      { inputs: { X: floats([100_000_000, 4], 1) } },
      status.RESOURCE_EXHAUSTED,
      "input 'X': takes 1600000000 bytes, more than",
    ],
    [
      'an unknown rank',
      'Predict',
      { inputs: { X: { ...X, tensor_shape: { unknown_rank: true } } } },
      status.INVALID_ARGUMENT,
      "input 'X': its shape is of unknown rank",
    ],
    [
      'a negative size',
      'Predict',
      { inputs: { X: floats([-1, 4], 1) } },
      status.INVALID_ARGUMENT,
      "input 'X': a shape must be whole numbers that are not negative",
    ],
    [
      'an unknown output',
      'Predict',
      { inputs: { X }, output_filter: ['z'] },
      status.INVALID_ARGUMENT,
      "output 'z': the model has no such output",
    ],
    [
      'another signature',
      'Predict',
      { model_spec: { ...spec, signature_name: 'other' }, inputs: { X } },
      status.INVALID_ARGUMENT,
      'signature_name is "other", and the model has only "serving_default"',
    ],
    ['another model', 'Predict', { model_spec: { name: 'other' } }, status.NOT_FOUND, "there is no model 'other'"],
    ['no examples', 'Classify', { input: {} }, status.INVALID_ARGUMENT, 'there are no examples'],
    [
      'an example without its feature',
      'Classify',
      { input: { example_list: { examples: [{}] } } },
      status.INVALID_ARGUMENT,
      "examples[0]: feature 'X': missing",
    ],
    [
      'a feature of another kind',
      'Classify',
      { input: { example_list: { examples: [{ features: { feature: { X: { int64_list: { value: [1] } } } } }] } } },
      status.INVALID_ARGUMENT,
      "examples[0]: feature 'X': has no float_list, which FP32 needs",
    ],
    [
      'too few values of a feature',
      'Classify',
      { input: { example_list: { examples: [example([1])] } } },
      status.INVALID_ARGUMENT,
      "feature 'X': 1 values in each example do not make rows of [4]",
    ],
    [
      'uneven examples',
      'Classify',
      { input: { example_list: { examples: [example([1, 2, 3, 4]), example([1])] } } },
      status.INVALID_ARGUMENT,
      "examples[1]: feature 'X': has 1 values, and earlier examples 4",
    ],
    [
      'a regression by a classifier',
      'Regress',
      { input: { example_list: { examples: [example([1, 2, 3, 4])] } } },
      status.INVALID_ARGUMENT,
      'regress needs a model with one output of floats with one value a row',
    ],
  ])('%s is refused, and it is said why', async (_name, method, request, code, message) => {
    const answer = await refused(call(client, method, { model_spec: spec, ...request }));
    expect(answer).toEqual([code, expect.stringContaining(message)]);
  });

  test.each<[string, object, string]>([
    ['no examples', {}, 'the body must have examples: a list of objects'],
    ['examples that are no list', { examples: 7 }, 'examples must be a list, not 7'],
    ['an empty list', { examples: [] }, 'there are no examples'],
    ['an example that is no object', { examples: [7] }, 'examples[0] must be an object of features, not 7'],
    ['a missing feature', { examples: [{}] }, "examples[0]: feature 'X': missing; expected 'X' FP32"],
    ['text for a number', { examples: [{ X: ['a'] }] }, `input 'X': element 0 is "a", expected a number`],
    ['nested lists', { examples: [{ X: [[1, 2, 3, 4]] }] }, "input 'X': element 0 is a list of 4, expected a number"],
    ['another signature', { signature_name: 'x', examples: [] }, 'signature_name is "x"'],
  ])('over REST, %s gets a 400 that says what was expected', async (_name, body, message) => {
    const answer = await post(`${pod.url}/v1/models/iris:classify`, body);
    expect(answer.json.error).toContain(message);
    expect(answer.status).toBe(400);
  });

  test('is counted by method', async () => {
    await predict({ X });
    const { text } = await get(`${pod.controlUrl}/metrics`);
    expect(text).toMatch(/route="\/tensorflow.serving.PredictionService\/Predict",code="200"\} \d+/);
    expect(text).toMatch(/route="\/tensorflow.serving.PredictionService\/Classify",code="400"\} \d+/);
  });
});

test('Regress answers each example with one value', async () => {
  const pod = await startPod('--model', exampleModel('diabetes', '1').path, '--model-name', 'diabetes');
  const client = predictions(pod.grpcAddress);
  try {
    const { json } = await get(`${pod.url}/v2/models/diabetes`);
    const { name, shape } = json.inputs[0];
    const values = Array.from({ length: shape[1] }, (_, index) => index / 100);
    const features = { feature: { [name]: { float_list: { value: values } } } };
    const input = { example_list: { examples: [{ features }, { features }] } };
    const { result } = await call(client, 'Regress', { model_spec: { name: 'diabetes' }, input });
    const [value] = Object.values(
      outputData(
        await post(`${pod.url}/v2/models/diabetes/infer`, {
          inputs: [{ name, datatype: 'FP32', shape: [1, shape[1]], data: values }],
        }),
      ),
    ).flat();
    expect(result.regressions).toEqual([{ value: singles(value) }, { value: singles(value) }]);
    expect((await post(`${pod.url}/v1/models/diabetes:regress`, { examples: [{ [name]: values }] })).json).toEqual({
      results: [value],
    });
    expect((await post(`${pod.url}/v1/models/diabetes:classify`, { examples: [{ [name]: values }] })).status).toBe(200);
  } finally {
    client.close();
    await pod.stop();
  }
});

describe('what a client can ask for with few bytes', () => {
  let pod: RunningPod;
  let client: Caller;
  beforeAll(async () => {
    pod = await startPod('--model', exampleModel('iris', '1').path, '--model-name', 'iris');
    client = predictions(pod.grpcAddress);
  });
  afterAll(async () => {
    client.close();
    await pod.stop();
  });

  test('an answer of many small parts does not hold up those behind it', async () => {
    const context = example(rows[0] ?? []);
    const examples = Array.from({ length: 20_000 }, () => ({}));
    const input = { example_list_with_context: { examples, context } };
    const { result } = await call(client, 'Classify', { model_spec: spec, input });
    expect(result.classifications).toHaveLength(20_000);
    const next = { model_spec: spec, input: { example_list: { examples: [context] } } };
    const { result: one } = await call(client, 'Classify', next, { deadline: Date.now() + 10_000 });
    expect(one.classifications).toHaveLength(1);
  }, 60_000);

  test('health is answered while a million examples are read', async () => {
    const context = example(rows[0] ?? []);
    const examples = Array.from({ length: 300_000 }, () => ({}));
    const message = { model_spec: spec, input: { example_list_with_context: { examples, context } } };
    let isOver = false;
    const answered = call(client, 'Classify', message)
      .catch((error: unknown) => error)
      .finally(() => {
        isOver = true;
      });
    const other = clientOf(pod.grpcAddress, 'health.proto', 'grpc.health.v1.Health');
    let checks = 0;
    while (!isOver) {
      expect((await call(other, 'Check', {}, { deadline: Date.now() + 10_000 })).status).toBe('SERVING');
      checks++;
    }
    other.close();
    await answered;
    expect(checks).toBeGreaterThan(0);
  }, 60_000);

  test('one string for many is counted as many', async () => {
    const types = await startPod('--model', testModel('types'), '--max-body-bytes', '4000000');
    const caller = predictions(types.grpcAddress);
    const text = { dtype: 'DT_STRING', tensor_shape: shapeOf(3000, 2), string_val: [Buffer.alloc(100_000, 'a')] };
    const answer = call(caller, 'Predict', { model_spec: { name: 'types' }, inputs: { BYTES: text } });
    await expect(answer).rejects.toMatchObject({
      code: status.RESOURCE_EXHAUSTED,
      details: "input 'BYTES': its last string stands for 5999 more, which take too much",
    });
    const { json } = await post(`${types.url}/v1/models/types:classify`, { examples: [{}] });
    expect(json.error).toContain('classify needs a model with one output of floats');
    caller.close();
    await types.stop();
  });
});

test('examples are answered one by one, or not at all', async () => {
  const pod = await startPod('--model', testModel('wide'));
  try {
    const ask = (count: number) => post(`${pod.url}/v1/models/wide:regress`, { examples: [{ count }] });
    expect((await ask(1)).json).toEqual({ results: [0] });
    expect(await ask(5)).toMatchObject({
      status: 400,
      json: { error: 'the model answers 1 examples with scores of shape [5]: use predict' },
    });
  } finally {
    await pod.stop();
  }
});

test('every type goes there and back, as values and as bytes', async () => {
  const pod = await startPod('--model', testModel('types'));
  const client = predictions(pod.grpcAddress);
  const tensor = (dtype: string, field: string, values: readonly unknown[], bytes: ArrayLike<number>) => ({
    asValues: { dtype, tensor_shape: shapeOf(1, 2), [field]: values },
    asBytes: { dtype, tensor_shape: shapeOf(1, 2), tensor_content: Buffer.from(Uint8Array.from(bytes)) },
    field,
    values,
  });
  const bytesOf = (array: { readonly buffer: ArrayBufferLike }) => new Uint8Array(array.buffer);
  const tensors = {
    BOOL: tensor('DT_BOOL', 'bool_val', [true, false], [1, 0]),
    UINT8: tensor('DT_UINT8', 'int_val', [0, 255], [0, 255]),
    UINT16: tensor('DT_UINT16', 'int_val', [0, 65535], bytesOf(Uint16Array.of(0, 65535))),
    UINT32: tensor('DT_UINT32', 'uint32_val', [0, 4294967295], bytesOf(Uint32Array.of(0, 4294967295))),
    UINT64: tensor(
      'DT_UINT64',
      'uint64_val',
      ['0', '18446744073709551615'],
      bytesOf(BigUint64Array.of(0n, 2n ** 64n - 1n)),
    ),
    INT8: tensor('DT_INT8', 'int_val', [-128, 127], bytesOf(Int8Array.of(-128, 127))),
    INT16: tensor('DT_INT16', 'int_val', [-32768, 32767], bytesOf(Int16Array.of(-32768, 32767))),
    INT32: tensor('DT_INT32', 'int_val', [-2147483648, 2147483647], bytesOf(Int32Array.of(-2147483648, 2147483647))),
    INT64: tensor('DT_INT64', 'int64_val', ['-9223372036854775808', '7'], bytesOf(BigInt64Array.of(-(2n ** 63n), 7n))),
    FP16: tensor('DT_HALF', 'half_val', [0x3800, 0xc000], bytesOf(Uint16Array.of(0x3800, 0xc000))),
    FP32: tensor('DT_FLOAT', 'float_val', [0.25, -1.5], bytesOf(Float32Array.of(0.25, -1.5))),
    FP64: tensor('DT_DOUBLE', 'double_val', [0.1, 5e-324], bytesOf(Float64Array.of(0.1, 5e-324))),
    BYTES: tensor('DT_STRING', 'string_val', [Buffer.from('grüß'), Buffer.from('')], [6, 0, ...Buffer.from('grüß')]),
  };
  try {
    for (const form of ['asValues', 'asBytes'] as const) {
      const inputs = Object.fromEntries(Object.entries(tensors).map(([name, forms]) => [name, forms[form]]));
      const { outputs } = await call(client, 'Predict', { model_spec: { name: 'types' }, inputs });
      for (const [name, { field, values }] of Object.entries(tensors)) {
        expect([name, outputs[`${name}_out`][field]]).toEqual([name, values]);
      }
    }
  } finally {
    client.close();
    await pod.stop();
  }
});
