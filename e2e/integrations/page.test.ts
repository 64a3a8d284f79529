import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { type Browser, chromium } from 'playwright-core';
import { exampleModel } from '../../inference-pod/test/models.ts';
import { type RunningPod, startPod } from '../../inference-pod/test/running-pod.ts';
import { ensureDebianPackages } from '../cluster/debian.ts';

let pod: RunningPod;
let browser: Browser;
let directory: string;
beforeAll(async () => {
  await ensureDebianPackages({ chromium: 'chromium' });
  directory = await mkdtemp(join(tmpdir(), 'slipway-test-'));
  pod = await startPod('--model', exampleModel('iris', '1').path, '--model-name', 'iris');
  browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: ['--no-sandbox'] });
}, 300_000);
afterAll(async () => {
  await browser.close();
  await pod.stop();
  await rm(directory, { recursive: true });
});

test('a person sees the signature, sends the example, and sees the answer; nothing else is asked for', async () => {
  const page = await browser.newPage();
  const asked = new Set<string>();
  const complaints: string[] = [];
  page.on('request', (request) => asked.add(new URL(request.url()).origin));
  page.on('console', (message) => complaints.push(message.text()));
  page.on('pageerror', (error) => complaints.push(error.message));
  await page.goto(pod.url);
  await page.getByText('ready').waitFor();
  expect(await page.locator('#signature tr').allInnerTexts()).toEqual([
    'input\tX\tFP32\t[-1, 4]',
    'output\tlabel\tINT64\t[-1]',
    'output\tprobabilities\tFP32\t[-1, 3]',
  ]);
  await page.getByRole('button', { name: 'Send' }).click();
  await page.getByText(/^200 in [\d.]+ ms$/).waitFor();
  expect(await page.locator('#answer').textContent()).toContain('"probabilities"');
  expect(await page.locator('#statistics').textContent()).toContain('has answered 1 inferences');
  await page.screenshot({ path: process.env['SLIPWAY_SCREENSHOT'] ?? join(directory, 'page.png'), fullPage: true });

  await page.getByLabel('Request').fill('{');
  await page.getByRole('button', { name: 'Send' }).click();
  await page.getByText(/^400 in [\d.]+ ms$/).waitFor();
  expect(await page.locator('#answer').textContent()).toContain('the body is not JSON');
  expect(await page.locator('#requests tr').count()).toBe(2);
  expect([...asked]).toEqual([pod.url]);
  // The browser itself tells of an answer of 400, and of nothing else.
  expect(complaints.filter((text) => !text.includes('status of 400'))).toEqual([]);
});
