"""The two sides of a diff: versions of the zoo, or local directories."""

import os
from dataclasses import replace
from typing import TYPE_CHECKING

import grpc

from modelzoo import config
from modelzoo.file_bytes import FileBytes, local_directory, scanned, stored
from modelzoo.progress import Progress
from modelzoo.records import Version
from modelzoo.tree import read_tree
from modelzoo.version_diff import Diff, compare, metric_changes

if TYPE_CHECKING:
    from modelzoo.client import Client

__all__ = ["diff_sides"]

Name = str | os.PathLike[str]


def diff_sides(
    client: "Client", channel: grpc.Channel, sides: tuple[Name, Name], *, norms: bool | None, progress: Progress | None
) -> Diff:
    """As `Client.diff`."""
    directories = [local_directory(side) for side in sides]
    trees = [None if directory is None else read_tree(directory) for directory in directories]
    scanned_bytes = sum(tree.size_bytes for tree in trees if tree)
    if progress is not None:
        progress.start(scanned_bytes)
    files: list[FileBytes] = []
    versions: list[Version | None] = []
    for side, tree in zip(sides, trees, strict=True):
        if tree is None:
            version = client.version(str(side))
            versions.append(version)
            files.append(stored(channel, version))
        else:
            versions.append(None)
            files.append(scanned(tree, config.cache_config().root, progress))
    names = _named(sides[0], versions[0]), _named(sides[1], versions[1])
    found = compare(files[0], files[1], names, norms=norms, progress=progress, scanned_bytes=scanned_bytes)
    before, after = (version.metrics if version else () for version in versions)
    return replace(found, metrics=metric_changes(before, after))


def _named(side: Name, version: Version | None) -> str:
    """A version by its number: an alias, or `latest`, means another one tomorrow."""
    return str(side) if version is None else version.reference
