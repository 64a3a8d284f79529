"""Trains a small network with Keras on TensorFlow and exports it with Keras's own exporter, with a batch of any size.

Run it with the packages of requirements/tensorflow.txt.
"""

import pathlib
import tempfile

import keras
import numpy as np
import onnx
from digits import load, write

keras.utils.set_random_seed(1)
images, digits, test_images, test_digits = load()
network = keras.Sequential(
    [
        keras.Input((8, 8), name="image"),
        keras.layers.Reshape((8, 8, 1)),
        keras.layers.Conv2D(8, 3, activation="relu"),
        keras.layers.MaxPool2D(2),
        keras.layers.Flatten(),
        keras.layers.Dense(10, activation="softmax", name="probabilities"),
    ]
)
network.compile("adam", "sparse_categorical_crossentropy")
network.fit(images, digits, batch_size=32, epochs=30, verbose=0)
accuracy = np.mean(network.predict(test_images, verbose=0).argmax(1) == test_digits)
print(f"accuracy {accuracy:.3f} on 200 images that it was not trained on")

with tempfile.TemporaryDirectory() as folder:
    path = pathlib.Path(folder, "model.onnx")
    network.export(path, format="onnx", verbose=False)
    (output,) = onnx.load(path).graph.output
    asked = test_images[:6].round(6)
    write("tensorflow", path.read_bytes(), {"image": asked}, {output.name: network.predict(asked, verbose=0)})
