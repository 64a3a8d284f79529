"""A custom model of KServe's Python server."""

import logging
import os

from kserve import InferOutput, InferRequest, InferResponse, Model, ModelServer
from kserve.utils.utils import generate_uuid
from session import open_session, protocol_types


class OnnxRuntime(Model):
    def load(self):
        self._session = open_session()
        self._names = [output.name for output in self._session.get_outputs()]
        self.ready = True
        return self.ready

    def predict(self, payload: InferRequest, headers=None, response_headers=None) -> InferResponse:
        feeds = {tensor.name: tensor.as_numpy() for tensor in payload.inputs}
        outputs = []
        for name, value in zip(self._names, self._session.run(self._names, feeds)):
            output = InferOutput(name, list(value.shape), protocol_types[value.dtype.name])
            output.set_data_from_numpy(value, binary_data=payload.from_grpc)
            outputs.append(output)
        return InferResponse(payload.id or generate_uuid(), self.name, outputs)


model = OnnxRuntime("model")
model.load()
server = ModelServer(
    http_port=int(os.environ["PORT"]),
    grpc_port=int(os.environ["GRPC_PORT"]),
    workers=1,
    enable_latency_logging=False,
)
for name in ("uvicorn.access", "kserve.trace"):
    logging.getLogger(name).disabled = True
server.start([model])
