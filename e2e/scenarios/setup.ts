import { buildAndLoadImage, installChart } from '../cluster/install.ts';
import { localTools } from '../cluster/tools.ts';

/** Brings the cluster up and installs what was built from this tree. */
export default async function setUp(): Promise<void> {
  const tools = await localTools();
  const image = await buildAndLoadImage();
  await installChart(tools, image);
  process.env['SLIPWAY_TEST_IMAGE'] = image;
}
