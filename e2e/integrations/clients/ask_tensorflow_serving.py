"""Asks a pod that serves iris as clients of TensorFlow Serving do: ask_tensorflow_serving.py GRPC_ADDRESS. Prints one line of JSON."""

import json
import os
import sys

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

channel = grpc.insecure_channel(sys.argv[1])
predictions = prediction_service_pb2_grpc.PredictionServiceStub(channel)
models = model_service_pb2_grpc.ModelServiceStub(channel)
rows = np.array([[5.1, 3.5, 1.4, 0.2], [6.3, 3.3, 6.0, 2.5]], np.float32)


def predict():
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "iris"
    request.model_spec.signature_name = "serving_default"
    request.inputs["X"].CopyFrom(tf.make_tensor_proto(rows))
    outputs = predictions.Predict(request, 10).outputs
    return {name: tf.make_ndarray(tensor).tolist() for name, tensor in outputs.items()}


def classify():
    request = classification_pb2.ClassificationRequest()
    request.model_spec.name = "iris"
    for row in rows:
        example = request.input.example_list.examples.add()
        example.features.feature["X"].float_list.value.extend(row)
    result = predictions.Classify(request, 10).result
    return [[[one.label, one.score] for one in each.classes] for each in result.classifications]


def regress():
    request = regression_pb2.RegressionRequest()
    request.model_spec.name = "iris"
    request.input.example_list.examples.add().features.feature["X"].float_list.value.extend(rows[0])
    try:
        return str(predictions.Regress(request, 10))
    except grpc.RpcError as error:
        return error.code().name


def metadata():
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    request.model_spec.name = "iris"
    answer = predictions.GetModelMetadata(request, 10)
    definitions = get_model_metadata_pb2.SignatureDefMap()
    answer.metadata["signature_def"].Unpack(definitions)
    definition = definitions.signature_def["serving_default"]
    return [definition.inputs["X"].dtype, sorted(definition.outputs), answer.model_spec.version.value]


def status():
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = "iris"
    return [each.state for each in models.GetModelStatus(request, 10).model_version_status]


print(json.dumps({call.__name__: call() for call in [predict, classify, regress, metadata, status]}))
