"""Models trained with scikit-learn on the data sets that it ships, and converted as its users convert theirs."""

import re
import warnings

import numpy as np
import sklearn
from real_model import RealModel
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType, Int64TensorType, StringTensorType
from sklearn.cluster import KMeans
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_iris, load_linnerud, load_wine
from sklearn.decomposition import PCA
from sklearn.ensemble import (
    GradientBoostingClassifier,
    HistGradientBoostingRegressor,
    IsolationForest,
    RandomForestClassifier,
    VotingClassifier,
)
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.multioutput import MultiOutputClassifier, MultiOutputRegressor
from sklearn.naive_bayes import GaussianNB, MultinomialNB
from sklearn.neighbors import KNeighborsClassifier, NearestNeighbors
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

float32, float64, int64 = np.float32, np.float64, np.int64


def trained():
    warnings.simplefilter("ignore")
    for make in (numbers, whole_numbers, texts, columns):
        for name, kind, model, types, options, requests in make():
            onnx = to_onnx(model, initial_types=types, options=options, target_opset={"": 21, "ai.onnx.ml": 3})
            yield RealModel(name, kind, f"scikit-learn {sklearn.__version__}", onnx.SerializeToString(), requests)


def of_rows(rows, dtype=float32):
    """The types of one input `X` of free length, and what is asked: one row, and seven."""
    types = {float32: FloatTensorType, int64: Int64TensorType}
    if dtype is float64:
        from skl2onnx.common.data_types import DoubleTensorType

        types[float64] = DoubleTensorType
    data = np.asarray(rows, dtype)
    return [("X", types[dtype]([None, data.shape[1]]))], [{"X": data[:1]}, {"X": data[::20][:7]}]


def numbers():
    for name, kind, model, (rows, target), array in [
        ("iris-logistic", "float", LogisticRegression(max_iter=500), load_iris(return_X_y=True), True),
        ("iris-maps", "float, an output of maps", LogisticRegression(max_iter=500), load_iris(return_X_y=True), False),
        ("iris-species", "float, string labels", GaussianNB(), of_names(load_iris()), True),
        ("iris-clusters", "float", KMeans(3, random_state=1, n_init=2), load_iris(return_X_y=True), None),
        ("iris-neighbours", "float, int64 and float out", NearestNeighbors(n_neighbors=4, radius=None), load_iris(return_X_y=True), None),
        ("wine-forest", "float, pipeline", make_pipeline(StandardScaler(), RandomForestClassifier(40, random_state=1)), load_wine(return_X_y=True), True),
        ("wine-vectors", "float, pipeline", make_pipeline(StandardScaler(), SVC(probability=True, random_state=1)), load_wine(return_X_y=True), True),
        ("wine-outliers", "float, anomaly", IsolationForest(n_estimators=30, random_state=1), load_wine(return_X_y=True), None),
        ("digits-network", "image", make_pipeline(StandardScaler(), MLPClassifier((64,), max_iter=40, random_state=1)), load_digits(return_X_y=True), True),
        ("digits-neighbours", "image", KNeighborsClassifier(3), tuple(part[:300] for part in load_digits(return_X_y=True)), True),
        ("digits-components", "image, reduced", PCA(8, random_state=1), load_digits(return_X_y=True), None),
        ("cancer-boosting", "float", GradientBoostingClassifier(n_estimators=30, random_state=1), load_breast_cancer(return_X_y=True), True),
        ("cancer-vote", "float, ensemble", VotingClassifier([("a", GaussianNB()), ("b", DecisionTreeClassifier(max_depth=4))], voting="soft", flatten_transform=False), load_breast_cancer(return_X_y=True), True),
        ("diabetes-boosting", "float, regression", HistGradientBoostingRegressor(max_iter=40, random_state=1), load_diabetes(return_X_y=True), None),
        ("linnerud-targets", "float, three targets", MultiOutputRegressor(LinearRegression()), load_linnerud(return_X_y=True), None),
    ]:
        types, requests = of_rows(rows)
        options = None if array is None else {"zipmap": array is False}
        yield name, kind, model.fit(rows, target), types, options, requests
    yield from unusual_numbers()


