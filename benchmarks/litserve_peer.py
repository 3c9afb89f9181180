"""`python -m benchmarks.litserve_peer MODEL PORT`: the picture classifier behind LitServe."""

import argparse
import base64
from pathlib import Path
from typing import Any

import litserve
import torch

from modelzoo.media.image import decode_image
from modelzoo.tasks.image_classification import ImageClassifier
from modelzoo.tasks.opening import open_task

THREADS = 2


class Classifier(litserve.LitAPI):
    """A picture as base64 in JSON to its five best labels."""

    def __init__(self, folder: Path) -> None:
        super().__init__(max_batch_size=16, batch_timeout=0.002)
        self._folder = folder

    def setup(self, device: str) -> None:
        torch.set_num_threads(THREADS)
        model = open_task(self._folder)
        assert isinstance(model, ImageClassifier)
        self._model = model

    def decode_request(self, request: dict[str, str]) -> torch.Tensor:
        return self._model.prepare(decode_image(base64.b64decode(request["image"])))

    def batch(self, inputs: list[torch.Tensor]) -> list[torch.Tensor]:
        return inputs

    def predict(self, batch: list[torch.Tensor]) -> list[list[float]]:
        return self._model.compute(batch)

    def unbatch(self, output: list[list[float]]) -> list[list[float]]:
        return output

    def encode_response(self, output: list[float]) -> dict[str, Any]:
        return {"labels": [(label.label, label.score) for label in self._model.labels.rank(output, 5)]}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.litserve_peer", description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("port", type=int)
    options = parser.parse_args()
    server = litserve.LitServer(Classifier(options.model), accelerator="cpu", timeout=120, track_requests=False)
    server.run(host="127.0.0.1", port=options.port, generate_client_file=False, log_level="warning")


if __name__ == "__main__":
    main()
