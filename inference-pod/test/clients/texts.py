"""
Asks a server for the vectors of texts with OpenAI's client, and tells how far they are from what the tokenizers and onnxruntime of
Python make of the same model: URL, model, tokenizer.json, pooling, most tokens.
"""

import base64
import json
import random
import sys
import urllib.request

import numpy
import onnxruntime
import openai
from judged_texts import words
from tokenizers import Tokenizer

url, model_path, tokenizer_path, pooling, most = sys.argv[1:]
most = int(most)
tokenizer = Tokenizer.from_file(tokenizer_path)
tokenizer.no_padding()
direction = (tokenizer.truncation or {}).get("direction", "right")
tokenizer.enable_truncation(most, direction=direction)
session = onnxruntime.InferenceSession(model_path)


def expected(text: str) -> tuple[numpy.ndarray, int]:
    encoding = tokenizer.encode(text)
    ids = numpy.array([encoding.ids], dtype=numpy.int64)
    feeds = {"input_ids": ids, "attention_mask": numpy.ones_like(ids), "token_type_ids": numpy.zeros_like(ids)}
    (hidden,) = session.run(["last_hidden_state"], feeds)
    rows = hidden[0].astype(numpy.float64)
    vector = {"Mean": rows.mean(axis=0), "FirstToken": rows[0], "LastToken": rows[-1]}[pooling]
    return vector / numpy.linalg.norm(vector), len(encoding.ids)


def texts() -> list[str]:
    chosen = random.Random(11)
    fixed = [
        " ", "  ", "\n", "\t a\r\n b ", "a", "A", "é", "é", "\u0000", "\u0001x", "a\u0300\u0301\u0302", "���",
        "a" * 99, "a" * 101, "a" * 5000, "word " * 3000, "模" * 700, "😀" * 300, ". . .", "...", "!?" * 200,
        " leading", "trailing ", "in  the   middle", "tab\tbed", "line\nbroken", "a\u00a0b", "a\u2003b", "\u3000全角",
    ]
    made = ["".join(chosen.choice(["", " ", "  "]) + chosen.choice(words) for _ in range(chosen.randint(1, 40))) for _ in range(220)]
    return fixed + made


asked = texts()
client = openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0)
(served,) = [model.id for model in client.models.list()]
wrong: list[str] = []
worst = 0.0
for start in range(0, len(asked), 50):
    part = asked[start : start + 50]
    # As its client asks by itself: in base64.
    answer = client.embeddings.create(model=served, input=part)
    plain = client.embeddings.create(model=served, input=part, encoding_format="float")
    tokens = 0
    for text, one, other in zip(part, answer.data, plain.data, strict=True):
        vector, count = expected(text)
        tokens += count
        for given in (one.embedding, other.embedding):
            difference = float(numpy.abs(numpy.array(given) - vector).max())
            worst = max(worst, difference)
            if difference > 1e-5:
                wrong.append(text[:60])
    if answer.usage.prompt_tokens != tokens:
        wrong.append(f"{start}: {answer.usage.prompt_tokens} tokens instead of {tokens}")

(alone,) = client.embeddings.create(model=served, input="the quick fox").data
ids = tokenizer.encode("the quick fox").ids
(by_ids,) = client.embeddings.create(model=served, input=ids).data
many = client.embeddings.create(model=served, input=[ids, ids[:1]]).data
if len(many) != 2 or any(
    numpy.abs(numpy.array(one.embedding) - numpy.array(alone.embedding)).max() > 1e-6 for one in (by_ids, many[0])
):
    wrong.append("token ids")
(short,) = client.embeddings.create(model=served, input="the quick fox", dimensions=4).data
first = numpy.array(alone.embedding[:4])
if numpy.abs(numpy.array(short.embedding) - first / numpy.linalg.norm(first)).max() > 1e-6:
    wrong.append("dimensions")
request = urllib.request.Request(
    f"{url}/v1/embeddings",
    json.dumps({"model": served, "input": "x", "encoding_format": "base64"}).encode(),
    {"content-type": "application/json"},
)
raw = json.load(urllib.request.urlopen(request))["data"][0]["embedding"]
if len(base64.b64decode(raw)) != 4 * len(alone.embedding):
    wrong.append("base64")
refused: dict[str, str] = {}
for name, change in {"empty": {"input": ""}, "model": {"model": "another", "input": "x"}}.items():
    try:
        client.embeddings.create(**{"model": served, **change})
    except openai.APIStatusError as error:
        refused[name] = f"{error.status_code} {error.body['message']}"
print(json.dumps({"texts": len(asked), "wrong": wrong, "worst": worst, "refused": refused}))
