import { execFile } from 'node:child_process';
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import sharp from 'sharp';
import { pythonWith } from './clients/environment.ts';
import { get, post } from './http.ts';
import { failToStart, type RunningPod, startPod } from './running-pod.ts';

const run = promisify(execFile);
const models = join(import.meta.dirname, 'models/pictures');
let folder: string;
let python: string;
beforeAll(async () => {
  python = await pythonWith(join(import.meta.dirname, 'clients/tasks.txt'));
  folder = await mkdtemp(join(tmpdir(), 'slipway-pictures-'));
}, 240_000);
afterAll(() => rm(folder, { recursive: true }));

const labels = Object.fromEntries(Array.from({ length: 7 }, (_, at) => [at, `label ${at}`]));
const normalized = { image_mean: [0.48, 0.46, 0.41], image_std: [0.27, 0.26, 0.28] };
const exact = { size: { width: 32, height: 32 }, ...normalized };

let repositories = 0;
async function repository(model: string, processing: object, configuration: object = { id2label: labels }) {
  const path = join(folder, String(repositories++));
  await mkdir(join(path, 'onnx'), { recursive: true });
  await cp(join(models, `${model}.onnx`), join(path, 'onnx/model.onnx'));
  await writeFile(join(path, 'config.json'), JSON.stringify(configuration));
  await writeFile(join(path, 'preprocessor_config.json'), JSON.stringify(processing));
  return path;
}

const argumentsOf = (path: string, ...more: string[]) => [
  ...['--model', join(path, 'onnx/model.onnx'), '--model-name', 'pictures', '--task', 'ImageClassification', ...more],
];

test.each<[string, string, object]>([
  ['bilinear', 'first', exact],
  [
    'bicubic, cut',
    'first',
    { size: { shortest_edge: 40 }, resample: 3, crop_size: { width: 32, height: 32 }, ...normalized },
  ],
  ['Lanczos, colours last', 'last', { size: { width: 40, height: 24 }, resample: 1, do_normalize: false }],
  [
    'a share of the middle, one by one',
    'one',
    { size: { shortest_edge: 32 }, crop_pct: 0.875, resample: 3, ...normalized },
  ],
  ['nearest', 'first', { ...exact, resample: 0 }],
  ['boxes', 'first', { ...exact, resample: 4, rescale_factor: 0.003 }],
  [
    'Hamming, wider than it is',
    'first',
    { size: { shortest_edge: 20 }, resample: 5, crop_size: { width: 32, height: 32 }, ...normalized },
  ],
  [
    'as for ConvNeXT, whose number is the shortest edge',
    'first',
    { image_processor_type: 'ConvNextImageProcessor', size: 32, crop_pct: 0.875, resample: 3, ...normalized },
  ],
  [
    'as for DeiT, whose number is both edges',
    'first',
    { feature_extractor_type: 'DeiTFeatureExtractor', size: 40, crop_size: 32, resample: 3, ...normalized },
  ],
  [
    'as for EfficientNet, which divides twice',
    'first',
    { image_processor_type: 'EfficientNetImageProcessor', size: 32, include_top: true, resample: 0, ...normalized },
  ],
])(
  'pictures are answered as Python does: %s',
  async (_, model, processing) => {
    const path = await repository(model, processing);
    const pod = await startPod(...argumentsOf(path));
    try {
      const args = [pod.url, path, join(models, `${model}.onnx`)];
      const { stdout } = await run(python, [join(import.meta.dirname, 'clients/pictures.py'), ...args]);
      const found = JSON.parse(stdout);
      expect(found.wrong).toEqual([]);
      expect(found.compared).toBeGreaterThan(200);
      expect(found.worst).toBeLessThan(1e-5);
    } finally {
      await pod.stop();
    }
  },
  180_000,
);

