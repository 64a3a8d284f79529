"""Flask, for gunicorn."""

from flask import Flask, Response, request
from open_inference import answer
from session import open_session

app = Flask(__name__)
session = open_session()


@app.get("/v2/health/ready")
def ready():
    return Response()


@app.post("/v2/models/model/infer")
def infer():
    header_length = request.headers.get("inference-header-content-length")
    return Response(answer(session, request.get_data(), header_length), mimetype="application/json")
