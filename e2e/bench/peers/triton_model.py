"""A model of Triton's Python backend."""

import triton_python_backend_utils as triton
from session import open_session

triton_types = {"tensor(float)": "TYPE_FP32", "tensor(int64)": "TYPE_INT64"}


def described(tensors):
    return [
        {
            "name": tensor.name,
            "data_type": triton_types[tensor.type],
            "dims": [size if isinstance(size, int) else -1 for size in tensor.shape],
        }
        for tensor in tensors
    ]


class TritonPythonModel:
    @staticmethod
    def auto_complete_config(config):
        session = open_session()
        config.set_max_batch_size(0)
        for tensor in described(session.get_inputs()):
            config.add_input(tensor)
        for tensor in described(session.get_outputs()):
            config.add_output(tensor)
        return config

    def initialize(self, args):
        self._session = open_session()
        self._inputs = [tensor.name for tensor in self._session.get_inputs()]
        self._outputs = [tensor.name for tensor in self._session.get_outputs()]

    def execute(self, requests):
        return [self._answer(request) for request in requests]

    def _answer(self, request):
        feeds = {name: triton.get_input_tensor_by_name(request, name).as_numpy() for name in self._inputs}
        values = self._session.run(self._outputs, feeds)
        return triton.InferenceResponse([triton.Tensor(name, value) for name, value in zip(self._outputs, values)])