test.each<[string, string, object]>([
  [
    'one of a longest edge, with a mask',
    'detector',
    {
      image_processor_type: 'DetrImageProcessor',
      size: { shortest_edge: 90, longest_edge: 150 },
      do_pad: true,
      ...normalized,
    },
  ],
  [
    'one whose labels are each by themselves',
    'detector-of-each',
    { image_processor_type: 'RTDetrImageProcessor', size: { width: 64, height: 48 } },
  ],
  [
    'one of an older file, which cuts nothing and enlarges small pictures beyond what is taken',
    'detector-of-each',
    { feature_extractor_type: 'DetrFeatureExtractor', size: 400, crop_size: 32, ...normalized },
  ],
])(
  'what is in pictures is found as Python does: %s',
  async (_, model, processing) => {
    const path = await repository(model, processing);
    const pod = await startPod(
      ...[
        '--model',
        join(path, 'onnx/model.onnx'),
        '--model-name',
        'pictures',
        '--task',
        'ObjectDetection',
        '--max-pixels',
        '400000',
      ],
    );
    try {
      const args = [pod.url, path, join(models, `${model}.onnx`)];
      const { stdout } = await run(python, [join(import.meta.dirname, 'clients/detections.py'), ...args]);
      const found = JSON.parse(stdout);
      expect(found.wrong).toEqual([]);
      expect(found.compared).toBeGreaterThan(200);
      expect(found.boxes).toBeGreaterThan(200);
      expect(found.worst).toBeLessThan(1e-5);
      const { content } = (await get(`${pod.url}/openapi.json`)).json.paths['/v1/detect'].post.requestBody;
      const { status, json } = await post(`${pod.url}/v1/detect`, content['application/json'].example);
      expect([status, json.data[0].width]).toEqual([200, 1]);
      for (const threshold of [-0.1, 2, 'half']) {
        const refused = await post(`${pod.url}/v1/detect`, { ...content['application/json'].example, threshold });
        expect(refused.json.error.message).toContain("'threshold' must be a number from 0 to 1, not ");
      }
    } finally {
      await pod.stop();
    }
  },
  180_000,
);

test.each([
  ['a classifier', 'first', exact, 'outputs logits [-1, BOXES, 7 or 8] and pred_boxes [-1, BOXES, 4]'],
  [
    'a processor of another',
    'detector',
    { ...exact, image_processor_type: 'YolosImageProcessor' },
    'is YolosImageProcessor, and',
  ],
  ['of two pictures', 'detector-of-two', exact, 'an input of FP32 [-1, 3, 32, 32], as preprocessor_config.json has it'],
  [
    'of padded pictures',
    'detector',
    { ...exact, do_pad: true, pad_size: { width: 64, height: 64 } },
    "its 'pad_size' is given",
  ],
  ['of pictures of any size', 'detector', { ...exact, do_resize: false }, "its 'do_resize' is false"],
])('a detector that is %s does not start', async (_, model, processing, message) => {
  const args = ['--model-name', 'pictures', '--task', 'ObjectDetection'];
  const path = await repository(model, processing);
  const { terminationMessage } = await failToStart('--model', join(path, 'onnx/model.onnx'), ...args);
  expect(terminationMessage).toMatchObject({ reason: 'ModelInvalid', message: expect.stringContaining(message) });
});

test('the documentation says it', async () => {
  const page = await readFile(join(import.meta.dirname, '../../docs/requests.md'), 'utf8');
  const scripts = Array.from(page.matchAll(/^```python\n([\s\S]*?)^```/gm), ([, script = '']) => script);
  const script = scripts.find((each) => each.includes('http://animals')) ?? '';
  const cwd = await repository('first', exact);
  await sharp({ create: { width: 90, height: 60, channels: 3, background: 'green' } })
    .jpeg()
    .toFile(join(cwd, 'cat.jpg'));
  const name = ['--model-name', 'animals', '--task', 'ImageClassification'];
  const pod = await startPod('--model', join(cwd, 'onnx/model.onnx'), ...name);
  try {
    const { stdout } = await run(python, ['-c', script.replaceAll('http://animals', pod.url)], { cwd });
    expect(stdout).toMatch(/^label \d\n2\n1\n$/);
  } finally {
    await pod.stop();
  }
  const detector = await repository('detector', { size: { shortest_edge: 90, longest_edge: 150 }, ...normalized });
  const args = ['--model', join(detector, 'onnx/model.onnx'), '--model-name', 'objects', '--task', 'ObjectDetection'];
  const finder = await startPod(...args);
  try {
    const second = scripts.find((each) => each.includes('http://objects')) ?? '';
    const { stdout } = await run(python, ['-c', second.replaceAll('http://objects', finder.url)], { cwd });
    expect(stdout).toBe('90 60 True\n');
  } finally {
    await finder.stop();
  }
});

const pixel = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==';

/** A PNG of one colour, which is small however many pixels it has. */
function blank(width: number, height: number): Promise<Buffer> {
  const background = { r: 9, g: 8, b: 7 };
  return sharp({ create: { width, height, channels: 3, background } })
    .png()
    .toBuffer();
}

