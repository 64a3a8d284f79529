import { expect, test } from '@jest/globals';
import { detectorProcessingIn, pictureProcessingIn } from './picture-processing.ts';

/** As the processors of newer versions write what they do not do. */
const nulls = {
  crop_size: null,
  device: null,
  do_center_crop: null,
  do_convert_rgb: null,
  input_data_format: null,
  pad_size: null,
  return_tensors: null,
};
const usual = {
  do_normalize: true,
  do_rescale: true,
  do_resize: true,
  image_mean: [0.5, 0.5, 0.5],
  image_std: [0.5, 0.5, 0.5],
  resample: 2,
  rescale_factor: 1 / 255,
};
const read = (type: string, rest: object) => JSON.stringify({ ...usual, ...rest, image_processor_type: type });

test('what is null is not given', () => {
  const size = { height: 224, width: 224 };
  expect(pictureProcessingIn(read('ViTImageProcessorFast', { size, ...nulls }))).toEqual(
    pictureProcessingIn(read('ViTImageProcessor', { size })),
  );
  const edges = { shortest_edge: 800, longest_edge: 1333 };
  expect(detectorProcessingIn(read('DetrImageProcessorFast', { size: edges, ...nulls }))).toEqual(
    detectorProcessingIn(read('DetrImageProcessor', { size: edges })),
  );
});
