"""A model, and what it is asked."""

from typing import NamedTuple

import numpy as np
import onnxruntime


class RealModel(NamedTuple):
    name: str
    kind: str
    source: str
    onnx: bytes
    requests: list


def session(onnx):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(onnx, options, providers=["CPUExecutionProvider"])


def run(opened, inputs):
    """The outputs by name, those that are no tensors as Python objects."""
    names = [output.name for output in opened.get_outputs()]
    return {name: value if isinstance(value, list) else np.asarray(value) for name, value in zip(names, opened.run(names, inputs))}
