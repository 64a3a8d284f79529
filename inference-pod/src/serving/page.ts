import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { RequestHandler } from 'express';
import type { ModelIdentity } from '../protocol/open-inference.ts';
import { type HttpAnswer, send } from './answer.ts';
import type { Transfers } from './transfers.ts';

const folder = join(import.meta.dirname, '../../page');

/** Nothing but what this server serves itself may run, be shown or be asked, and no page may show this one within. */
const headers = {
  'content-security-policy':
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'cache-control': 'no-cache',
};

/** Registers what answers a path. */
type Get = (path: string, handler: RequestHandler) => void;

/** A page for people at `/`: what the model takes and gives, and a form to ask it. */
export function servePage(get: Get, model: ModelIdentity, transfers: Transfers): void {
  const html = readFileSync(join(folder, 'index.html'), 'utf8')
    .replaceAll('MODEL_NAME', () => escaped(model.name))
    .replaceAll('MODEL_VERSION', () => escaped(model.version));
  const files: readonly (readonly [string, string, string])[] = [
    ['/', 'text/html; charset=utf-8', html],
    ['/page.js', 'text/javascript; charset=utf-8', readFileSync(join(folder, 'page.js'), 'utf8')],
    ['/page.css', 'text/css; charset=utf-8', readFileSync(join(folder, 'page.css'), 'utf8')],
  ];
  for (const [path, contentType, body] of files) {
    const answer: HttpAnswer = { status: 200, contentType, headers, body };
    get(path, (_request, response) => send(response, answer, transfers));
  }
}

function escaped(text: string): string {
  return text.replace(/[&<>"']/g, (sign) => `&#${sign.charCodeAt(0)};`);
}
