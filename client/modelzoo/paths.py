"""Which relative paths a file of a model may have.

A path that passes can be created below a directory on any file system in use (ext4, APFS, NTFS) without leaving the
directory, naming a device, meeting another file, or being shown as something else than it is. The rules use no tables
that change with the Unicode version, apart from NFC and case folding, which are stable for assigned characters.
"""

import re
import unicodedata
from collections.abc import Iterable

from modelzoo.errors import InvalidArgument

__all__ = ["NAME_BYTES_MAX", "PATH_BYTES_MAX", "check_path", "check_paths"]

PATH_BYTES_MAX = 1024
NAME_BYTES_MAX = 255

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
# What turns the reading direction, and what cannot be seen: U+202E makes `gpj.exe` of `exe.jpg`.
_INVISIBLE = re.compile(r"[\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff\ufff9-\ufffb]")
# NTFS has none of these in names; a colon there opens another stream of the same file, or a drive.
_FOREIGN = re.compile(r'[\\:<>"|?*]')
_DEVICE = re.compile(r"(?:con|prn|aux|nul|conin\$|conout\$|(?:com|lpt)[0-9\u00b9\u00b2\u00b3])", re.IGNORECASE)
_SHOWN_LENGTH_MAX = 120


def check_path(path: str) -> None:
    """Raise PATH_INVALID, naming the path and what is wrong with it, unless it is a safe relative POSIX path."""
    if fault := _fault(path):
        raise InvalidArgument(
            "PATH_INVALID", f"The file path {_shown(path)} {fault}; rename the file.", metadata={"path": _shown(path)}
        )


def check_paths(paths: Iterable[str]) -> None:
    """Raise PATH_INVALID for the first unsafe path; PATH_DUPLICATE where two could not lie in one directory.

    That is: the same path twice, a file that is also a directory, or names of files or directories that differ only
    in case (NFC, case-folded), which some file systems take for one.
    """
    spelled: dict[str, str] = {}
    files: set[str] = set()
    directories: set[str] = set()
    for path in paths:
        check_path(path)
        key = _fold(path)
        if key in files:
            raise _duplicate(path, spelled[key], "are the same path, or differ only in case")
        if key in directories:
            raise _duplicate(path, spelled[key], "are a file and a directory of one name")
        files.add(key)
        spelled[key] = path
        end = path.rfind("/")
        while end > 0:
            directory = path[:end]
            key = _fold(directory)
            if key in files:
                raise _duplicate(path, spelled[key], "are a file and a directory of one name")
            if spelled.setdefault(key, directory) != directory:
                raise _duplicate(directory, spelled[key], "are directories whose names differ only in case")
            directories.add(key)
            end = path.rfind("/", 0, end)


def _fault(path: str) -> str | None:
    try:
        size_bytes = len(path.encode())
    except UnicodeEncodeError:
        return "has a lone surrogate, so it is not Unicode text"
    if not path:
        return "is empty"
    if path.startswith("/"):
        return "is absolute; it must be relative to the model's directory"
    if size_bytes > PATH_BYTES_MAX:
        return f"is {size_bytes} bytes long, over {PATH_BYTES_MAX}"
    if _CONTROL.search(path):
        return "has a control character"
    if _INVISIBLE.search(path):
        return "has an invisible character, or one that turns the reading direction"
    if found := _FOREIGN.search(path):
        return f"has {found.group()!r}, which not every file system allows"
    if not unicodedata.is_normalized("NFC", path):
        return "is not in Unicode normalisation form C"
    for name in path.split("/"):
        if fault := _name_fault(name):
            return fault
    return None


def _name_fault(name: str) -> str | None:
    if name == "":
        return "has an empty part"
    if name in (".", ".."):
        return f"has the part {name!r}"
    if len(name.encode()) > NAME_BYTES_MAX:
        return f"has a part over {NAME_BYTES_MAX} bytes"
    if name[-1] in ". ":
        return "has a part that ends with a dot or a space"
    if _DEVICE.fullmatch(name.partition(".")[0].rstrip(" ")):
        return f"has the part {name!a}, a device name on Windows"
    return None


def _fold(path: str) -> str:
    return unicodedata.normalize("NFC", path.casefold())


def _shown(path: str) -> str:
    return ascii(path[:_SHOWN_LENGTH_MAX]) + ("..." if len(path) > _SHOWN_LENGTH_MAX else "")


def _duplicate(path: str, other: str, how: str) -> InvalidArgument:
    return InvalidArgument(
        "PATH_DUPLICATE",
        f"{_shown(path)} and {_shown(other)} {how}; rename or remove one of them.",
        metadata={"path": _shown(path)},
    )