describe('a pod that takes pictures', () => {
  let pod: RunningPod;
  beforeAll(async () => {
    pod = await startPod(...argumentsOf(await repository('first', exact), '--max-pixels', '1000000'));
  });
  afterAll(() => pod.stop());
  const ask = (body: object) => post(`${pod.url}/v1/classify`, { model: 'pictures', ...body });
  const send = async (body: string | Uint8Array<ArrayBuffer>, type: string) => {
    const response = await fetch(`${pod.url}/v1/classify`, { method: 'POST', headers: { 'content-type': type }, body });
    const json = (await response.json()) as { error: { message: string } };
    return { status: response.status, json };
  };

  test('answers, tells of it, and counts it', async () => {
    const { content } = (await get(`${pod.url}/openapi.json`)).json.paths['/v1/classify'].post.requestBody;
    const { status, json } = await ask(content['application/json'].example);
    expect(status).toBe(200);
    expect(json.data[0].predictions).toHaveLength(5);
    expect((await get(`${pod.controlUrl}/metrics`)).text).toContain('{route="/v1/classify"}');
  });

  test.each([
    ['nothing', {}, "'input' must be a list of pictures in Base64"],
    [
      'an address',
      { input: 'http://169.254.169.254/x.png' },
      "'input' is an address: send the picture itself, in Base64",
    ],
    ['hardly any Base64', { input: ['a'] }, "'input[0]' is no Base64"],
    ['no Base64', { input: ['?'] }, "'input[0]' is no Base64"],
    ['nothing in it', { input: [''] }, "'input[0]' is no Base64"],
    ['a text', { input: [{ text: 'a' }] }, "'input[0].image' must be a string: it is missing"],
    ['a number', { input: [7] }, "'input[0]' must be a string, not 7"],
    ['noise', { input: [pixel, 'AAAA'] }, "'input[1]' cannot be taken: it is no JPEG, PNG or WebP"],
    ['too many', { input: Array(65).fill(pixel) }, 'more entries than 64'],
    ['no results', { input: pixel, top_n: 0 }, "'top_n' must be a whole number"],
  ])('refuses %s', async (_, body, message) => {
    const { status, json } = await ask(body);
    expect(status).toBe(400);
    expect(json.error).toMatchObject({ message: expect.stringContaining(message), type: 'invalid_request_error' });
  });

  test.each([
    ['an empty body', '', 'image/png', 'the body is empty'],
    [
      'a picture that is a program',
      '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>',
      'image/svg+xml',
      'it is no JPEG',
    ],
    ['a GIF', 'GIF89a\u0001\u0000\u0001\u0000\u0000\u0000\u0000;', 'image/gif', 'it is no JPEG, PNG or WebP'],
    ['a form without a boundary', 'x', 'multipart/form-data; boundary=a', 'does not begin with its boundary'],
    [
      'a form of many parts',
      `${'--a\r\ncontent-disposition: form-data; name="b"; filename="c"\r\n\r\n\r\n'.repeat(200_000)}--a--\r\n`,
      'multipart/form-data; boundary=a',
      'the form has more parts than are taken, and at most 64 files are',
    ],
    [
      'a form whose field is a book',
      `--a\r\ncontent-disposition: form-data; name="${'b'.repeat(100_000)}"; filename="c"\r\n\r\nx\r\n--a--\r\n`,
      'multipart/form-data; boundary=a',
      "b...' cannot be taken",
    ],
    ['a form without an end', '--a\r\nx', 'multipart/form-data; boundary=a', 'no multipart/form-data that can be read'],
    [
      'a form without files',
      '--a\r\ncontent-disposition: form-data; name="b"\r\n\r\nc\r\n--a--\r\n',
      'multipart/form-data; boundary=a',
      'a file at least',
    ],
  ])('refuses %s', async (_, body, type, message) => {
    const { status, json } = await send(body, type);
    expect([status, json.error.message]).toEqual([400, expect.stringContaining(message)]);
  });

  test('refuses what is small and becomes large, and holds none of it', async () => {
    const memory = async () => {
      const { stdout } = await run('ps', ['--ppid', String(pod.process.pid), '-o', 'rss=']);
      return Math.max(...stdout.trim().split('\n').map(Number)) / 1024;
    };
    const before = await memory();
    const bomb = await send(new Uint8Array(await blank(16_000, 16_000)), 'image/png');
    expect([bomb.status, bomb.json.error.message]).toEqual([
      400,
      expect.stringContaining('the body cannot be taken: it has 16000 x 16000 pixels, and at most 1000000 are taken'),
    ]);
    for (const [width, height] of [
      [1, 65_535],
      [65_535, 1],
    ] as const)
      expect((await send(new Uint8Array(await blank(width, height)), 'image/png')).status).toBe(200);
    const line = await send(new Uint8Array(await blank(900_000, 1)), 'image/png');
    expect([line.status, line.json.error.message]).toEqual([400, expect.stringContaining('edges of at most 65535')]);
    expect((await memory()) - before).toBeLessThan(100);
  });

  test('refuses a JPEG that goes over its picture again and again, and none that goes over it ten times', async () => {
    const create = { width: 640, height: 480, channels: 3, background: 'red' } as const;
    const whole = await sharp({ create }).jpeg({ progressive: true }).toBuffer();
    expect((await send(new Uint8Array(whole), 'image/jpeg')).status).toBe(200);
    const scan = whole.subarray(whole.lastIndexOf(Buffer.of(0xff, 0xda)), -2);
    const again = Buffer.concat([whole.subarray(0, -2), ...Array(20_000).fill(scan), whole.subarray(-2)]);
    const { status, json } = await send(new Uint8Array(again), 'image/jpeg');
    expect([status, json.error.message]).toEqual([400, expect.stringContaining('a JPEG of more than 100 scans')]);
    // What stands behind the picture, as a film does that a telephone took with it, is none of it.
    const behind = Buffer.concat([whole, ...Array(20_000).fill(Buffer.of(0xff, 0xda, 0, 0))]);
    expect((await send(new Uint8Array(behind), 'image/jpeg')).status).toBe(200);
  });

  test('takes Base64 as encoders write it', async () => {
    const lines = `data:image/png;name=a.png;base64,${pixel.replaceAll(/.{30}/g, '$&\r\n')}\n`;
    expect((await ask({ input: [lines, ` ${pixel}`] })).status).toBe(200);
  });

  test.each(['jpeg', 'png', 'webp'] as const)('refuses half of a %s', async (form) => {
    const noise = { type: 'gaussian', mean: 128, sigma: 40 } as const;
    const create = { width: 64, height: 64, channels: 3, background: 'red', noise } as const;
    const whole = await sharp({ create }).toFormat(form).toBuffer();
    expect((await send(new Uint8Array(whole), `image/${form}`)).status).toBe(200);
    const { status, json } = await send(new Uint8Array(whole.subarray(0, whole.length / 2)), `image/${form}`);
    expect([status, json.error.message]).toEqual([400, expect.stringContaining('it is no JPEG, PNG or WebP that can')]);
  });

  test('goes on after pictures that break decoders', async () => {
    const whole = await sharp({ create: { width: 64, height: 64, channels: 3, background: 'blue' } })
      .jpeg()
      .toBuffer();
    for (let at = 0; at < 200; at++) {
      const broken = Buffer.from(whole);
      for (let change = 0; change < 4; change++)
        broken[(at * 37 + change * 101) % broken.length] = (at * 61 + change) % 256;
      expect([200, 400]).toContain((await send(new Uint8Array(broken), 'image/jpeg')).status);
    }
    expect((await send(new Uint8Array(whole), 'image/jpeg')).status).toBe(200);
  });
});

