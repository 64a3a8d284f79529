/**
 * Makes operator/src/api/generated from crds/: the types of the API and their validator. With --check it only says
 * whether they are current.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const repository = join(import.meta.dirname, '..');
const target = join(import.meta.dirname, 'src/api/generated');
const work = mkdtempSync(join(tmpdir(), 'slipway-generate-'));

try {
  const input = join(repository, 'crds/modeldeployments.yaml');
  execFileSync(join(repository, 'node_modules/.bin/crd-generate'), ['--input', input, '--output', work], {
    stdio: 'pipe',
  });
  const schema = '_schemas/ServingSlipwayDevV1alpha1ModelDeployment';
  const files = {
    'model-deployment.ts': asModule(
      readFileSync(join(work, 'serving.slipway.dev/v1alpha1/ModelDeployment.ts'), 'utf8'),
    ),
    'schema.js': readFileSync(join(work, `${schema}.js`), 'utf8'),
    'schema.d.ts': readFileSync(join(work, `${schema}.d.ts`), 'utf8'),
  };
  const stale = Object.entries(files).filter(([name, text]) => read(join(target, name)) !== text);
  if (!process.argv.includes('--check')) for (const [name, text] of stale) writeFileSync(join(target, name), text);
  else if (stale.length > 0) {
    console.error(`${stale.map(([name]) => name).join(', ')} in ${target} do not match crds/: run npm run generate`);
    process.exitCode = 1;
  }
} finally {
  rmSync(work, { recursive: true });
}

/** The generator writes imports for a bundler; here they are types where they are types, and files by their names. */
function asModule(source: string): string {
  return source
    .replace('import { IObjectMeta }', 'import type { IObjectMeta }')
    .replace('import { Model, ModelData,', 'import { Model, type ModelData,')
    .replace('import { ValidateFunc }', 'import type { ValidateFunc }')
    .replace(/^ {2}"(\w+)"\?: IModelDeployment\["\w+"\];$/gm, '  "$1"?: NonNullable<IModelDeployment["$1"]>;')
    .replace(/"\.\.\/\.\.\/_schemas\/\w+"/, '"./schema.js"');
}

function read(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return undefined;
  }
}
