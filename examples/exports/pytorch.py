"""Trains a small network with PyTorch and exports it with PyTorch's own exporter, with a batch of any size.

Run it with the packages of requirements/pytorch.txt.
"""

import io

import numpy as np
import torch
from digits import load, write

torch.manual_seed(1)
images, digits, test_images, test_digits = load()
network = torch.nn.Sequential(
    torch.nn.Unflatten(1, (1, 8)),
    torch.nn.Conv2d(1, 8, 3),
    torch.nn.ReLU(),
    torch.nn.MaxPool2d(2),
    torch.nn.Flatten(),
    torch.nn.Linear(72, 10),
    torch.nn.Softmax(dim=1),
)
optimizer = torch.optim.Adam(network.parameters(), lr=0.003)
for epoch in range(30):
    for rows in torch.randperm(len(images)).split(32):
        probabilities = network(torch.from_numpy(images)[rows])
        loss = torch.nn.functional.nll_loss(probabilities.clamp_min(1e-9).log(), torch.from_numpy(digits)[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
network.eval()

batch = torch.export.Dim("batch", min=1, max=4096)
program = torch.onnx.export(
    network,
    (torch.from_numpy(test_images[:2]),),
    input_names=["image"],
    output_names=["probabilities"],
    dynamic_shapes=({0: batch},),
    dynamo=True,
)
content = io.BytesIO()
program.save(content)
with torch.no_grad():
    accuracy = np.mean(network(torch.from_numpy(test_images)).argmax(1).numpy() == test_digits)
    print(f"accuracy {accuracy:.3f} on 200 images that it was not trained on")
    asked = test_images[:6].round(6)
    write("pytorch", content.getvalue(), {"image": asked}, {"probabilities": network(torch.from_numpy(asked)).numpy()})