def unusual_numbers():
    rows, target = load_diabetes(return_X_y=True)
    types, requests = of_rows(rows, float64)
    yield "diabetes-double", "double", LinearRegression().fit(rows, target), types, None, requests
    process = GaussianProcessRegressor(alpha=1.0).fit(rows[:80], target[:80])
    yield "diabetes-process", "double, two outputs", process, types, {GaussianProcessRegressor: {"return_std": True}}, requests

    rows, target = load_breast_cancer(return_X_y=True)
    holes = rows.copy()
    holes[::3, ::4] = np.nan
    types, requests = of_rows(holes)
    model = make_pipeline(SimpleImputer(), StandardScaler(), LogisticRegression()).fit(holes, target)
    yield "cancer-with-holes", "float with NaN", model, types, {"zipmap": False}, requests

    rows, target = load_digits(return_X_y=True)
    several = np.stack([target % 2, target > 4, target % 3], axis=1)
    types, requests = of_rows(rows)
    model = MultiOutputClassifier(DecisionTreeClassifier(max_depth=5, random_state=1)).fit(rows, several)
    yield "digits-traits", "image, three labels", model, types, {"zipmap": False}, requests


def of_names(data):
    return data.data, data.target_names[data.target]


def whole_numbers():
    rows, target = load_digits(return_X_y=True)
    types, requests = of_rows(rows, int64)
    for name, model in [
        ("digits-tree", DecisionTreeClassifier(max_depth=8, random_state=1)),
        ("digits-counts", MultinomialNB()),
    ]:
        yield name, "image, int64", model.fit(rows, target), types, {"zipmap": False}, requests


def sentences():
    """What scikit-learn says of its data sets, sentence by sentence, and which set each is about."""
    texts, names = [], []
    for load in (load_breast_cancer, load_diabetes, load_digits, load_iris, load_linnerud, load_wine):
        for sentence in re.split(r"[.:]\s+", load().DESCR):
            texts.append(" ".join(sentence.split()))
            names.append(load.__name__.removeprefix("load_"))
    return np.array(texts, object), np.array(names)


def texts():
    words, names = sentences()
    types = [("text", StringTensorType([None, 1]))]
    asked = np.array([["petals and sepals of iris plants"], ["Größe, naïveté, 葡萄酒"], [""], [words[3]], ["alcohol\tof 13 % 🍷"]], object)
    requests = [{"text": asked[:1]}, {"text": asked}]
    model = make_pipeline(TfidfVectorizer(), LogisticRegression(max_iter=500)).fit(words, names)
    yield "text-topic", "strings in and out", model, types, {"zipmap": False}, requests
    model = make_pipeline(CountVectorizer(analyzer="char", ngram_range=(2, 3), max_features=400), MultinomialNB()).fit(words, names)
    yield "text-letters", "strings in and out", model, types, {"zipmap": False}, requests


def columns():
    data = load_wine()
    species = of_names(data)[1]
    strength = np.where(data.data[:, 0] > 13, "strong", "light").astype(object)
    hue = np.where(data.data[:, 10] > 1, "violett, groß", "red").astype(object)
    proline = data.data[:, 12].astype(int64)
    words = np.stack([strength, hue], axis=1)
    model = make_pipeline(OneHotEncoder(handle_unknown="ignore"), LogisticRegression()).fit(words, species)
    types = [("words", StringTensorType([None, 2]))]
    asked = np.array([["strong", "red"], ["light", "violett, groß"], ["unknown", ""]], object)
    yield "wine-words", "strings in two columns", model, types, {"zipmap": False}, [{"words": asked}]

    table = np.empty((len(proline), 4), object)
    table[:, 0], table[:, 1], table[:, 2], table[:, 3] = strength, hue, data.data[:, 0], proline
    each = ColumnTransformer([("words", OneHotEncoder(handle_unknown="ignore"), [0, 1]), ("sizes", StandardScaler(), [2, 3])])
    model = make_pipeline(each, LogisticRegression()).fit(table, species)
    types = [
        ("strength", StringTensorType([None, 1])),
        ("hue", StringTensorType([None, 1])),
        ("alcohol", FloatTensorType([None, 1])),
        ("proline", Int64TensorType([None, 1])),
    ]
    asked = {
        "strength": strength[:5].reshape(5, 1),
        "hue": hue[:5].reshape(5, 1),
        "alcohol": data.data[:5, :1].astype(float32),
        "proline": proline[:5].reshape(5, 1),
    }
    yield "wine-table", "string, float and int64 inputs", model, types, {"zipmap": False}, [asked]

    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(data.data, species)
    names = [re.sub(r"\W+", "_", name) for name in data.feature_names]
    types = [(name, FloatTensorType([None, 1])) for name in names]
    asked = {name: data.data[:4, [column]].astype(float32) for column, name in enumerate(names)}
    yield "wine-measures", "float, thirteen inputs", model, types, {"zipmap": False}, [asked]
