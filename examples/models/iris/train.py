"""Trains two versions of a classifier of iris flowers: a logistic regression, then a random forest.

Reads iris.csv (R. A. Fisher, 1936). Writes 1.onnx and 2.onnx, and beside each the answers that scikit-learn itself
gives for some rows. Run it with the packages of ../requirements.txt.
"""

import csv
import json
from pathlib import Path

import numpy as np
from skl2onnx import to_onnx
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

here = Path(__file__).parent
with open(here / "iris.csv", newline="") as file:
    table = list(csv.DictReader(file))
species = ["setosa", "versicolor", "virginica"]
rows = np.array([[float(row[column]) for column in list(row)[:4]] for row in table], dtype=np.float32)
labels = np.array([species.index(row["species"]) for row in table])
train, test, train_labels, test_labels = train_test_split(rows, labels, test_size=30, random_state=1, stratify=labels)

models = {
    "1": make_pipeline(StandardScaler(), LogisticRegression(C=0.5)),
    "2": RandomForestClassifier(n_estimators=12, max_depth=4, random_state=1),
}
for version, model in models.items():
    model.fit(train, train_labels)
    print(f"version {version}: accuracy {model.score(test, test_labels):.3f} on 30 rows that it was not trained on")
    converted = to_onnx(model, train[:1], options={"zipmap": False}, target_opset=17)
    (here / f"{version}.onnx").write_bytes(converted.SerializeToString())
    answers = {
        "inputs": [{"name": "X", "shape": [12, 4], "datatype": "FP32", "data": test[:12].round(1).tolist()}],
        "outputs": {
            "label": model.predict(test[:12]).tolist(),
            "probabilities": model.predict_proba(test[:12]).tolist(),
        },
    }
    (here / f"{version}.answers.json").write_text(json.dumps(answers) + "\n")
