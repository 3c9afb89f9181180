"""`python -m benchmarks.pictures_alone MODEL SECONDS < PICTURE`: pictures a second without any server."""

import argparse
import sys
import time
from pathlib import Path

from modelzoo.media.image import decode_image
from modelzoo.tasks.image_classification import ImageClassifier
from modelzoo.tasks.opening import open_task


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pictures_alone", description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("seconds", type=float)
    options = parser.parse_args()
    picture = sys.stdin.buffer.read()
    model = open_task(options.model)
    assert isinstance(model, ImageClassifier)
    classified = 0
    started = time.monotonic()
    while (lasted := time.monotonic() - started) < options.seconds or not classified:
        model.compute([model.prepare(decode_image(picture))])
        classified += 1
    print(classified / lasted)


if __name__ == "__main__":
    main()
