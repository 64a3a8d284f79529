"""Builds the models that only tests need. Run it with the packages of examples/models/requirements.txt.

types.onnx    hands every input on, one for each data type that the protocol and ONNX share
slow.onnx     multiplies a matrix as often as it is told, so that a test can make it take half a second
slow-rows.onnx does the same for rows, all of them as often as the row that is told the most
nan.onnx      the logarithm of its input
zipmap.onnx   a scikit-learn classifier converted with ZipMap: one of its outputs is no tensor
gather.onnx   looks up rows of a table of four
wide.onnx     answers with as many numbers as it is told
average.onnx  the mean of each channel of an image, as large as those that models take
anyrank.onnx  hands on a tensor of any shape, and adds a scalar
bfloat16.onnx takes a type that the protocol does not have
offset.onnx   looks up rows 10 to 13 of a table of four: it refuses zeros
greedy.onnx   wants more memory for each run than there can be
echo.onnx     hands its input on, by operators that would not have to copy it
through.onnx  has its input among its outputs
external.onnx  adds four numbers, which lie in the file beside it that torch and tensorflow put such in
nested.onnx    the same, of a folder beside it, and in a graph within an operator
outside.onnx   has its numbers in a file outside of its folder
iris-slow.onnx    takes and gives what the iris example does, in tens of milliseconds
iris-failing.onnx takes and gives what the iris example does, and fails: it wants more memory than there can be
"""

from pathlib import Path

import numpy as np
from onnx import TensorProto, checker, helper, numpy_helper
from skl2onnx import to_onnx
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

here = Path(__file__).parent
info = helper.make_tensor_value_info


def save(name, graph, is_checked=True):
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    if is_checked:
        checker.check_model(model)
    (here / f"{name}.onnx").write_bytes(model.SerializeToString())


types = {
    "BOOL": TensorProto.BOOL,
    "UINT8": TensorProto.UINT8,
    "UINT16": TensorProto.UINT16,
    "UINT32": TensorProto.UINT32,
    "UINT64": TensorProto.UINT64,
    "INT8": TensorProto.INT8,
    "INT16": TensorProto.INT16,
    "INT32": TensorProto.INT32,
    "INT64": TensorProto.INT64,
    "FP16": TensorProto.FLOAT16,
    "FP32": TensorProto.FLOAT,
    "FP64": TensorProto.DOUBLE,
    "BYTES": TensorProto.STRING,
}
save(
    "types",
    helper.make_graph(
        [helper.make_node("Identity", [name], [f"{name}_out"]) for name in types],
        "types",
        [info(name, kind, ["rows", 2]) for name, kind in types.items()],
        [info(f"{name}_out", kind, ["rows", 2]) for name, kind in types.items()],
    ),
)

size = 128
body = helper.make_graph(
    [
        helper.make_node("MatMul", ["matrix_in", "factor"], ["matrix_out"]),
        helper.make_node("Identity", ["condition_in"], ["condition_out"]),
    ],
    "body",
    [
        info("iteration", TensorProto.INT64, []),
        info("condition_in", TensorProto.BOOL, []),
        info("matrix_in", TensorProto.FLOAT, [size, size]),
    ],
    [info("condition_out", TensorProto.BOOL, []), info("matrix_out", TensorProto.FLOAT, [size, size])],
    [numpy_helper.from_array(np.eye(size, dtype=np.float32), "factor")],
)
save(
    "slow",
    helper.make_graph(
        [
            helper.make_node("ConstantOfShape", ["shape"], ["start"]),
            helper.make_node("Loop", ["times", "", "start"], ["matrix"], body=body),
            helper.make_node("ReduceSum", ["matrix"], ["sum"], keepdims=0),
        ],
        "slow",
        [info("times", TensorProto.INT64, [])],
        [info("sum", TensorProto.FLOAT, [])],
        [numpy_helper.from_array(np.array([size, size], dtype=np.int64), "shape")],
    ),
)

save(
    "slow-rows",
    helper.make_graph(
        [
            helper.make_node("ReduceMax", ["times"], ["most"], keepdims=0),
            helper.make_node("ConstantOfShape", ["shape"], ["start"]),
            helper.make_node("Loop", ["most", "", "start"], ["matrix"], body=body),
            helper.make_node("ReduceSum", ["matrix"], ["sum"], keepdims=0),
            helper.make_node("Cast", ["times"], ["floats"], to=TensorProto.FLOAT),
            helper.make_node("Add", ["floats", "sum"], ["y"]),
        ],
        "slow-rows",
        [info("times", TensorProto.INT64, ["n"])],
        [info("y", TensorProto.FLOAT, ["n"])],
        [numpy_helper.from_array(np.array([size, size], dtype=np.int64), "shape")],
    ),
)