test.each<[string, object, object | undefined, string, string]>([
  [
    'has no size',
    { ...normalized },
    undefined,
    'ModelInvalid',
    "preprocessor_config.json cannot be used: its 'size' is no size",
  ],
  ['has no mean', { size: 32 }, undefined, 'ModelInvalid', "its 'image_mean' has no number for each of three colours"],
  [
    'has a deviation of nothing',
    { ...exact, image_std: [0, 1, 1] },
    undefined,
    'ModelInvalid',
    "its 'rescale_factor', 'image_mean' and 'image_std' make numbers without end",
  ],
  [
    'swaps colours',
    { ...exact, do_flip_channel_order: true },
    undefined,
    'ModelInvalid',
    "its 'do_flip_channel_order' is true",
  ],
  [
    'is prepared in a way of its own',
    { ...exact, image_processor_type: 'LevitImageProcessor' },
    undefined,
    'ModelInvalid',
    "its 'image_processor_type' is LevitImageProcessor, and what is done here is that of ViT,",
  ],
  ['has a share above one', { size: 32, crop_pct: 1.5, ...normalized }, undefined, 'ModelInvalid', "its 'crop_pct' is"],
  ['has a filter that is none', { ...exact, resample: 9 }, undefined, 'ModelInvalid', "its 'resample' is none"],
  ['has another size than the model', { ...exact, size: 64 }, undefined, 'ModelInvalid', 'pictures are made 64 x 64'],
  [
    'has no size of both edges',
    { size: { shortest_edge: 32 }, ...normalized },
    undefined,
    'ModelInvalid',
    'it makes pictures of different sizes',
  ],
  ['has no labels', exact, {}, 'ModelInvalid', "config.json cannot be used: it has no 'id2label'"],
  ['has other labels', exact, { id2label: { 0: 'a', 1: 'b' } }, 'ModelInvalid', 'an output of floats [-1, 2]'],
])('a model that %s does not start', async (_, processing, configuration, reason, message) => {
  const path = await repository('first', processing, configuration);
  expect((await failToStart(...argumentsOf(path))).terminationMessage).toMatchObject({
    reason,
    message: expect.stringContaining(message),
  });
});
