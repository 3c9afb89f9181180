"""How a failed command ends: a sentence, a hint, a reason, an exit code."""

import json
import sys
from typing import TYPE_CHECKING

from modelzoo.command.session import wants_json
from modelzoo.command.terminal import safe

if TYPE_CHECKING:
    from modelzoo.errors import ZooError

__all__ = ["EXIT_CODES", "FOUND", "UNAVAILABLE", "report"]

UNEXPECTED, USAGE, NOT_FOUND, REFUSED, UNAVAILABLE, INVALID, FOUND, INTERRUPTED = 1, 2, 3, 4, 5, 6, 7, 130

EXIT_CODES = {
    0: "done",
    UNEXPECTED: "unexpected error",
    USAGE: "wrong usage",
    NOT_FOUND: "not found",
    REFUSED: "key or role missing",
    UNAVAILABLE: "unavailable or busy: try again",
    INVALID: "invalid input, or not possible now",
    FOUND: "a check found something",
    INTERRUPTED: "interrupted (Ctrl-C)",
}

_BY_GRPC_CODE = {
    "NOT_FOUND": NOT_FOUND,
    "UNAUTHENTICATED": REFUSED,
    "PERMISSION_DENIED": REFUSED,
    "UNAVAILABLE": UNAVAILABLE,
    "DEADLINE_EXCEEDED": UNAVAILABLE,
    "RESOURCE_EXHAUSTED": UNAVAILABLE,
    "ABORTED": UNAVAILABLE,
    "INVALID_ARGUMENT": INVALID,
    "OUT_OF_RANGE": INVALID,
    "FAILED_PRECONDITION": INVALID,
    "ALREADY_EXISTS": INVALID,
    "CANCELLED": INTERRUPTED,
}
# Codes that promise a retry, with reasons that do not keep it.
_NO_RETRY = frozenset({"REQUEST_TOO_LARGE", "MODEL_TOO_LARGE", "DISK_FULL", "QUOTA_EXCEEDED"})

_HINTS = {
    "SERVER_UNREACHABLE": "is the zoo running at that address? `zoo up` starts one on this machine",
    "CONFIGURATION_MISSING": '`zoo up --detach` starts a zoo here; `set -a; eval "$(zoo env)"; set +a` sets both',
    "CREDENTIAL_MISSING": "set ZOO_KEY; an administrator makes keys with `zoo keys create`",
    "CREDENTIAL_INVALID": "check ZOO_KEY; an administrator makes keys with `zoo keys create`",
    "CREDENTIAL_REVOKED": "ask an administrator for another key",
    "CREDENTIAL_EXPIRED": "ask an administrator for another key",
    "ROLE_MISSING": "`zoo whoami` shows your roles; an administrator gives them with `zoo grants add`",
    "MODEL_NOT_FOUND": "`zoo models` lists the models that you can see",
    "VERSION_NOT_FOUND": "`zoo show NAMESPACE/NAME` lists its versions",
    "ALIAS_NOT_FOUND": "`zoo alias list NAMESPACE/NAME` lists its aliases",
    "NAMESPACE_NOT_FOUND": "`zoo namespaces list` shows yours; `zoo namespaces create` makes one",
    "KEY_NOT_FOUND": "`zoo keys list` shows them",
    "QUOTA_EXCEEDED": "`zoo namespaces show NAMESPACE` shows quota and use; deleted versions do not count",
    "JOB_FINAL": "`zoo jobs retry JOB` queues a new job that does the same",
    "VERSION_IN_USE": "`zoo alias list NAMESPACE/NAME` shows its aliases",
    "ACCESS_NOT_GRANTED": "`zoo access request NAMESPACE/NAME --reason ...` asks its publishers",
    "ACCESS_REQUEST_NOT_FOUND": "`zoo access list` shows who asked",
    "NAMESPACE_NOT_EMPTY": "`zoo models --namespace NAMESPACE` lists its models; `zoo model delete` deletes one",
    "ETAG_MISMATCH": "somebody else changed it: look again, then repeat",
    "GRANT_NOT_FOUND": "`zoo grants list NAMESPACE` shows them",
    "CURSOR_INVALID": "`zoo changes --since 7d` begins at a time instead",
    "LINEAGE_CYCLE": "`zoo lineage` shows what was made from what",
    "STREAM_INTERRUPTED": "run the command again",
    "QUEUE_FULL": "run the command again in a moment",
    "WORKER_UNAVAILABLE": "`zoo workers` shows who serves",
    "JOB_NOT_FOUND": "`zoo jobs list` shows those that you can see",
    "RECIPE_UNKNOWN": "`zoo recipes` lists them",
    "PARAMETER_UNKNOWN": "`zoo recipes NAME` shows a recipe's parameters",
    "PARAMETER_INVALID": "`zoo recipes NAME` shows what each may be",
    "COLUMN_MISSING": "`zoo recipes` shows which columns each recipe needs",
    "TRAINER_MISSING": "`zoo recipes` shows on which resource classes there are trainers",
    "LOSS_NOT_FINITE": "a lower learning rate may help: `--set learning_rate=...`",
    "ATTEMPTS_EXHAUSTED": "`zoo jobs logs JOB` shows what happened",
    "OUT_OF_MEMORY": "a smaller batch may help: `--set batch_size=...`",
    "ADAPTER_BASE_MISSING": "`zoo lineage REF --up` shows what its lineage says",
    "TRAINING_NOT_RECORDED": "`zoo lineage REF --up` shows what it was made from, and by which job",
    "KIND_MISMATCH": "`zoo push --dataset` publishes datasets; `zoo show NAMESPACE/NAME` says what a name is of",
    "NOT_LOADABLE": "`--dataset` publishes a dataset, under another name; `--format opaque` insists",
    "SWEEPING_OFF": "`zoo sweep --status` says more; `zoo sweep --unfreeze` ends a freeze",
}


def report(error: "ZooError") -> int:
    """Say on stderr what went wrong, as an object with --json, and give the exit code."""
    if wants_json():
        shown = {
            "code": error.code.name,
            "reason": error.reason,
            "message": error.message,
            "metadata": error.metadata,
        }
        sys.stderr.write(json.dumps({"error": shown}) + "\n")
    else:
        sys.stderr.write(f"error: {safe(error.message)}\n")
        if hint := _hint(error):
            sys.stderr.write(f"hint: {hint}\n")
        if error.reason:
            sys.stderr.write(f"reason: {safe(error.reason)}\n")
    if error.reason in _NO_RETRY:
        return INVALID
    return _BY_GRPC_CODE.get(error.code.name, UNEXPECTED)


def _hint(error: "ZooError") -> str | None:
    if error.reason == "SERVER_UNREACHABLE" and "data" in error.metadata:
        # What was asked is a folder of this machine, no address.
        return "`zoo up --detach` starts it, with the same --data; --data names the folder of another zoo"
    return _HINTS.get(error.reason)
