"""The model, as every peer runs it."""

import os

import numpy
import onnxruntime

numpy_types = {"FP32": numpy.float32, "INT64": numpy.int64}
protocol_types = {"float32": "FP32", "int64": "INT64"}


def open_session():
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(os.environ["MODEL_FILE"], options, providers=["CPUExecutionProvider"])


def run(session, inputs):
    """Runs the model on inputs of the Open Inference Protocol, and returns its outputs, which hold arrays."""
    feeds = {
        tensor["name"]: numpy.asarray(tensor["data"], numpy_types[tensor["datatype"]]).reshape(tensor["shape"])
        for tensor in inputs
    }
    names = [output.name for output in session.get_outputs()]
    return [
        {"name": name, "datatype": protocol_types[value.dtype.name], "shape": value.shape, "data": value.ravel()}
        for name, value in zip(names, session.run(names, feeds))
    ]
