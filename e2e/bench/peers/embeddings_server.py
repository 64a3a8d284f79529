"""OpenAI's /v1/embeddings as people write it: FastAPI on uvicorn with uvloop, tokenizers, onnxruntime, the mean of the tokens."""

import os
import pathlib

import numpy
import onnxruntime
import orjson
import uvicorn
from fastapi import FastAPI, Request, Response
from tokenizers import Tokenizer

model = pathlib.Path(os.environ["MODEL_FILE"])
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
options.inter_op_num_threads = 1
session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
names = [each.name for each in session.get_inputs()]
output = next(each.name for each in session.get_outputs() if len(each.shape) == 3)
tokenizer = Tokenizer.from_file(str(model.parent / "tokenizer.json"))
tokenizer.enable_truncation(int(os.environ["MOST_TOKENS"]))
tokenizer.enable_padding()
app = FastAPI()


@app.get("/ready")
async def ready():
    return Response()


@app.post("/v1/embeddings")
async def embed(request: Request):
    asked = orjson.loads(await request.body())
    encodings = tokenizer.encode_batch(asked["input"])
    mask = numpy.array([each.attention_mask for each in encodings], numpy.int64)
    given = {
        "input_ids": numpy.array([each.ids for each in encodings], numpy.int64),
        "attention_mask": mask,
        "token_type_ids": numpy.zeros_like(mask),
    }
    (tokens,) = session.run([output], {name: given[name] for name in names})
    shares = mask[:, :, None].astype(numpy.float32)
    vectors = (tokens * shares).sum(axis=1) / shares.sum(axis=1)
    vectors /= numpy.linalg.norm(vectors, axis=1, keepdims=True)
    count = int(mask.sum())
    data = [{"object": "embedding", "index": at, "embedding": vector} for at, vector in enumerate(vectors)]
    answer = {
        "object": "list",
        "data": data,
        "model": asked["model"],
        "usage": {"prompt_tokens": count, "total_tokens": count},
    }
    return Response(orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY), media_type="application/json")


uvicorn.run(
    app, host="127.0.0.1", port=int(os.environ["PORT"]), loop="uvloop", http="httptools", access_log=False, log_level="error"
)
