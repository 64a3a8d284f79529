import { mkdirSync, realpathSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
/** Everything that is built or runs is below this one folder, which is outside the repository. */
export const cacheFolder = made(
  process.env['SLIPWAY_CACHE'] ?? join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'slipway'),
);
/** Its real path: mounts below it are told by that. */
function made(folder) {
  mkdirSync(folder, { recursive: true });
  return realpathSync(folder);
}
export const repository = join(import.meta.dirname, '../..');
//# sourceMappingURL=cache.js.map
