"""Asks pods that serve real models what Python was asked, in every way that the pod takes, and tells where the answers differ: ask.py FOLDER.

Reads lines NAME HTTP_ADDRESS GRPC_ADDRESS, and answers each with one line of JSON: what differs, by the way of asking."""

import json
import pickle
import sys
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import tritonclient.grpc as grpc
import tritonclient.http as http
from tritonclient.grpc import service_pb2
from tritonclient.utils import np_to_triton_dtype, triton_to_np_dtype

contents = {
    "BOOL": "bool_contents",
    **{name: "int_contents" for name in ("INT8", "INT16", "INT32")},
    **{name: "uint_contents" for name in ("UINT8", "UINT16", "UINT32")},
    "INT64": "int64_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}


def datatype(value):
    return np_to_triton_dtype(value.dtype)


def array(name, values):
    """Numbers as they are, texts as texts."""
    made = np.array(values, object if name == "BYTES" else triton_to_np_dtype(name))
    return np.vectorize(text, otypes=[object])(made) if made.dtype == object and made.size > 0 else made


def text(value):
    return value.decode() if isinstance(value, bytes) else value


def post(address, body):
    request = urllib.request.Request(f"http://{address}", json.dumps(body).encode(), {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        raise RuntimeError(f"{error.code} {error.read().decode()}") from None


def by_json(pod, inputs, _outputs):
    wire = [
        {"name": name, "shape": list(value.shape), "datatype": datatype(value), "data": value.ravel().tolist()}
        for name, value in inputs.items()
    ]
    answer = post(f"{pod.address}/v2/models/{pod.name}/infer", {"inputs": wire})
    return {output["name"]: array(output["datatype"], output["data"]).reshape(output["shape"]) for output in answer["outputs"]}


def by_tensorflow(pod, inputs, outputs):
    answer = post(
        f"{pod.address}/v1/models/{pod.name}:predict", {"inputs": {name: value.tolist() for name, value in inputs.items()}}
    )["outputs"]
    named = answer if len(outputs) > 1 else {name: answer for name in outputs}
    # The protocol tells no datatypes, and of an empty tensor not its shape.
    return {
        name: array(datatype(outputs[name]), value).reshape(outputs[name].shape if outputs[name].size == 0 else np.shape(value))
        for name, value in named.items()
    }


def by_triton(library, client, binary):
    def ask(pod, inputs, outputs):
        given = []
        for name, value in inputs.items():
            given.append(library.InferInput(name, list(value.shape), datatype(value)))
            given[-1].set_data_from_numpy(value, **({} if binary is None else {"binary_data": binary}))
        asked = None if binary is not False else [http.InferRequestedOutput(name, binary_data=False) for name in outputs]
        answer = client(pod).infer(pod.name, given, outputs=asked)
        return {name: array(datatype(value), answer.as_numpy(name)) for name, value in outputs.items()}

    return ask


def by_contents(pod, inputs, _outputs):
    request = service_pb2.ModelInferRequest(model_name=pod.name)
    for name, value in inputs.items():
        wire = request.inputs.add(name=name, datatype=datatype(value), shape=value.shape)
        values = [each.encode() for each in value.ravel()] if wire.datatype == "BYTES" else value.ravel().tolist()
        getattr(wire.contents, contents[wire.datatype]).extend(values)
    answer = pod.grpc._client_stub.ModelInfer(request)
    return {
        wire.name: array(wire.datatype, getattr(wire.contents, contents[wire.datatype])).reshape(wire.shape)
        for wire in answer.outputs
    }


by_grpc = by_triton(grpc, lambda pod: pod.grpc, None)

ways = {
    "json": by_json,
    "tensorflow": by_tensorflow,
    "http json": by_triton(http, lambda pod: pod.http, False),
    "http binary": by_triton(http, lambda pod: pod.http, True),
    "grpc": by_grpc,
    "grpc contents": by_contents,
}



def can_say(way, inputs, outputs):
    """Half precision is bytes alone to Triton's client and in gRPC; nested lists show no dimension that
    follows one of 0; and what is answered to no inputs is bytes."""
    if way == "tensorflow":
        return not any(0 in value.shape[:-1] for value in inputs.values())
    if way == "grpc contents" and not inputs:
        return False
    half = any(value.dtype == np.float16 for value in [*inputs.values(), *outputs.values()])
    return not (half and way in ("http json", "grpc contents"))



class Pod:
    def __init__(self, name, address, grpc_address):
        self.name, self.address = name, address
        self.http = http.InferenceServerClient(address, network_timeout=60)
        self.grpc = grpc.InferenceServerClient(grpc_address)

    def close(self):
        self.http.close()
        self.grpc.close()


def difference(given, expected):
    if given.shape != expected.shape or given.dtype != expected.dtype:
        return f"{given.dtype}{list(given.shape)} and not {expected.dtype}{list(expected.shape)}"
    if expected.dtype.kind != "f":
        return None if np.array_equal(given, expected) else f"{given.ravel()[:5]} and not {expected.ravel()[:5]}"
    # The last digits may depend on how onnxruntime was built; a digit that was lost on the way is more than that.
    tolerance = 4 * np.finfo(expected.dtype).eps
    largest = np.max(np.abs(expected), initial=0, where=np.isfinite(expected))
    if np.allclose(given, expected, rtol=tolerance, atol=tolerance * largest, equal_nan=True):
        return None
    with np.errstate(invalid="ignore"):
        return f"up to {np.nanmax(np.abs(given - expected))} away from values up to {largest}"


def differences(pod, ask, inputs, outputs):
    try:
        given = ask(pod, inputs, outputs)
    except Exception as error:
        return [f"error: {error}"]
    if list(given) != list(outputs):
        return [f"the outputs are {list(given)} and not {list(outputs)}"]
    return [f"{name} is {found}" for name in outputs if (found := difference(given[name], outputs[name])) is not None]


def described(pod):
    metadata = pod.http.get_model_metadata(pod.name)
    return [{value["name"]: (value["datatype"], len(value["shape"])) for value in metadata[part]} for part in ("inputs", "outputs")]


def as_described(values):
    return {name: (datatype(value), value.ndim) for name, value in values.items()}


def compare(pod, exchanges, again):
    """What differs, by the way of asking; nothing else."""
    # Sequences and maps have no place in the protocol.
    tensors = [(inputs, {name: value for name, value in outputs.items() if not isinstance(value, list)}) for inputs, outputs in exchanges]
    expected = [as_described(part) for part in tensors[0]]
    found = {"metadata": [] if described(pod) == expected else [f"{described(pod)} and not {expected}"]}
    for way, ask in ways.items():
        asked = [pair for pair in tensors if can_say(way, *pair)]
        found[way] = [line for inputs, outputs in asked for line in differences(pod, ask, inputs, outputs)]
    for _ in range(again):
        found["grpc again"] = differences(pod, by_grpc, *tensors[0])
    return {way: lines for way, lines in found.items() if lines}


folder = Path(sys.argv[1])
for line in sys.stdin:
    pod = Pod(*line.split())
    exchanges = pickle.loads((folder / pod.name / "exchanges.pickle").read_bytes())
    # After twenty quick answers a small model is run by the process that serves, which is another path to it.
    small = (folder / pod.name / "model.onnx").stat().st_size < 2**20
    print(json.dumps(compare(pod, exchanges, again=25 if small else 0)), flush=True)
    pod.close()
