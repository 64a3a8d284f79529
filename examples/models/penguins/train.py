"""Trains two classifiers of penguins from columns of numbers and of words: a logistic regression that takes the words themselves, each
column as an input of its own, then a random forest that takes one matrix with a number for each word.

Reads penguins.csv (K. B. Gorman et al., 2014; A. M. Horst et al., 2020, CC0), in which values are missing. Writes 1.onnx and 2.onnx,
and beside each the answers that scikit-learn itself gives for rows with missing values and with words that it has never seen. Run it
with the packages of ../requirements.txt.
"""

import csv
import json
import random
from pathlib import Path

import numpy as np
from skl2onnx import convert_sklearn
from skl2onnx.common.data_types import FloatTensorType, StringTensorType
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

here = Path(__file__).parent
numbers = ["bill_length_mm", "bill_depth_mm", "flipper_length_mm", "body_mass_g"]
words = {"island": ["Biscoe", "Dream", "Torgersen"], "sex": ["female", "male"]}
columns = [*numbers, *words]
with open(here / "penguins.csv", newline="") as file:
    table = list(csv.DictReader(file))
rows = [
    [None if row[name] == "" and name in numbers else float(row[name]) if name in numbers else row[name] for name in columns]
    for row in table
]
species = np.array([row["species"] for row in table])
train, test, train_species, test_species = train_test_split(rows, species, test_size=80, random_state=1, stratify=species)

chosen = random.Random(1)
asked = [list(row) for row in rows[:180]] + [
    [
        *(None if chosen.random() < 0.2 else round(chosen.uniform(0.2, 1.8) * (45, 17, 200, 4200)[at], 1) for at in range(4)),
        chosen.choice([*words["island"], "Anvers"]),
        chosen.choice([*words["sex"], ""]),
    ]
    for _ in range(60)
]


def floats(table: list[list], count: int) -> np.ndarray:
    return np.array([[np.nan if value is None else value for value in row[:count]] for row in table], dtype=np.float32)


def as_words(table: list[list]) -> np.ndarray:
    return np.concatenate([floats(table, 4).astype(object), np.array([row[4:] for row in table], dtype=object)], axis=1)


def as_codes(table: list[list]) -> np.ndarray:
    codes = [[known.index(word) if word in known else None for word, known in zip(row[4:], words.values())] for row in table]
    return floats([[*row[:4], *code] for row, code in zip(table, codes)], 6)


by_words = make_pipeline(
    ColumnTransformer(
        [
            ("numbers", make_pipeline(SimpleImputer(), StandardScaler()), [0, 1, 2, 3]),
            ("words", OneHotEncoder(handle_unknown="ignore"), [4, 5]),
        ]
    ),
    LogisticRegression(C=0.5, max_iter=1000),
)
by_codes = make_pipeline(
    SimpleImputer(strategy="most_frequent"), RandomForestClassifier(n_estimators=12, max_depth=4, random_state=1)
)
inputs = [(name, FloatTensorType([None, 1]) if name in numbers else StringTensorType([None, 1])) for name in columns]
for version, model, form, types in [
    ("1", by_words, as_words, inputs),
    ("2", by_codes, as_codes, [("rows", FloatTensorType([None, 6]))]),
]:
    model.fit(form(train), train_species)
    print(f"version {version}: accuracy {model.score(form(test), test_species):.3f} on 80 rows that it was not trained on")
    converted = convert_sklearn(model, initial_types=types, options={"zipmap": False}, target_opset=17)
    (here / f"{version}.onnx").write_bytes(converted.SerializeToString())
    # What was never seen has no number: version 2 is asked with none.
    rows_asked = asked if version == "1" else [[*row[:4], *(w if w in k else None for w, k in zip(row[4:], words.values()))] for row in asked]
    answers = {
        "columns": columns,
        "rows": rows_asked,
        "outputs": {
            "label": model.predict(form(asked)).tolist(),
            "probabilities": model.predict_proba(form(asked)).tolist(),
        },
    }
    (here / f"{version}.answers.json").write_text(json.dumps(answers) + "\n")
