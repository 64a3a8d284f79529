import { expect, test } from '@jest/globals';
import { createInquiries, type Question } from './inquiries.ts';

interface Asked {
  readonly question: Question;
  readonly answer: (value: string) => void;
  readonly fail: () => void;
}

function setUp({ lasts = 1000, concurrency = 2 } = {}) {
  const asked: Asked[] = [];
  const waked: [string, number][] = [];
  const errors: unknown[] = [];
  let time = 0;
  const inquiries = createInquiries<Question, string>({
    ask: (question) =>
      new Promise((resolve, reject) => {
        asked.push({ question, answer: resolve, fail: () => reject(new Error('unreachable')) });
      }),
    lasts: () => lasts,
    wake: (key, after) => waked.push([key, after]),
    onError: (_, error) => errors.push(error),
    now: () => time,
    concurrency,
  });
  const answered = () => new Promise((resolve) => setImmediate(resolve));
  return { inquiries, asked, waked, errors, answered, pass: (milliseconds: number) => (time += milliseconds) };
}

const question = (id: string, version = '0'): Question => ({ id, version, key: `n/${id}` });

test('a question is asked beside the pass, once, and wakes the key when the answer is news', async () => {
  const { inquiries, asked, waked, answered, pass } = setUp();
  expect([inquiries.get(question('a')), inquiries.get(question('a'))]).toEqual([undefined, undefined]);
  expect(asked).toHaveLength(1);
  asked[0]?.answer('yes');
  await answered();
  expect(inquiries.get(question('a'))).toBe('yes');
  expect(waked).toEqual([['n/a', 0]]);
  pass(1000);
  expect(inquiries.get(question('a'))).toBe('yes');
  asked[1]?.answer('yes');
  await answered();
  expect(waked).toHaveLength(1);
});

test('one that failed is asked again, ever more rarely, for as long as somebody wants to know', async () => {
  const { inquiries, asked, waked, errors, answered, pass } = setUp();
  for (const delay of [2000, 4000, 8000]) {
    inquiries.get(question('a'));
    asked.at(-1)?.fail();
    await answered();
    expect(waked.at(-1)).toEqual(['n/a', delay]);
    pass(delay - 1);
    inquiries.get(question('a'));
    expect(asked).toHaveLength(errors.length);
    pass(1);
  }
  inquiries.forget('a');
  pass(1_000_000);
  expect(asked).toHaveLength(3);
});

test('no more are asked at the same time than are allowed, and none that was forgotten', async () => {
  const { inquiries, asked, answered } = setUp();
  for (const id of ['a', 'b', 'c', 'd']) inquiries.get(question(id));
  expect(asked.map((one) => one.question.id)).toEqual(['a', 'b']);
  inquiries.forget('c');
  asked[0]?.answer('');
  await answered();
  expect(asked.map((one) => one.question.id)).toEqual(['a', 'b', 'd']);
});

test('an answer to an older version of the question is void', async () => {
  const { inquiries, asked, waked, answered } = setUp({ lasts: Number.POSITIVE_INFINITY });
  inquiries.get(question('a', '1'));
  expect(inquiries.get(question('a', '2'))).toBeUndefined();
  asked[0]?.answer('of 1');
  await answered();
  expect(waked).toEqual([['n/a', 0]]);
  expect(inquiries.get(question('a', '2'))).toBeUndefined();
  asked[1]?.answer('of 2');
  await answered();
  expect(inquiries.get(question('a', '2'))).toBe('of 2');
});
