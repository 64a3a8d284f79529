"""A service of BentoML, whose parameter and result are the Open Inference Protocol's as they stand."""

from typing import Any

import bentoml
from session import open_session, run


@bentoml.service(workers=1, logging={"access": {"enabled": False}})
class OnnxRuntime:
    def __init__(self):
        self._session = open_session()

    @bentoml.api(route="/v2/models/model/infer")
    async def infer(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        outputs = run(self._session, inputs)
        listed = [{**output, "shape": list(output["shape"]), "data": output["data"].tolist()} for output in outputs]
        return {"model_name": "model", "model_version": "1", "outputs": listed}
