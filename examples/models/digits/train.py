"""Trains a small convolutional network on handwritten digits, with nothing but numpy.

Reads digits.csv (E. Alpaydin and C. Kaynak, 1998). Writes 1.onnx, and beside it the answers that this script's own
forward pass gives in double precision. Run it with the packages of ../requirements.txt.
"""

import csv
import json
from pathlib import Path

import numpy as np
from onnx import TensorProto, checker, helper, numpy_helper

here = Path(__file__).parent
with open(here / "digits.csv", newline="") as file:
    table = np.array([[int(value) for value in row] for row in list(csv.reader(file))[1:]])
images = table[:, :-1].reshape(-1, 1, 8, 8) / 16.0
digits = table[:, -1]
random = np.random.default_rng(1)
order = random.permutation(len(images))
train, test = order[:-200], order[-200:]

filters = 8
weights = {
    "kernel": random.normal(0, 0.3, (filters, 1, 3, 3)),
    "kernel_bias": np.zeros(filters),
    "dense": random.normal(0, 0.1, (filters * 9, 10)),
    "dense_bias": np.zeros(10),
}


def forward(batch):
    """3x3 convolution, ReLU, 2x2 max pooling, dense layer, softmax; with what the backward pass needs."""
    patches = np.lib.stride_tricks.sliding_window_view(batch[:, 0], (3, 3), axis=(1, 2))
    convolved = np.einsum("nyxij,fij->nfyx", patches, weights["kernel"][:, 0]) + weights["kernel_bias"][:, None, None]
    active = np.maximum(convolved, 0)
    blocks = active.reshape(len(batch), filters, 3, 2, 3, 2)
    pooled = blocks.max(axis=(3, 5))
    flat = pooled.reshape(len(batch), -1)
    scores = flat @ weights["dense"] + weights["dense_bias"]
    exponentials = np.exp(scores - scores.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True), flat, pooled, blocks, active, patches


velocity = {name: np.zeros_like(value) for name, value in weights.items()}
for epoch in range(30):
    random.shuffle(train)
    for start in range(0, len(train), 32):
        rows = train[start : start + 32]
        probabilities, flat, pooled, blocks, active, patches = forward(images[rows])
        error = (probabilities - np.eye(10)[digits[rows]]) / len(rows)
        back = (error @ weights["dense"].T).reshape(pooled.shape)
        winners = blocks == pooled[:, :, :, None, :, None]
        back = (winners * back[:, :, :, None, :, None]).reshape(active.shape) * (active > 0)
        gradients = {
            "kernel": np.einsum("nfyx,nyxij->fij", back, patches)[:, None],
            "kernel_bias": back.sum(axis=(0, 2, 3)),
            "dense": flat.T @ error,
            "dense_bias": error.sum(axis=0),
        }
        for name, gradient in gradients.items():
            velocity[name] = 0.9 * velocity[name] - 0.1 * gradient
            weights[name] += velocity[name]
weights = {name: value.astype(np.float32).astype(np.float64) for name, value in weights.items()}
accuracy = (forward(images[test])[0].argmax(axis=1) == digits[test]).mean()
print(f"accuracy {accuracy:.3f} on 200 images that it was not trained on")

nodes = [
    helper.make_node("Conv", ["image", "kernel", "kernel_bias"], ["convolved"], kernel_shape=[3, 3]),
    helper.make_node("Relu", ["convolved"], ["active"]),
    helper.make_node("MaxPool", ["active"], ["pooled"], kernel_shape=[2, 2], strides=[2, 2]),
    helper.make_node("Flatten", ["pooled"], ["flat"]),
    helper.make_node("Gemm", ["flat", "dense", "dense_bias"], ["scores"]),
    helper.make_node("Softmax", ["scores"], ["probabilities"], axis=1),
    helper.make_node("ArgMax", ["probabilities"], ["digit"], axis=1, keepdims=0),
]
graph = helper.make_graph(
    nodes,
    "digits",
    [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 1, 8, 8])],
    [
        helper.make_tensor_value_info("digit", TensorProto.INT64, ["batch"]),
        helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", 10]),
    ],
    [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()],
)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
checker.check_model(model)
(here / "1.onnx").write_bytes(model.SerializeToString())
expected = forward(images[test[:6]])[0]
answers = {
    "inputs": [{"name": "image", "shape": [6, 1, 8, 8], "datatype": "FP32", "data": images[test[:6]].tolist()}],
    "outputs": {"digit": expected.argmax(axis=1).tolist(), "probabilities": expected.tolist()},
}
(here / "1.answers.json").write_text(json.dumps(answers) + "\n")
