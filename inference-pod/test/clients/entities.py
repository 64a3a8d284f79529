"""
Asks a server what texts name, and tells how far it is from what the tokenizers and onnxruntime of Python make of the same model, put
together as the pipeline of transformers does: URL, folder of the model, file of the model, strategy, most tokens.
"""

import json
import pathlib
import sys
import unicodedata
import urllib.error
import urllib.request

import numpy
import onnxruntime
from judged_texts import texts
from tokenizers import Tokenizer

url, folder, model_path, strategy, most = sys.argv[1:]
folder = pathlib.Path(folder)
tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
tokenizer.no_padding()
tokenizer.no_truncation()
session = onnxruntime.InferenceSession(model_path)
labels = list(json.loads((folder / "config.json").read_text())["id2label"].values())
wrong: list[str] = []
refused = 0
worst = 0.0


# Where marks become one character with what they stand on, Python tells the place of that alone; here it is of both.
composes = "NFKC" in (folder / "tokenizer.json").read_text()


def around(text: str, start: int, end: int) -> tuple[int, int]:
    first, last = start, end
    while first > 0 and unicodedata.combining(text[first]):
        first -= 1
    while last < len(text) and unicodedata.combining(text[last]):
        last += 1
    changes = unicodedata.normalize("NFC", text[first:last]) != text[first:last]
    return (first, last) if changes else (start, end)


def tokens_of(text: str):
    """The text's own tokens: label, score, start, end, number of the word."""
    encoding = tokenizer.encode(text)
    ids = numpy.array([encoding.ids], dtype=numpy.int64)
    feeds = {"input_ids": ids, "attention_mask": numpy.ones_like(ids), "token_type_ids": numpy.zeros_like(ids)}
    (given,) = session.run(["logits"], feeds)
    powers = numpy.exp(given[0].astype(numpy.float64) - given[0].max(axis=-1, keepdims=True))
    scores = powers / powers.sum(axis=-1, keepdims=True)
    for at, (start, end) in enumerate(encoding.offsets):
        if encoding.sequence_ids[at] is None:
            continue
        if composes:
            start, end = around(text, start, end)
        piece = text[start:end]
        if piece.strip() != "":
            start += len(piece) - len(piece.lstrip())
            end -= len(piece) - len(piece.rstrip())
        best = int(scores[at].argmax())
        yield [labels[best], float(scores[at][best]), start, end, encoding.word_ids[at]]


def kind(label: str) -> tuple[bool, str]:
    if label[:2] in ("B-", "I-"):
        return label[0] == "B", label[2:]
    return False, label


def expected(text: str) -> list[dict]:
    parts = list(tokens_of(text))
    if strategy == "First":
        words: list[list] = []
        for part in parts:
            if words and part[4] is not None and part[4] == words[-1][4]:
                words[-1][3] = part[3]
            else:
                words.append(part)
        parts = words
    groups: list[list] = []
    last = None
    for part in parts:
        begins, own = kind(part[0])
        if groups and own == last and not begins:
            groups[-1].append(part)
        else:
            groups.append([part])
        last = own
    return [
        {
            "label": kind(group[0][0])[1],
            "text": text[group[0][2] : group[-1][3]],
            "start": group[0][2],
            "end": group[-1][3],
            "score": sum(part[1] for part in group) / len(group),
        }
        for group in groups
        if group[0][0] != "O"
    ]


def post(text: str) -> tuple[int, dict]:
    data = json.dumps({"model": "names", "input": text}).encode()
    request = urllib.request.Request(url + "/v1/entities", data, {"content-type": "application/json"})
    try:
        return 200, json.load(urllib.request.urlopen(request))
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


compared = 0
# To JavaScript a byte order mark is a space, and to Python it is not: words of bytes begin elsewhere behind it, and it is stripped.
definition = (folder / "tokenizer.json").read_text()
unlike = "\ufeff" if '"Strip"' in definition or (strategy == "First" and "ByteLevel" in definition) else None
for text in texts(420):
    if unlike is not None and unlike in text:
        continue
    status, answer = post(text)
    if len(tokenizer.encode(text).ids) > int(most):
        refused += 1
        if status != 400 or "split it" not in answer["error"]["message"]:
            wrong.append(f"{text[:40]!r}: {status} {answer}")
        continue
    if status != 200:
        wrong.append(f"{text[:60]!r}: {status} {answer}")
        continue
    given = answer["data"][0]["entities"]
    should = expected(text)
    compared += 1
    pairs = list(zip(given, should))
    worst = max([worst, *(abs(one["score"] - other["score"]) for one, other in pairs)])
    if [{**one, "score": 0} for one in given] != [{**other, "score": 0} for other in should]:
        first = next(((one, other) for one, other in pairs if {**one, "score": 0} != {**other, "score": 0}), None)
        wrong.append(f"{text!r}: {first or (len(given), len(should))}")
    if answer["usage"]["total_tokens"] != len(tokenizer.encode(text).ids):
        wrong.append(f"{text[:40]!r}: {answer['usage']}")

print(json.dumps({"compared": compared, "refused": refused, "wrong": wrong[:10], "worst": worst}))