save(
    "nan",
    helper.make_graph(
        [helper.make_node("Log", ["x"], ["y"])],
        "nan",
        [info("x", TensorProto.FLOAT, ["n"])],
        [info("y", TensorProto.FLOAT, ["n"])],
    ),
)

save(
    "gather",
    helper.make_graph(
        [helper.make_node("Gather", ["table", "id"], ["row"])],
        "gather",
        [info("id", TensorProto.INT64, ["n"])],
        [info("row", TensorProto.FLOAT, ["n", 2])],
        [numpy_helper.from_array(np.arange(8, dtype=np.float32).reshape(4, 2), "table")],
    ),
)

save(
    "wide",
    helper.make_graph(
        [
            helper.make_node(
                "ConstantOfShape", ["count"], ["zeros"], value=numpy_helper.from_array(np.array([0], dtype=np.float32))
            )
        ],
        "wide",
        [info("count", TensorProto.INT64, [1])],
        [info("zeros", TensorProto.FLOAT, ["n"])],
    ),
)

save(
    "average",
    helper.make_graph(
        [helper.make_node("GlobalAveragePool", ["image"], ["mean"])],
        "average",
        [info("image", TensorProto.FLOAT, ["n", 3, 224, 224])],
        [info("mean", TensorProto.FLOAT, ["n", 3, 1, 1])],
    ),
)

save(
    "bfloat16",
    helper.make_graph(
        [helper.make_node("Cast", ["x"], ["y"], to=TensorProto.FLOAT)],
        "bfloat16",
        [info("x", TensorProto.BFLOAT16, ["n"])],
        [info("y", TensorProto.FLOAT, ["n"])],
    ),
)

save(
    "offset",
    helper.make_graph(
        [
            helper.make_node("Sub", ["id", "first"], ["place"]),
            helper.make_node("Gather", ["table", "place"], ["row"]),
        ],
        "offset",
        [info("id", TensorProto.INT64, ["n"])],
        [info("row", TensorProto.FLOAT, ["n", 2])],
        [
            numpy_helper.from_array(np.arange(8, dtype=np.float32).reshape(4, 2), "table"),
            numpy_helper.from_array(np.array(10, dtype=np.int64), "first"),
        ],
    ),
)

save(
    "greedy",
    helper.make_graph(
        [
            helper.make_node("ConstantOfShape", ["shape"], ["zeros"]),
            helper.make_node("ReduceSum", ["zeros"], ["sum"], keepdims=0),
            helper.make_node("Add", ["sum", "x"], ["y"]),
        ],
        "greedy",
        [info("x", TensorProto.FLOAT, [])],
        [info("y", TensorProto.FLOAT, [])],
        [numpy_helper.from_array(np.array([2**60], dtype=np.int64), "shape")],
    ),
)

rows, labels = load_iris(return_X_y=True)
classifier = LogisticRegression(max_iter=500).fit(rows.astype(np.float32), labels)
converted = to_onnx(classifier, rows[:1].astype(np.float32), target_opset=17)
(here / "zipmap.onnx").write_bytes(converted.SerializeToString())

# Takes half a minute and more to warm up: its loop runs as often as a constant says.
save(
    "slow-start",
    helper.make_graph(
        [
            helper.make_node("ConstantOfShape", ["shape"], ["start"]),
            helper.make_node("Loop", ["times", "", "start"], ["matrix"], body=body),
            helper.make_node("ReduceSum", ["matrix"], ["sum"], keepdims=0),
            helper.make_node("Add", ["sum", "x"], ["y"]),
        ],
        "slow-start",
        [info("x", TensorProto.FLOAT, [])],
        [info("y", TensorProto.FLOAT, [])],
        [
            numpy_helper.from_array(np.array([size, size], dtype=np.int64), "shape"),
            numpy_helper.from_array(np.array(2_000_000, dtype=np.int64), "times"),
        ],
    ),
)

save(
    "anyrank",
    helper.make_graph(
        [helper.make_node("Add", ["x", "offset"], ["y"])],
        "anyrank",
        [info("x", TensorProto.FLOAT, None), info("offset", TensorProto.FLOAT, [])],
        [info("y", TensorProto.FLOAT, None)],
    ),
    # The checker wants shapes, which exporters leave out all the same.
    is_checked=False,
)

save(
    "echo",
    helper.make_graph(
        [helper.make_node("Identity", ["x"], ["copy"]), helper.make_node("Flatten", ["x"], ["flat"], axis=1)],
        "echo",
        [info("x", TensorProto.FLOAT, ["rows", "columns"])],
        [info("copy", TensorProto.FLOAT, ["rows", "columns"]), info("flat", TensorProto.FLOAT, ["rows", "columns"])],
    ),
)

