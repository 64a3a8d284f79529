"""Makes the tokenizers and the encoder that tests of texts use: pip install tokenizers==0.23.3 onnx==1.22.0"""

import pathlib

import numpy
import onnx
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

here = pathlib.Path(__file__).parent
corpus = [
    "The quick brown fox jumps over the lazy dog, and a model answers what it is asked.",
    "Slipways carry ships to the water; a slip is a way, and carrying is careful work.",
    "Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich.",
    "Portez ce vieux whisky au juge blond qui fume, garçon: naïve façade, élève.",
    "Съешь же ещё этих мягких французских булок, да выпей чаю.",
    "模型回答问题，速度很快。日本語の文章もあります。",
    "numbers 0 1 2 3 4 5 6 7 8 9 10 100 3.14 -2 1e9; code: f(x) = x * (y + z) / w",
    "loading loader loaded loads reload unload overload underload; serving server served serves",
] * 4


def save(name: str, tokenizer: Tokenizer, first: str, last: str, length: int | None) -> int:
    ids = [(token, tokenizer.token_to_id(token)) for token in (first, last)]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{first} $A {last}", pair=f"{first} $A {last} $B:1 {last}:1", special_tokens=ids
    )
    if length is not None:
        tokenizer.enable_truncation(length)
        tokenizer.enable_padding(pad_id=tokenizer.token_to_id("[PAD]"), pad_token="[PAD]")
    folder = here / name
    folder.mkdir(exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
    return tokenizer.get_vocab_size()


special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]

wordpiece = Tokenizer(models.WordPiece(unk_token="[UNK]"))
wordpiece.normalizer = normalizers.BertNormalizer(lowercase=True)
wordpiece.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
wordpiece.train_from_iterator(corpus, trainers.WordPieceTrainer(vocab_size=420, special_tokens=special))

bpe = Tokenizer(models.BPE())
bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
bpe.train_from_iterator(
    corpus,
    trainers.BpeTrainer(
        vocab_size=420, special_tokens=special, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    ),
)

unigram = Tokenizer(models.Unigram())
unigram.normalizer = normalizers.Sequence([normalizers.NFKC()])
unigram.pre_tokenizer = pre_tokenizers.Metaspace()
unigram.train_from_iterator(
    corpus, trainers.UnigramTrainer(vocab_size=420, special_tokens=special, unk_token="[UNK]")
)

size = max(
    save("wordpiece", wordpiece, "[CLS]", "[SEP]", 24),
    save("bpe", bpe, "[CLS]", "[SEP]", None),
    save("unigram", unigram, "[CLS]", "[SEP]", 24),
)

# Each token's vector, half of the mean of all that the mask counts, and something of its type and place: whoever masks or pads
# wrongly gets other vectors.
random = numpy.random.default_rng(7)
width = 16
table = numpy_helper.from_array(random.normal(size=(size, width)).astype(numpy.float32), "table")
types = numpy_helper.from_array(random.normal(size=(2, width)).astype(numpy.float32), "types")
half = numpy_helper.from_array(numpy.array(0.5, dtype=numpy.float32), "half")
axis = numpy_helper.from_array(numpy.array([1], dtype=numpy.int64), "axis")
last = numpy_helper.from_array(numpy.array([2], dtype=numpy.int64), "last")
mixing = [
    helper.make_node("Gather", ["table", "input_ids"], ["tokens"]),
    helper.make_node("Gather", ["types", "token_type_ids"], ["kinds"]),
    helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
    helper.make_node("Unsqueeze", ["mask", "last"], ["weights"]),
    helper.make_node("Mul", ["tokens", "weights"], ["counted"]),
    helper.make_node("ReduceSum", ["counted", "axis"], ["sum"]),
    helper.make_node("ReduceSum", ["weights", "axis"], ["count"]),
    helper.make_node("Div", ["sum", "count"], ["mean"]),
    helper.make_node("Mul", ["mean", "half"], ["context"]),
    helper.make_node("Add", ["tokens", "context"], ["mixed"]),
    helper.make_node("Add", ["mixed", "kinds"], ["last_hidden_state"]),
]
inputs = [
    helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "length"])
    for name in ("input_ids", "attention_mask", "token_type_ids")
]


def write(path: str, nodes: list, output, constants: list) -> None:
    graph = helper.make_graph(nodes, "encoder", inputs, [output], [table, types, half, axis, last, *constants])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    (here / path).parent.mkdir(exist_ok=True)
    onnx.save(model, here / path)


write(
    "onnx/model.onnx",
    mixing,
    helper.make_tensor_value_info("last_hidden_state", TensorProto.FLOAT, ["batch", "length", width]),
    [],
)

# What a token is to its type decides, so that it matters which of two texts a token is of.
for name, labels in {"classifier": 3, "reranker": 1}.items():
    head = numpy_helper.from_array(random.normal(size=(width, labels)).astype(numpy.float32), "head")
    write(
        f"onnx/{name}.onnx",
        [
            *mixing,
            helper.make_node("Tanh", ["last_hidden_state"], ["bent"]),
            helper.make_node("Mul", ["bent", "weights"], ["kept"]),
            helper.make_node("ReduceSum", ["kept", "axis"], ["total"], keepdims=0),
            helper.make_node("Squeeze", ["count", "axis"], ["counts"]),
            helper.make_node("Div", ["total", "counts"], ["pooled"]),
            helper.make_node("MatMul", ["pooled", "head"], ["logits"]),
        ],
        helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", labels]),
        [head],
    )

# A label for each token.
head = numpy_helper.from_array(random.normal(size=(width, 5)).astype(numpy.float32), "head")
write(
    "onnx/tagger.onnx",
    [
        *mixing,
        helper.make_node("Tanh", ["last_hidden_state"], ["bent"]),
        helper.make_node("MatMul", ["bent", "head"], ["logits"]),
    ],
    helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", "length", 5]),
    [head],
)
