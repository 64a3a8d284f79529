"""Handwritten digits of ../models/digits/digits.csv as the scripts here train on them, and what they write."""

import csv
import json
from pathlib import Path

import numpy as np

here = Path(__file__).parent


def load() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Images of 8 by 8 pixels from 0 to 1, and digits: those to train on, and 200 others."""
    with open(here.parent / "models/digits/digits.csv", newline="") as file:
        table = np.array([[int(value) for value in row] for row in list(csv.reader(file))[1:]])
    order = np.random.default_rng(1).permutation(len(table))
    images = (table[order, :-1].reshape(-1, 8, 8) / 16).astype(np.float32)
    digits = table[order, -1]
    return images[:-200], digits[:-200], images[-200:], digits[-200:]


def write(name: str, model: bytes, inputs: dict[str, np.ndarray], outputs: dict[str, np.ndarray]) -> None:
    """The model, and beside it what the library that trained it answers itself."""
    (here / f"{name}.onnx").write_bytes(model)
    tensors = [
        {"name": key, "shape": list(value.shape), "datatype": "FP32", "data": value.round(6).tolist()}
        for key, value in inputs.items()
    ]
    answers = {"inputs": tensors, "outputs": {key: value.tolist() for key, value in outputs.items()}}
    (here / f"{name}.answers.json").write_text(json.dumps(answers) + "\n")
