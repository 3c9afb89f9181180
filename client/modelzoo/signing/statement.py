"""What is signed: an in-toto statement that lists every file of a model with its SHA-256.

The format is the one of OpenSSF Model Signing 1.0 (github.com/ossf/model-signing-spec): an in-toto Statement v1 whose
predicate lists resources (`name`, `algorithm`, `digest`) in the order of their paths' parts, and whose one subject has
the SHA-256 over the resources' digests in that order. A manifest has the SHA-256 of each file, so no file is read.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any, cast

from modelzoo.errors import FailedPrecondition

__all__ = ["PAYLOAD_TYPE", "invalid", "signed_files", "statement_of"]

PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://model_signing/signature/v1.0"


def statement_of(name: str, sha256_by_path: Mapping[str, str]) -> bytes:
    """The statement for files of these digests. `name` is for people: it is no part of what is verified."""
    paths = sorted(sha256_by_path, key=lambda path: path.split("/"))
    root = _root([sha256_by_path[path] for path in paths])
    statement: dict[str, Any] = {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": name, "digest": {"sha256": root}}],
        "predicateType": PREDICATE_TYPE,
        "predicate": {
            "serialization": {"method": "files", "hash_type": "sha256", "allow_symlinks": False, "ignore_paths": []},
            "resources": [{"name": path, "algorithm": "sha256", "digest": sha256_by_path[path]} for path in paths],
        },
    }
    return json.dumps(statement).encode()


def signed_files(payload: bytes) -> dict[str, str]:
    """SHA-256 by path of what a statement lists. Raises SIGNATURE_INVALID where it is none of this format."""
    try:
        return _read(cast(dict[str, Any], json.loads(payload)))
    # A document of some other shape; the last for one that nests too deep.
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise invalid("what it signs is no statement of model signing 1.0") from error


def _read(statement: dict[str, Any]) -> dict[str, str]:
    predicate: dict[str, Any] = statement["predicate"]
    if statement["_type"] != STATEMENT_TYPE or statement["predicateType"] != PREDICATE_TYPE:
        raise invalid("what it signs is no statement of model signing 1.0")
    if predicate["serialization"]["method"] != "files":
        raise invalid("it lists parts of files, not whole ones; sign the model by files")
    files: dict[str, str] = {}
    for resource in predicate["resources"]:
        if resource["algorithm"] != "sha256":
            raise invalid("it lists digests other than SHA-256; sign the model with them")
        if not isinstance(resource["name"], str) or resource["name"] in files:
            raise invalid("it lists a file twice")
        files[resource["name"]] = str(resource["digest"])
    subjects = statement["subject"]
    if len(subjects) != 1 or subjects[0]["digest"]["sha256"] != _root(list(files.values())):
        raise invalid("its own digest is not that of the files that it lists")
    return files


def _root(digests: list[str]) -> str:
    return hashlib.sha256(b"".join(map(bytes.fromhex, digests))).hexdigest()


def invalid(fault: str) -> FailedPrecondition:
    """SIGNATURE_INVALID with what is wrong."""
    return FailedPrecondition("SIGNATURE_INVALID", f"The signature does not hold: {fault}.")
