import { shorten } from '../protocol/json-reader.ts';
import { type GitObjects, unlikePack } from './git-pack.ts';
import { StartupError } from './startup-error.ts';

interface TreeEntry {
  /** What it is: of a file, a folder, a link or a repository (Git's fast-import documents them). */
  readonly mode: string;
  readonly name: Buffer;
  readonly id: string;
}

const folderMode = '40000';
const linkMode = '120000';
const repositoryMode = '160000';
const mostNamed = 10;

/**
 * Finds a file at a commit.
 *
 * @param shownRepository as it may be shown
 * @returns its id
 * @throws StartupError ModelNotFound where there is none; ModelFetchFailed where the server has left out what was asked for
 */
export function fileAt(objects: GitObjects, commit: string, path: string, shownRepository: string): string {
  const [, root] = /^tree ([0-9a-f]+)\n/.exec(contentOf(objects, commit).toString('latin1', 0, 80)) ?? [];
  if (root === undefined) throw unlikePack(`${commit} is no commit`);
  const place = `${shownRepository} at ${commit.slice(0, 12)}`;
  const steps = path.split('/');
  let id = root;
  for (const [depth, step] of steps.entries()) {
    const folder = depth === 0 ? 'its root' : shorten(steps.slice(0, depth).join('/'));
    const entries = entriesOf(contentOf(objects, id), id.length / 2);
    const entry = entryIn(entries, step, depth === steps.length - 1 ? 'file' : 'folder', `${place} has in ${folder}`);
    id = entry.id;
  }
  return id;
}

/** @throws StartupError ModelNotFound */
function entryIn(entries: readonly TreeEntry[], name: string, kind: 'file' | 'folder', place: string): TreeEntry {
  const wanted = Buffer.from(name);
  const entry = entries.find((each) => each.name.equals(wanted));
  const found = kindOf(entry?.mode);
  if (entry !== undefined && found === kind) return entry;
  throw new StartupError(
    'ModelNotFound',
    `${place} no ${kind} '${shorten(name)}'${found === undefined ? '' : `, which is a ${found} there`}; there is ${listed(entries)}`,
  );
}

function kindOf(mode: string | undefined): 'file' | 'folder' | 'link' | 'repository of its own' | undefined {
  switch (mode) {
    case undefined:
      return undefined;
    case folderMode:
      return 'folder';
    case linkMode:
      return 'link';
    case repositoryMode:
      return 'repository of its own';
    default:
      return 'file';
  }
}

function contentOf(objects: GitObjects, id: string): Buffer {
  const content = objects.get(id);
  if (content === undefined) throw unlikePack(`${id} is not in it`);
  return content;
}

/** Mode, name and id of each, the id in bytes ("Git Internals - Git Objects", Tree Objects). */
function entriesOf(tree: Buffer, idLength: number): readonly TreeEntry[] {
  const entries: TreeEntry[] = [];
  for (let at = 0; at < tree.length; ) {
    const space = tree.indexOf(0x20, at);
    const end = tree.indexOf(0, space);
    if (space === -1 || end === -1 || end + 1 + idLength > tree.length) throw unlikePack('a folder in it is cut short');
    const mode = tree.toString('latin1', at, space);
    at = end + 1 + idLength;
    entries.push({ mode, name: tree.subarray(space + 1, end), id: tree.toString('hex', end + 1, at) });
  }
  return entries;
}

function listed(entries: readonly TreeEntry[]): string {
  const more = entries.length > mostNamed ? ` and ${entries.length - mostNamed} more` : '';
  const names = entries.slice(0, mostNamed).map(({ name }) => `'${shorten(name.toString())}'`);
  return names.length === 0 ? 'nothing' : names.join(', ') + more;
}
