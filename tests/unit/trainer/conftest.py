"""Models and data that several tests learn with."""

from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Sums come out the same each time."""
    import torch

    before = torch.get_num_threads()
    deterministic = torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
    torch.use_deterministic_algorithms(deterministic)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from support.tiny_models import tiny_sentence_encoder

    return tiny_sentence_encoder(tmp_path_factory.mktemp("models") / "encoder")


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from support.tiny_models import tiny_llama

    return tiny_llama(tmp_path_factory.mktemp("models") / "llama")


@pytest.fixture
def topic_data(tmp_path: Path) -> Path:
    from support.training import topics, write_rows

    return write_rows(tmp_path / "data", train=topics(96), test=topics(120)[96:])