save(
    "through",
    helper.make_graph(
        [helper.make_node("Neg", ["x"], ["negative"])],
        "through",
        [info("x", TensorProto.FLOAT, ["rows", "columns"])],
        [info("negative", TensorProto.FLOAT, ["rows", "columns"]), info("x", TensorProto.FLOAT, ["rows", "columns"])],
    ),
)


def iris_like(name, nodes, initializers):
    """The signature of examples/models/iris; `nodes` make a scalar, `extra`, that is added to the probabilities."""
    save(
        name,
        helper.make_graph(
            [
                *nodes,
                helper.make_node("MatMul", ["X", "weights"], ["scores"]),
                helper.make_node("Add", ["scores", "extra"], ["probabilities"]),
                helper.make_node("ArgMax", ["probabilities"], ["label"], axis=1, keepdims=0),
            ],
            name,
            [info("X", TensorProto.FLOAT, [None, 4])],
            [info("label", TensorProto.INT64, [None]), info("probabilities", TensorProto.FLOAT, [None, 3])],
            [numpy_helper.from_array(np.eye(4, 3, dtype=np.float32), "weights"), *initializers],
        ),
    )


iris_like(
    "iris-slow",
    [
        helper.make_node("ConstantOfShape", ["shape"], ["start"]),
        helper.make_node("Loop", ["times", "", "start"], ["matrix"], body=body),
        helper.make_node("ReduceSum", ["matrix"], ["extra"], keepdims=0),
    ],
    [
        numpy_helper.from_array(np.array([size, size], dtype=np.int64), "shape"),
        numpy_helper.from_array(np.array(1000, dtype=np.int64), "times"),
    ],
)
# Zeros, on which it is warmed up, want nothing.
iris_like(
    "iris-failing",
    [
        helper.make_node("ReduceSum", ["X"], ["sum"], keepdims=0),
        helper.make_node("Mul", ["sum", "much"], ["wanted"]),
        helper.make_node("Cast", ["wanted"], ["elements"], to=TensorProto.INT64),
        helper.make_node("Reshape", ["elements", "one"], ["zeros_shape"]),
        helper.make_node("ConstantOfShape", ["zeros_shape"], ["zeros"]),
        helper.make_node("ReduceSum", ["zeros"], ["extra"], keepdims=0),
    ],
    [
        numpy_helper.from_array(np.array(2**50, dtype=np.float32), "much"),
        numpy_helper.from_array(np.array([1], dtype=np.int64), "one"),
    ],
)


def external(name, locations):
    """Adds 1, 2, 3 and 4 once for each file that those are in; all but the first within an operator."""
    data = np.arange(1, 5, dtype=np.float32)

    def weight(index, location):
        tensor = numpy_helper.from_array(data, f"w{index}")
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in {"location": location, "offset": 0, "length": data.nbytes}.items():
            entry = tensor.external_data.add()
            entry.key, entry.value = key, str(value)
        return tensor

    first, *others = [weight(index, location) for index, location in enumerate(locations)]
    nodes = [helper.make_node("Add", ["x", "w0"], ["y0" if others else "y"])]
    for index, tensor in enumerate(others, 1):
        result = "y" if index == len(others) else f"y{index}"
        branch = helper.make_graph(
            [helper.make_node("Add", [f"y{index - 1}", tensor.name], [f"b{index}"])],
            f"branch{index}",
            [],
            [info(f"b{index}", TensorProto.FLOAT, [4])],
            [tensor],
        )
        other = helper.make_graph(
            [helper.make_node("Identity", [f"y{index - 1}"], [f"e{index}"])],
            f"else{index}",
            [],
            [info(f"e{index}", TensorProto.FLOAT, [4])],
        )
        nodes.append(helper.make_node("If", ["yes"], [result], then_branch=branch, else_branch=other))
    initializers = [first] + ([helper.make_tensor("yes", TensorProto.BOOL, [], [True])] if others else [])
    graph = helper.make_graph(
        nodes, name, [info("x", TensorProto.FLOAT, [4])], [info("y", TensorProto.FLOAT, [4])], initializers
    )
    save(name, graph, is_checked=False)
    for location in locations:
        if not location.startswith(".."):
            (here / location).parent.mkdir(exist_ok=True)
            (here / location).write_bytes(data.tobytes())


external("external", ["external.onnx_data"])
external("nested", ["external.onnx_data", "weights/w 1.bin"])
external("outside", ["../outside.bin"])
