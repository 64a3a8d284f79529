"""Trains trees with XGBoost and converts them with onnxmltools.

Run it with the packages of requirements/xgboost.txt.
"""

import numpy as np
import xgboost
from digits import load, write
from onnxmltools import convert_xgboost
from onnxmltools.convert.common.data_types import FloatTensorType

images, digits, test_images, test_digits = load()
flat, test_flat = images.reshape(-1, 64), test_images.reshape(-1, 64)
trees = xgboost.XGBClassifier(n_estimators=12, max_depth=3, learning_rate=0.5, random_state=1, n_jobs=1)
trees.fit(flat, digits)
accuracy = np.mean(trees.predict(test_flat) == test_digits)
print(f"accuracy {accuracy:.3f} on 200 images that it was not trained on")

model = convert_xgboost(trees, initial_types=[("pixels", FloatTensorType([None, 64]))], target_opset=15)
asked = test_flat[:6].round(6)
outputs = {"label": trees.predict(asked), "probabilities": trees.predict_proba(asked)}
write("xgboost", model.SerializeToString(), {"pixels": asked}, outputs)
