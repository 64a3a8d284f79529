import { existsSync, readFileSync, writeFileSync } from 'node:fs';

/** Brings a generated file up to date; with --check on the command line it only says, and fails, when it is not. */
export function bringUpToDate(path: string, text: string, source: string): void {
  if (existsSync(path) && readFileSync(path, 'utf8') === text) return;
  if (process.argv.includes('--check')) {
    console.error(`${path} does not match ${source}: run npm run generate`);
    process.exitCode = 1;
  } else writeFileSync(path, text);
}
