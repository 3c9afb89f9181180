"""Which calls gRPC repeats by itself: unary ones that came back UNAVAILABLE. Some never reached a server, and some may
have been done there already: all methods may be repeated, as creating takes a request id and the rest is idempotent.

Streams are not repeated by gRPC. Where a server comes and goes under a stream with a retry policy, grpcio (1.81.1 and
1.85.3, of November 2026) may never end the call, its deadline notwithstanding; where it does so several times a second,
within a second. Whoever reads a stream repeats it (`modelzoo.attempts`), and knows what it has already.
"""

import json
from typing import Any

__all__ = ["STREAMS", "service_config"]

STREAMS = (
    ("zoo.artifact.v1.ArtifactService", "ReadFile"),
    ("zoo.artifact.v1.ArtifactService", "WriteBlobs"),
    ("zoo.artifact.v1.UpkeepService", "Check"),
    ("zoo.artifact.v1.UpkeepService", "RebuildIndex"),
    ("zoo.artifact.v1.UpkeepService", "Sweep"),
    ("zoo.catalog.v1.ChangeService", "WatchChanges"),
    ("zoo.iam.v1.IamService", "WatchAccess"),
    ("zoo.inference.v1.InferenceService", "StreamGenerate"),
    ("zoo.training.v1.TrainingService", "WatchJob"),
)


def service_config(max_backoff: str, max_tokens: int) -> str:
    """The channel option `grpc.service_config` (gRFC A6): at most three repetitions; half of `max_tokens` failures in a
    row stop all of them, and every ten successes earn one back."""
    repeated: dict[str, Any] = {
        "name": [{}],  # every method that is not named below
        "retryPolicy": {
            "maxAttempts": 4,
            "initialBackoff": "0.1s",
            "maxBackoff": max_backoff,
            "backoffMultiplier": 2,
            "retryableStatusCodes": ["UNAVAILABLE"],
        },
    }
    streams = {"name": [{"service": service, "method": method} for service, method in STREAMS]}
    throttling = {"maxTokens": max_tokens, "tokenRatio": 0.1}
    return json.dumps({"methodConfig": [repeated, streams], "retryThrottling": throttling})
