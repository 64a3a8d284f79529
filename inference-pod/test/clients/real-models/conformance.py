"""Models that the ONNX project checks its backends with, asked what it asks them."""

from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper
from real_model import RealModel

data = Path(onnx.__file__).parent / "backend/test/data"

chosen = {
    "node/test_lstm_with_peepholes": "recurrent, eight inputs",
    "node/test_gru_seq_length": "recurrent",
    "node/test_scan9_multi_state": "recurrent state, three outputs",
    "node/test_loop11": "a loop, scalars",
    "node/test_if": "a branch, a bool of rank 0",
    "node/test_attention_4d_gqa_with_past_and_present_fp16": "half precision, cache as inputs and outputs",
    "node/test_string_split_basic": "strings in, strings and int64 out",
    "node/test_string_concat_utf8": "strings, two inputs",
    "node/test_string_concat_zero_dimensional": "strings of rank 0",
    "node/test_string_split_empty_tensor": "no strings at all",
    "node/test_regex_full_match_email_domain": "strings in, bool out",
    "simple/test_strnorm_model_monday_casesensintive_nochangecase": "strings",
    "node/test_ai_onnx_ml_label_encoder_string_int": "strings in, int64 out",
    "node/test_ai_onnx_ml_label_encoder_tensor_mapping": "strings in, int16 out",
    "node/test_dynamicquantizelinear": "uint8 and float of rank 0 out",
    "node/test_qlinearconv": "uint8, eight inputs",
    "node/test_unique_sorted_with_axis_3d": "four outputs, their shapes by the values",
    "node/test_max_uint64": "uint64",
    "node/test_bitcast_float64_to_int64": "double in, int64 of any bits out",
    "node/test_and4d": "bool",
    "node/test_reduce_log_sum_exp_empty_set": "a dimension of 0, -Infinity out",
    "node/test_split_zero_size_splits_opset18": "three empty outputs",
    "node/test_isinf_float16": "half precision with infinities, bool out",
    "node/test_constant": "no inputs",
    "simple/test_sequence_model6": "a sequence inside, int64 of rank 0 out",
    "pytorch-converted/test_ConvTranspose2d": "image",
    "light/light_squeezenet": "image classifier, weights not trained",
    "light/light_shufflenet": "image classifier, weights not trained",
}


def conformance():
    for path, kind in chosen.items():
        folder = data / path
        name = folder.name.removeprefix("test_").lower().replace("_", "-")
        light = path.startswith("light/")
        model = onnx.load(folder.with_suffix(".onnx") if light else folder / "model.onnx")
        requests = [of_image(model)] if light else [of_set(model, each) for each in sorted(folder.glob("test_data_set_*"))]
        yield RealModel(name, kind, f"onnx {onnx.__version__}", model.SerializeToString(), requests)


def given(model):
    """Old models list their weights among their inputs."""
    weights = {weight.name for weight in model.graph.initializer}
    return [value for value in model.graph.input if value.name not in weights]


def of_image(model):
    image = given(model)[0]
    shape = [dimension.dim_value for dimension in image.type.tensor_type.shape.dim]
    return {image.name: np.random.default_rng(4).random(shape, np.float32)}


def of_set(model, folder):
    return {value.name: tensor(folder / f"input_{number}.pb") for number, value in enumerate(given(model))}


def tensor(path):
    read = numpy_helper.to_array(onnx.load_tensor(path))
    decode = np.vectorize(lambda text: text.decode() if isinstance(text, bytes) else text, otypes=[object])
    return decode(read) if read.dtype == object and read.size > 0 else read
