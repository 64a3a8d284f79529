"""Collects real models into a folder, each with what it is asked and what Python's onnxruntime answers: collect.py PACKAGES FOLDER."""

import json
import pickle
import sys
from pathlib import Path

from conformance import conformance
from packaged import packaged
from real_model import run, session
from trained import trained

packages, folder = sys.argv[1:]
listed = []
for model in [*packaged(packages), *trained(), *conformance()]:
    place = Path(folder) / model.name
    place.mkdir(parents=True)
    (place / "model.onnx").write_bytes(model.onnx)
    opened = session(model.onnx)
    exchanges = [(inputs, run(opened, inputs)) for inputs in model.requests]
    (place / "exchanges.pickle").write_bytes(pickle.dumps(exchanges))
    listed.append({"name": model.name, "kind": model.kind, "source": model.source})
(Path(folder) / "models.json").write_text(json.dumps(listed, indent=1))
