"""References: how a model, and which version of it, is named.

    reference  = [ namespace "/" ] name [ "@" selector ]
    namespace  = name = ALNUM *95( ALNUM / "." / "_" / "-" )      kept as written; unique without regard to case
    selector   = alias / version / "sha256:" 64 lower-case hexadecimal digits (of the manifest)
    alias      = a-z *95( a-z / 0-9 / "." / "_" / "-" )           so it is never a number
    version    = a positive integer below 2**31, without leading zeros

All of it is ASCII. A bare name lies in the namespace `zoo`. No selector, and the word `latest`, both mean the highest
version that is READY.
"""

import re
from dataclasses import dataclass

from modelzoo.errors import InvalidArgument

__all__ = ["DEFAULT_NAMESPACE", "Alias", "Digest", "Reference", "Selector", "Version", "parse"]

DEFAULT_NAMESPACE = "zoo"
LATEST = "latest"
NAME_LENGTH_MAX = 96
VERSION_MAX = 2**31 - 1
REFERENCE_LENGTH_MAX = 3 * NAME_LENGTH_MAX + 2

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}")
_ALIAS = re.compile(r"[a-z][a-z0-9._-]{0,95}")
_VERSION = re.compile(r"[1-9][0-9]{0,9}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_SHOWN_LENGTH_MAX = 80


@dataclass(frozen=True, slots=True)
class Alias:
    """A movable name. `latest` is none: it is a query, written as no selector."""

    name: str

    def __post_init__(self) -> None:
        if not _ALIAS.fullmatch(self.name) or self.name == LATEST:
            raise _invalid(
                self.name,
                "an alias starts with a lower-case letter, goes on with lower-case letters, digits, '.', '_' or '-', "
                "has at most 96 characters, and is not 'latest'",
            )

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Version:
    """The number that the catalog gave a version."""

    number: int

    def __post_init__(self) -> None:
        if not 1 <= self.number <= VERSION_MAX:
            raise _invalid(str(self.number), f"a version is a number from 1 to {VERSION_MAX}")

    def __str__(self) -> str:
        return str(self.number)


@dataclass(frozen=True, slots=True)
class Digest:
    """The SHA-256 of a manifest, as lower-case hexadecimal digits."""

    sha256: str

    def __post_init__(self) -> None:
        if not _SHA256.fullmatch(self.sha256):
            raise _invalid(self.sha256, "a digest is written 'sha256:' and 64 lower-case hexadecimal digits")

    def __str__(self) -> str:
        return f"sha256:{self.sha256}"


Selector = Alias | Version | Digest


@dataclass(frozen=True, slots=True)
class Reference:
    """A model and which version of it; no selector means the latest. `str()` gives the one canonical form.

    Every instance is valid: the constructor raises REFERENCE_INVALID otherwise.
    """

    namespace: str
    name: str
    selector: Selector | None = None

    def __post_init__(self) -> None:
        for what, part in (("namespace", self.namespace), ("model name", self.name)):
            if not _NAME.fullmatch(part):
                raise _invalid(
                    part,
                    f"a {what} starts with an ASCII letter or digit, goes on with letters, digits, '.', '_' or '-', "
                    f"and has at most {NAME_LENGTH_MAX} characters",
                )

    @property
    def model(self) -> str:
        """`namespace/name`, without the selector."""
        return f"{self.namespace}/{self.name}"

    def __str__(self) -> str:
        return self.model if self.selector is None else f"{self.model}@{self.selector}"


def parse(text: str) -> Reference:
    """The reference that `text` writes; REFERENCE_INVALID, saying how to write one, if it writes none.

    `parse(str(r)) == r` for every reference, and `str(parse(t))` is canonical for every `t` that is accepted.
    """
    if len(text) > REFERENCE_LENGTH_MAX:
        raise _invalid(text, f"a reference has at most {REFERENCE_LENGTH_MAX} characters")
    model, at, selector = text.partition("@")
    namespace, slash, name = model.partition("/")
    if not slash:
        namespace, name = DEFAULT_NAMESPACE, namespace
    if "/" in name or not namespace or not name:
        raise _invalid(text, "write it as namespace/name, namespace/name@alias, @version or @sha256:digest")
    if at and not selector:
        raise _invalid(text, "after '@' comes an alias, a version or 'sha256:' and a digest; leave '@' out for latest")
    return Reference(namespace, name, _parse_selector(selector))


def _parse_selector(text: str) -> Selector | None:
    if text in ("", LATEST):
        return None
    if text.startswith("sha256:"):
        return Digest(text.removeprefix("sha256:"))
    if _VERSION.fullmatch(text):
        return Version(int(text))
    if text[0] in "+-0123456789":
        raise _invalid(text, f"a version is a number from 1 to {VERSION_MAX} without leading zeros")
    return Alias(text)


def _invalid(text: str, rule: str) -> InvalidArgument:
    # ascii(): what is refused may hold line ends or characters that turn the reading direction.
    shown = ascii(text[:_SHOWN_LENGTH_MAX]) + ("..." if len(text) > _SHOWN_LENGTH_MAX else "")
    return InvalidArgument("REFERENCE_INVALID", f"{shown} is not a valid reference: {rule}.")
