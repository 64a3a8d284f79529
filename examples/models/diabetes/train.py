"""Trains two regressors of diabetes progression: a ridge regression, then gradient boosting.

Reads diabetes.csv (B. Efron et al., 2004). Writes 1.onnx and 2.onnx, and beside each the answers that scikit-learn
itself gives for some rows. Run it with the packages of ../requirements.txt.
"""

import csv
import json
from pathlib import Path

import numpy as np
from skl2onnx import to_onnx
from sklearn.ensemble import GradientBoostingRegressor
from sklearn.linear_model import Ridge
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

here = Path(__file__).parent
with open(here / "diabetes.csv", newline="") as file:
    table = [[float(value) for value in row] for row in list(csv.reader(file))[1:]]
rows = np.array([row[:-1] for row in table], dtype=np.float32)
progress = np.array([row[-1] for row in table])
train, test, train_progress, test_progress = train_test_split(rows, progress, test_size=60, random_state=1)

models = {
    "1": make_pipeline(StandardScaler(), Ridge(alpha=1.0)),
    "2": GradientBoostingRegressor(n_estimators=40, max_depth=2, random_state=1),
}
for version, model in models.items():
    model.fit(train, train_progress)
    print(f"version {version}: R2 {model.score(test, test_progress):.3f} on 60 rows that it was not trained on")
    converted = to_onnx(model, train[:1], target_opset=17)
    (here / f"{version}.onnx").write_bytes(converted.SerializeToString())
    answers = {
        "inputs": [{"name": "X", "shape": [8, 10], "datatype": "FP32", "data": test[:8].tolist()}],
        "outputs": {"variable": model.predict(test[:8]).reshape(-1, 1).tolist()},
    }
    (here / f"{version}.answers.json").write_text(json.dumps(answers) + "\n")
