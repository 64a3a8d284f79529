"""The Open Inference Protocol over HTTP by orjson, for the frameworks that leave the protocol to their users."""

import numpy
import orjson
from session import numpy_types, run


def answer(session, body, header_length):
    """Answers a request as it came over HTTP, whose tensors may stand in binary behind its JSON."""
    view = memoryview(body)
    length = len(view) if header_length is None else int(header_length)
    inputs = orjson.loads(view[:length])["inputs"]
    position = length
    for tensor in inputs:
        size = tensor.get("parameters", {}).get("binary_data_size")
        if size is not None:
            tensor["data"] = numpy.frombuffer(view[position : position + size], numpy_types[tensor["datatype"]])
            position += size
    document = {"model_name": "model", "model_version": "1", "outputs": run(session, inputs)}
    return orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)
