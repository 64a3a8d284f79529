"""A custom runtime of MLServer."""

from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse
from session import open_session


class OnnxRuntime(MLModel):
    async def load(self) -> bool:
        self._session = open_session()
        self._names = [output.name for output in self._session.get_outputs()]
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        feeds = {tensor.name: NumpyCodec.decode_input(tensor) for tensor in payload.inputs}
        values = self._session.run(self._names, feeds)
        outputs = [NumpyCodec.encode_output(name, value) for name, value in zip(self._names, values)]
        return InferenceResponse(model_name=self.name, model_version=self.version, outputs=outputs)
