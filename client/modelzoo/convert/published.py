"""The weights that torchvision publishes: their names, which end in the first digits of their SHA-256."""

from collections.abc import Mapping
from pathlib import Path

from modelzoo.convert.download import Digest, Remote, fetch, size_of
from modelzoo.errors import InvalidArgument
from modelzoo.progress import Progress

__all__ = ["TORCHVISION_FILES", "TORCHVISION_URL", "fetch_torchvision"]

TORCHVISION_URL = "https://download.pytorch.org/models"
FILE_BYTES_MAX = 4 << 30  # its largest has half of that
# Those called IMAGENET1K_V1 in torchvision/models/alexnet.py and resnet.py.
TORCHVISION_FILES = {
    "alexnet": "alexnet-owt-7be5be79.pth",
    "resnet18": "resnet18-f37072fd.pth",
    "resnet34": "resnet34-b627a593.pth",
    "resnet50": "resnet50-0676ba61.pth",
    "resnet101": "resnet101-63fe2227.pth",
    "resnet152": "resnet152-394f9c45.pth",
}


def fetch_torchvision(
    arch: str,
    folder: Path,
    progress: Progress,
    *,
    base_url: str = TORCHVISION_URL,
    files: Mapping[str, str] = TORCHVISION_FILES,
) -> Path:
    """Leave the published state dict of `arch` in `folder` under its published name, and say where.

    Raises CHECKPOINT_UNSUPPORTED for an architecture without one here, and what `fetch` does.
    """
    name = files.get(arch)
    if name is None:
        raise InvalidArgument(
            "CHECKPOINT_UNSUPPORTED",
            f"No published weights are known for {arch[:80]!a}, only for {', '.join(files)}; "
            "download them, and name the file after the architecture.",
        )
    digits = name.removesuffix(".pth").rpartition("-")[2]
    remote = Remote(f"{base_url.rstrip('/')}/{name}", Digest("sha256", digits), at_most=FILE_BYTES_MAX)
    target = folder / name
    progress.start(target.stat().st_size if target.exists() else size_of(remote.url))
    fetch(remote, target, progress)
    return target
