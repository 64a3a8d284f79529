"""
Asks a server what is in pictures, and tells how far it is from what Pillow, numpy and onnxruntime make of the same model: URL, folder
of the model, file of the model.
"""

import base64
import io
import json
import pathlib
import sys

import httpx
import numpy
import onnxruntime
from drawn_pictures import chosen, pictures
from PIL import Image, ImageOps

url, folder, model_path = sys.argv[1:]
folder = pathlib.Path(folder)
processing = json.loads((folder / "preprocessor_config.json").read_text())
labels = list(json.loads((folder / "config.json").read_text())["id2label"].values())
session = onnxruntime.InferenceSession(model_path)
(pixels,) = session.get_inputs()


def shortest(width: int, height: int, edge: int) -> tuple[int, int]:
    return (edge, int(edge * height / width)) if width <= height else (int(edge * width / height), edge)


def cropped(values: numpy.ndarray, width: int, height: int) -> numpy.ndarray:
    top, left = (values.shape[0] - height) // 2, (values.shape[1] - width) // 2
    whole = numpy.zeros((height, width, 3), values.dtype)
    for row in range(height):
        for column in range(width):
            if 0 <= top + row < values.shape[0] and 0 <= left + column < values.shape[1]:
                whole[row, column] = values[top + row, left + column]
    return whole


def expected(data: bytes) -> numpy.ndarray:
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")
    size, crop, filter = processing["size"], processing.get("crop_size"), processing.get("resample", 2)
    processor = processing.get("image_processor_type", processing.get("feature_extractor_type", ""))
    if isinstance(size, int):
        size = {"shortest_edge": size} if processor.startswith("ConvNext") else {"width": size, "height": size}
    if isinstance(crop, int):
        crop = {"width": crop, "height": crop}
    if "crop_pct" in processing:
        edge = size["shortest_edge"]
        image = image.resize(shortest(*image.size, int(edge / processing["crop_pct"])), filter)
        crop = {"width": edge, "height": edge}
    elif "shortest_edge" in size:
        image = image.resize(shortest(*image.size, size["shortest_edge"]), filter)
    else:
        image = image.resize((size["width"], size["height"]), filter)
    values = numpy.asarray(image)
    if crop is not None:
        values = cropped(values, crop["width"], crop["height"])
    scaled = values.astype(numpy.float32) * numpy.float32(processing.get("rescale_factor", 1 / 255))
    if processing.get("do_normalize", True):
        scaled = (scaled - numpy.array(processing["image_mean"], numpy.float32)) / numpy.array(processing["image_std"], numpy.float32)
    if processing.get("include_top", False):
        scaled = scaled / numpy.array(processing["image_std"], numpy.float32)
    if pixels.shape[3] != 3:
        scaled = scaled.transpose(2, 0, 1)
    (logits,) = session.run(None, {pixels.name: scaled[None]})
    powers = numpy.exp(logits[0].astype(numpy.float64) - logits[0].max())
    return powers / powers.sum()


wrong: list[str] = []
worst = 0.0


def compare(name: str, data: bytes, answer: dict) -> None:
    global worst
    given = {each["label"]: each["score"] for each in answer["predictions"]}
    scores = expected(data)
    difference = max(abs(given[label] - score) for label, score in zip(labels, scores, strict=True))
    worst = max(worst, difference)
    if difference > 1e-5:
        wrong.append(f"{name}: {difference}")


asked = pictures()
client = httpx.Client(base_url=url, timeout=60)
names = list(asked)
for start in range(0, len(names), 40):
    part = names[start : start + 40]
    encoded = [base64.b64encode(asked[name]).decode() for name in part]
    forms = [chosen.choice([text, {"image": text}, f"data:image/png;base64,{text}"]) for text in encoded]
    answer = client.post("/v1/classify", json={"model": "pictures", "input": forms, "top_n": len(labels)})
    if answer.status_code != 200:
        wrong.append(f"{part[0]}: {answer.text}")
        continue
    for name, one in zip(part, answer.json()["data"], strict=True):
        compare(name, asked[name], one)
for name in names[:12]:
    answer = client.post("/v1/classify", content=asked[name], headers={"content-type": "image/jpeg"}).json()
    best = sorted(expected(asked[name]), reverse=True)[:5]
    if numpy.abs(numpy.array([each["score"] for each in answer["data"][0]["predictions"]]) - best).max() > 1e-5:
        wrong.append(f"{name}: as the body")
files = [("file", (f"{at}.jpg", asked[name], "image/jpeg")) for at, name in enumerate(names[:9])]
answer = client.post("/v1/classify", files=files, data={"top_n": str(len(labels)), "model": "pictures"}).json()
for name, one in zip(names[:9], answer["data"], strict=True):
    compare(f"{name}: of a form", asked[name], one)
print(json.dumps({"compared": len(asked), "wrong": wrong[:10], "worst": worst}))
