"""
Asks a server what is where in pictures, and tells how far it is from what Pillow, numpy and onnxruntime make of the same model: URL,
folder of the model, file of the model.
"""

import base64
import io
import json
import pathlib
import sys

import httpx
import numpy
import onnxruntime
from drawn_pictures import pictures
from PIL import Image, ImageOps

url, folder, model_path = sys.argv[1:]
folder = pathlib.Path(folder)
processing = json.loads((folder / "preprocessor_config.json").read_text())
labels = list(json.loads((folder / "config.json").read_text())["id2label"].values())
session = onnxruntime.InferenceSession(model_path)
threshold = 0.3


def edges(width: int, height: int) -> tuple[int, int]:
    """Width and height, as get_size_with_aspect_ratio of transformers has them."""
    size = processing["size"]
    if isinstance(size, int):
        size = {"shortest_edge": size, "longest_edge": 1333}
    if "height" in size:
        return size["width"], size["height"]
    shortest, most = size["shortest_edge"], size["longest_edge"]
    raw = None
    if max(width, height) / min(width, height) * shortest > most:
        raw = most * min(width, height) / max(width, height)
        shortest = int(round(raw))
    if min(width, height) == shortest:
        return width, height
    longer = int((shortest if raw is None else raw) * max(width, height) / min(width, height))
    return (shortest, longer) if width < height else (longer, shortest)


def expected(data: bytes) -> list[tuple[str, float, list[float]]]:
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")
    width, height = image.size
    across, down = edges(width, height)
    values = numpy.asarray(image.resize((max(1, across), max(1, down)), 2)).astype(numpy.float32) * numpy.float32(1 / 255)
    if processing.get("do_normalize", "RTDetr" not in processing.get("image_processor_type", "")):
        values = (values - numpy.array(processing["image_mean"], numpy.float32)) / numpy.array(processing["image_std"], numpy.float32)
    given = {"pixel_values": values.transpose(2, 0, 1)[None]}
    if len(session.get_inputs()) > 1:
        given["pixel_mask"] = numpy.ones((1, 64, 64), numpy.int64)
    logits, boxes = session.run(["logits", "pred_boxes"], given)
    logits, boxes = logits[0].astype(numpy.float64), boxes[0]
    if logits.shape[1] > len(labels):
        powers = numpy.exp(logits - logits.max(axis=1, keepdims=True))
        shares = (powers / powers.sum(axis=1, keepdims=True))[:, :-1]
        found = [(shares[box].max(), shares[box].argmax(), box) for box in range(len(boxes))]
    else:
        each = 1 / (1 + numpy.exp(-logits))
        best = numpy.argsort(-each.flatten(), kind="stable")[: len(boxes)]
        found = [(each.flatten()[at], at % len(labels), at // len(labels)) for at in best]
    corners = []
    for score, label, box in sorted(found, key=lambda one: -one[0]):
        x, y, w, h = (float(one) for one in boxes[box])
        place = [(x - w / 2) * width, (y - h / 2) * height, (x + w / 2) * width, (y + h / 2) * height]
        corners.append((labels[label], float(score), place))
    return [one for one in corners if one[1] > threshold]


wrong: list[str] = []
worst = 0.0
boxes = 0
asked = pictures()
client = httpx.Client(base_url=url, timeout=60)
names = list(asked)
for start in range(0, len(names), 40):
    part = names[start : start + 40]
    form = [base64.b64encode(asked[name]).decode() for name in part]
    answer = client.post("/v1/detect", json={"model": "pictures", "input": form, "threshold": threshold})
    if answer.status_code != 200:
        wrong.append(f"{part[0]}: {answer.text}")
        continue
    for name, one in zip(part, answer.json()["data"], strict=True):
        right = expected(asked[name])
        given = [(each["label"], each["score"], list(each["box"].values())) for each in one["detections"]]
        boxes += len(right)
        if [label for label, *_ in given] != [label for label, *_ in right]:
            # At the threshold, and of two that are as sure, either may be.
            wrong.append(f"{name}: {given} instead of {right}")
            continue
        for (_, score, box), (_, right_score, right_box) in zip(given, right, strict=True):
            # Of boxes, as a share of the picture.
            difference = max(
                abs(score - right_score),
                numpy.abs(numpy.array(box) - right_box).max() / max(one["width"], one["height"]),
            )
            worst = max(worst, difference)
            if difference > 1e-5:
                wrong.append(f"{name}: {difference}")
files = [("file", ("one.jpg", asked[name], "image/jpeg")) for name in names[:3]]
answer = client.post("/v1/detect", files=files, data={"threshold": "0", "top_n": "2", "model": "pictures"}).json()
if [len(one["detections"]) for one in answer["data"]] != [2, 2, 2]:
    wrong.append(f"a form: {answer}")
print(json.dumps({"compared": len(asked), "boxes": boxes, "wrong": wrong[:10], "worst": worst}))
