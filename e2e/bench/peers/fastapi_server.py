"""FastAPI on uvicorn with uvloop and httptools; the body is read by orjson and not by pydantic."""

import os

import uvicorn
from fastapi import FastAPI, Request, Response
from open_inference import answer
from session import open_session

app = FastAPI()
session = open_session()


@app.get("/v2/health/ready")
async def ready():
    return Response()


@app.post("/v2/models/model/infer")
async def infer(request: Request):
    header_length = request.headers.get("inference-header-content-length")
    return Response(answer(session, await request.body(), header_length), media_type="application/json")


uvicorn.run(
    app,
    host="127.0.0.1",
    port=int(os.environ["PORT"]),
    loop="uvloop",
    http="httptools",
    access_log=False,
    log_level="error",
)
