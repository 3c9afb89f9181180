"""Secrets of the pod's own namespace, by the API server: two of its calls, as its REST reference has them.

https://kubernetes.io/docs/reference/kubernetes-api/config-and-storage-resources/secret-v1
"""

import base64
import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any

from modelzoo.errors import Unavailable

__all__ = ["SERVICE_ACCOUNT", "ApiSecrets"]

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
TIMEOUT_S = 20


class ApiSecrets:
    """`account` is the folder in which Kubernetes gives a pod its token, namespace and the server's certificate."""

    def __init__(self, server: str, account: Path = SERVICE_ACCOUNT) -> None:
        namespace = (account / "namespace").read_text().strip()
        self._url = f"{server}/api/v1/namespaces/{namespace}/secrets"
        self._token = (account / "token").read_text().strip()
        certificate = account / "ca.crt"
        self._tls = ssl.create_default_context(cafile=str(certificate)) if server.startswith("https:") else None

    def get(self, name: str) -> Mapping[str, str] | None:
        """Raises Unavailable where the server refuses or does not answer."""
        found = self._call(f"/{name}", None, HTTPStatus.NOT_FOUND)
        if found is None:
            return None
        return {file: base64.b64decode(content).decode() for file, content in found["data"].items()}

    def create(self, name: str, files: Mapping[str, str]) -> bool:
        """Raises as `get` does."""
        secret = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name, "labels": {"app.kubernetes.io/part-of": "zoo"}},
            "type": "Opaque",
            "stringData": dict(files),
        }
        return self._call("", secret, HTTPStatus.CONFLICT) is not None

    def _call(self, path: str, content: Any, expected: HTTPStatus) -> Any:
        """The server's answer; None where it refuses with the expected status."""
        request = urllib.request.Request(  # noqa: S310 - the address is the cluster's own
            self._url + path,
            data=None if content is None else json.dumps(content).encode(),
            headers={"authorization": f"Bearer {self._token}", "content-type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_S, context=self._tls) as answer:  # noqa: S310
                return json.load(answer)
        except urllib.error.HTTPError as error:
            if error.code == expected:
                return None
            raise Unavailable(
                "DEPENDENCY_UNAVAILABLE", f"the API server answers {error.code} to {request.get_method()} {path}"
            ) from error
        except OSError as error:
            raise Unavailable("DEPENDENCY_UNAVAILABLE", f"the API server does not answer: {error}") from error
