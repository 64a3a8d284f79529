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


def write_detector(name: str, kinds: int, mask: list | None, batch: str | int = "batch") -> None:
    """Five boxes from the means of the colors, and of how much of the mask there is, whatever the picture's size."""
    boxes = 5
    means = [helper.make_node("ReduceMean", ["pixel_values"], ["means"], axes=[2, 3], keepdims=0)]
    taken, width = "means", 3
    inputs = [helper.make_tensor_value_info("pixel_values", TensorProto.FLOAT, [batch, 3, "height", "width"])]
    if mask is not None:
        inputs.append(helper.make_tensor_value_info("pixel_mask", TensorProto.INT64, mask))
        means += [
            helper.make_node("Cast", ["pixel_mask"], ["real"], to=TensorProto.FLOAT),
            helper.make_node("ReduceMean", ["real"], ["masked"], axes=[1, 2], keepdims=0),
            helper.make_node("Unsqueeze", ["masked", "axis"], ["column"]),
            helper.make_node("Concat", ["means", "column"], ["all"], axis=1),
        ]
        taken, width = "all", 4
    weights = {
        "axis": numpy.array([1], numpy.int64),
        "logit_weights": (random.normal(size=(width, boxes * kinds)) * 6).astype(numpy.float32),
        "box_weights": random.normal(size=(width, boxes * 4)).astype(numpy.float32),
        "logit_shape": numpy.array([-1, boxes, kinds], numpy.int64),
        "box_shape": numpy.array([-1, boxes, 4], numpy.int64),
    }
    nodes = [
        *means,
        helper.make_node("MatMul", [taken, "logit_weights"], ["flat_logits"]),
        helper.make_node("Reshape", ["flat_logits", "logit_shape"], ["logits"]),
        helper.make_node("MatMul", [taken, "box_weights"], ["flat_boxes"]),
        helper.make_node("Sigmoid", ["flat_boxes"], ["shares"]),
        helper.make_node("Reshape", ["shares", "box_shape"], ["pred_boxes"]),
    ]
    graph = helper.make_graph(
        nodes,
        "detector",
        inputs,
        [
            helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", boxes, kinds]),
            helper.make_tensor_value_info("pred_boxes", TensorProto.FLOAT, ["batch", boxes, 4]),
        ],
        [numpy_helper.from_array(values, key) for key, values in weights.items() if mask is not None or key != "axis"],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, here / f"{name}.onnx")


write_detector("detector", labels + 1, ["batch", 64, 64])
write_detector("detector-of-each", labels, None)
write_detector("detector-of-two", labels, None, 2)
