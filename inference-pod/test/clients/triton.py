"""Asks a pod that serves iris with Triton's own client, over HTTP and gRPC, as its users do: triton.py HTTP_ADDRESS GRPC_ADDRESS.

Prints one line of JSON: for each call what came back, or the error, so that the test can compare."""

import json
import queue
import sys

import numpy as np
import tritonclient.grpc as grpc
import tritonclient.http as http

http_address, grpc_address = sys.argv[1:]
rows = np.array([[5.1, 3.5, 1.4, 0.2], [6.3, 3.3, 6.0, 2.5]], np.float32)
found = {}


def plain(value):
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, bytes):
        return value.decode()
    return [plain(item) for item in value] if isinstance(value, list) else value


def record(name, ask):
    try:
        found[name] = plain(ask())
    except Exception as error:
        found[name] = f"error: {error}"


def infer(library, client, classes=0, **options):
    value = library.InferInput("X", [2, 4], "FP32")
    if options.pop("binary", True) or library is grpc:
        value.set_data_from_numpy(rows)
    else:
        value.set_data_from_numpy(rows, binary_data=False)
    outputs = [library.InferRequestedOutput("label"), library.InferRequestedOutput("probabilities", class_count=classes)]
    answer = client.infer("iris", [value], outputs=outputs, **options)
    return [answer.as_numpy("label").tolist(), plain(answer.as_numpy("probabilities"))]


def ask(prefix, library, client, as_json):
    record(f"{prefix} live", client.is_server_live)
    record(f"{prefix} ready", client.is_server_ready)
    record(f"{prefix} model ready", lambda: client.is_model_ready("iris", "3"))
    record(f"{prefix} metadata", lambda: client.get_model_metadata("iris", **as_json)["inputs"][0]["name"])
    record(f"{prefix} unknown", lambda: client.get_model_metadata("other", **as_json))
    record(f"{prefix} infer", lambda: infer(library, client))
    record(f"{prefix} version", lambda: infer(library, client, model_version="3"))
    record(f"{prefix} classes", lambda: infer(library, client, classes=2))


web = http.InferenceServerClient(http_address)
ask("http", http, web, {})
record("http config", lambda: web.get_model_config("iris")["input"][0]["data_type"])
record("http index", lambda: web.get_model_repository_index()[0]["state"])
record("http statistics", lambda: web.get_inference_statistics("iris")["model_stats"][0]["inference_stats"]["success"]["count"])
record("http json", lambda: infer(http, web, binary=False))
for encoding in ("gzip", "deflate"):
    options = {"request_compression_algorithm": encoding, "response_compression_algorithm": encoding}
    record(f"http {encoding}", lambda: infer(http, web, **options))
web.close()

rpc = grpc.InferenceServerClient(grpc_address)
ask("grpc", grpc, rpc, {"as_json": True})
record("grpc config", lambda: rpc.get_model_config("iris", as_json=True)["config"]["input"][0]["data_type"])
record("grpc index", lambda: rpc.get_model_repository_index(as_json=True)["models"][0]["state"])
record("grpc statistics", lambda: int(rpc.get_inference_statistics("iris", as_json=True)["model_stats"][0]["inference_stats"]["success"]["count"]))
record("grpc gzip", lambda: infer(grpc, rpc, compression_algorithm="gzip"))


def stream():
    answers = queue.Queue()
    rpc.start_stream(lambda result, error: answers.put((result, error)))
    value = grpc.InferInput("X", [2, 4], "FP32")
    value.set_data_from_numpy(rows)
    for number in range(3):
        rpc.async_stream_infer("iris", [value], request_id=str(number))
    got = [answers.get(timeout=20) for _ in range(3)]
    rpc.stop_stream()
    return [str(error) if result is None else result.get_response().id for result, error in got]


record("grpc stream", stream)
rpc.close()
print(json.dumps(found))
