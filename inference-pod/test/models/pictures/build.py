"""Makes the classifiers that tests of pictures use: pip install onnx==1.22.0 numpy==2.4.6"""

import pathlib

import numpy
import onnx
from onnx import TensorProto, helper, numpy_helper

here = pathlib.Path(__file__).parent
random = numpy.random.default_rng(5)
labels = 7


def write(name: str, shape: list, is_color_first: bool) -> None:
    # The mean of each patch of 4 x 4, each weighed by itself: whoever turns, cuts or swaps colors gets other numbers.
    height, width = (shape[2], shape[3]) if is_color_first else (shape[1], shape[2])
    size = 3 * (height // 4) * (width // 4)
    weights = numpy_helper.from_array((random.normal(size=(size, labels)) / size**0.5).astype(numpy.float32), "weights")
    first = [] if is_color_first else [helper.make_node("Transpose", ["pixels"], ["turned"], perm=[0, 3, 1, 2])]
    nodes = [
        *first,
        helper.make_node(
            "AveragePool", ["pixels" if is_color_first else "turned"], ["pooled"], kernel_shape=[4, 4], strides=[4, 4]
        ),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weights"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "classifier",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [shape[0], labels])],
        [weights],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, here / f"{name}.onnx")


write("first", ["batch", 3, 32, 32], True)
write("last", ["batch", 24, 40, 3], False)
write("one", [1, 3, 32, 32], True)
