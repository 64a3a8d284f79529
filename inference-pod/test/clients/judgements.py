"""
Asks a server what texts are or how well they fit, and tells how far it is from what the tokenizers and onnxruntime of Python make of
the same model: URL, folder of the model, file of the model, task, most tokens.
"""

import json
import pathlib
import sys
import urllib.error
import urllib.request

import cohere
import numpy
import onnxruntime
from judged_texts import texts
from tokenizers import Tokenizer

url, folder, model_path, task, most = sys.argv[1:]
folder = pathlib.Path(folder)
tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
tokenizer.no_padding()
direction = (tokenizer.truncation or {}).get("direction", "right")
session = onnxruntime.InferenceSession(model_path)
wrong: list[str] = []
worst = 0.0


def logits(*texts: str, strategy: str = "longest_first") -> tuple[numpy.ndarray, int]:
    tokenizer.enable_truncation(int(most), strategy=strategy, direction=direction)
    encoding = tokenizer.encode(*texts)
    ids = numpy.array([encoding.ids], dtype=numpy.int64)
    kinds = numpy.array([encoding.type_ids], dtype=numpy.int64)
    feeds = {"input_ids": ids, "attention_mask": numpy.ones_like(ids), "token_type_ids": kinds}
    (given,) = session.run(["logits"], feeds)
    return given[0].astype(numpy.float64), len(encoding.ids)


def sigmoid(value):
    return 1 / (1 + numpy.exp(-value))


def softmax(values):
    powers = numpy.exp(values - numpy.max(values))
    return powers / powers.sum()


def post(path: str, body: dict) -> dict:
    data = json.dumps({"model": "judge", **body}).encode()
    request = urllib.request.Request(url + path, data, {"content-type": "application/json"})
    return json.load(urllib.request.urlopen(request))


def compare(name: str, given, expected) -> None:
    global worst
    difference = float(numpy.abs(numpy.asarray(given) - numpy.asarray(expected)).max())
    worst = max(worst, difference)
    if difference > 1e-5:
        wrong.append(f"{name}: {given} instead of {expected}")


def compare_labels(asked: list[str], answer: dict, labels: list[str], expected: list) -> None:
    for at, text in enumerate(asked):
        one = answer["data"][at]
        given = {each["label"]: each["score"] for each in one["predictions"]}
        compare(text[:40], [given[label] for label in labels], expected[at])
        scores = [each["score"] for each in one["predictions"]]
        if one["index"] != at or scores != sorted(scores, reverse=True):
            wrong.append(f"{text[:40]}: not in order")
        if one["prediction"] != one["predictions"][0]["label"] or one["score"] != scores[0]:
            wrong.append(f"{text[:40]}: the best is not the first")


def classify() -> int:
    configuration = json.loads((folder / "config.json").read_text())
    labels = list(configuration["id2label"].values())
    score = sigmoid if configuration.get("problem_type") == "multi_label_classification" else softmax
    asked = texts(240)
    for start in range(0, len(asked), 60):
        part = asked[start : start + 60]
        answer = post("/v1/classify", {"input": part})
        expected = [logits(text) for text in part]
        compare_labels(part, answer, labels, [score(given) for given, _ in expected])
        if answer["usage"]["total_tokens"] != sum(count for _, count in expected):
            wrong.append("tokens")
    return len(asked)


def zero_shot() -> int:
    configuration = json.loads((folder / "config.json").read_text())
    verdicts = [label.lower() for label in configuration["id2label"].values()]
    entailment, contradiction = verdicts.index("entailment"), verdicts.index("contradiction")
    labels = ["fox", "ships", "numbers and code"]
    asked = texts(210)
    for several in (False, True):
        for start in range(0, len(asked), 70):
            part = asked[start : start + 70]
            answer = post("/v1/classify", {"input": part, "labels": labels, "multi_label": several})
            expected = []
            for text in part:
                given = [logits(text, f"It is about {label}.", strategy="only_first")[0] for label in labels]
                if several:
                    expected.append([softmax(one[[contradiction, entailment]])[1] for one in given])
                else:
                    expected.append(softmax(numpy.array([one[entailment] for one in given])))
            compare_labels(part, answer, labels, expected)
    return len(asked)


def rerank() -> int:
    documents = texts(220)
    client = cohere.ClientV2(api_key="none", base_url=url)
    older = cohere.Client(api_key="none", base_url=url)
    for query in ["what carries ships", "the quick brown fox " * 30, "模型"]:
        expected = [logits(query, document) for document in documents]
        scores = [float(sigmoid(given[0])) for given, _ in expected]
        given = client.rerank(model="judge", query=query, documents=documents).results
        compare(query[:40], [one.relevance_score for one in sorted(given, key=lambda one: one.index)], scores)
        if [one.relevance_score for one in given] != sorted((one.relevance_score for one in given), reverse=True):
            wrong.append(f"{query[:40]}: not in order")
        first = older.rerank(model="judge", query=query, documents=documents, top_n=5, return_documents=True).results
        if [one.index for one in first] != [one.index for one in given[:5]]:
            wrong.append(f"{query[:40]}: others are the best five")
        if [one.document.text for one in first] != [documents[one.index] for one in first]:
            wrong.append(f"{query[:40]}: other documents")
        answer = post("/v1/rerank", {"query": query, "documents": [{"text": text} for text in documents]})
        if [one["index"] for one in answer["results"]] != [one.index for one in given]:
            wrong.append(f"{query[:40]}: documents as objects")
        if answer["usage"]["total_tokens"] != sum(count for _, count in expected):
            wrong.append(f"{query[:40]}: {answer['usage']} instead of {sum(count for _, count in expected)} tokens")
    return 3 * len(documents)


compared = {"TextClassification": classify, "ZeroShot": zero_shot, "Rerank": rerank}[task]()
print(json.dumps({"compared": compared, "wrong": wrong[:10], "worst": worst}))
