"""Asks a pod that serves iris with KServe's own client: ask_kserve.py URL GRPC_ADDRESS. Prints one line of JSON."""

import asyncio
import json
import sys

import numpy as np
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest
from kserve.inference_client import RESTConfig

url, grpc_address = sys.argv[1:]
rows = np.array([[5.1, 3.5, 1.4, 0.2], [6.3, 3.3, 6.0, 2.5]], np.float32)


def request(binary):
    tensor = InferInput("X", [2, 4], "FP32")
    tensor.set_data_from_numpy(rows, binary_data=binary)
    return InferRequest("iris", [tensor])


def labels(answer):
    return [int(label) for output in answer.outputs if output.name == "label" for label in np.ravel(output.as_numpy())]


async def ask():
    first = InferenceRESTClient(RESTConfig(protocol="v1"))
    second = InferenceRESTClient(RESTConfig(protocol="v2"))
    over_grpc = InferenceGRPCClient(url=grpc_address)
    rest_v1 = await first.infer(url, {"instances": rows.tolist()}, model_name="iris")
    return {
        "v1": [one["label"] for one in rest_v1["predictions"]],
        "v1 ready": await first.is_model_ready(url, "iris"),
        "v2 live": await second.is_server_live(url),
        "v2 ready": await second.is_model_ready(url, "iris"),
        "v2 json": labels(await second.infer(url, request(False), model_name="iris")),
        "v2 binary": labels(await second.infer(url, request(True), model_name="iris")),
        "grpc ready": await over_grpc.is_model_ready("iris"),
        "grpc": labels(await over_grpc.infer(request(False))),
    }


print(json.dumps(asyncio.run(ask())))
