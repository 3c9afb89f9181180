"""Where the client finds its zoo: address, key and cache. The only place of this package that reads the environment.

`ZOO_URL` and `ZOO_KEY`, else `url` and `key` in `~/.config/zoo/config.toml` (`$XDG_CONFIG_HOME/zoo/config.toml` where
that is set). A key goes to the address that stands beside it: `ZOO_URL` never meets the file's key. `ZOO_CACHE` names
the node cache's folder, `ZOO_CACHE_BYTES` its size budget.
"""

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from platformdirs import user_cache_path

from modelzoo.errors import FailedPrecondition

__all__ = ["CACHE_BUDGET_BYTES", "CacheConfig", "Config", "cache_config", "load"]

CACHE_BUDGET_BYTES = 64 * 1024**3


@dataclass(frozen=True, slots=True)
class Config:
    """An address and the key for it; the key stays out of `repr`."""

    url: str
    key: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class CacheConfig:
    """The node cache's folder and the bytes that it may fill."""

    root: Path
    budget_bytes: int = CACHE_BUDGET_BYTES


def load(environ: Mapping[str, str] = os.environ) -> Config:
    """The configured address and key; CONFIGURATION_MISSING, saying what to set, if one is missing."""
    path = _config_file(environ)
    url, key = environ.get("ZOO_URL"), environ.get("ZOO_KEY")
    if not url:
        written = _read(path)
        url, key = written.get("url"), key or written.get("key")
    if not url:
        raise _missing(f"No address of a zoo is known: set ZOO_URL and ZOO_KEY, or write url and key into {path}")
    if not key:
        raise _missing(f"No key for {url} is known: set ZOO_KEY, or write url and key into {path}")
    return Config(url, key)


def cache_config(environ: Mapping[str, str] = os.environ) -> CacheConfig:
    """Where the node cache is and how large it may grow; CONFIGURATION_MISSING if ZOO_CACHE_BYTES is no number."""
    root = Path(environ["ZOO_CACHE"]).expanduser() if environ.get("ZOO_CACHE") else user_cache_path("modelzoo")
    budget = environ.get("ZOO_CACHE_BYTES") or str(CACHE_BUDGET_BYTES)
    if not (budget.isascii() and budget.isdigit()):
        raise _missing(f"ZOO_CACHE_BYTES is {budget!r}; set it to a number of bytes")
    return CacheConfig(root, int(budget))


def _config_file(environ: Mapping[str, str]) -> Path:
    base = environ.get("XDG_CONFIG_HOME") or Path(environ.get("HOME") or Path.home()) / ".config"
    return Path(base) / "zoo" / "config.toml"


def _read(path: Path) -> dict[str, str]:
    try:
        written = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        # Not the error's own text: it may quote the line with the key.
        raise _missing(f"{path} cannot be read as TOML: mend it, or set ZOO_URL and ZOO_KEY") from error
    wrong = [name for name in ("url", "key") if not isinstance(written.get(name, ""), str)]
    if wrong:
        raise _missing(f"{wrong[0]} in {path} is not text: write it in quotes")
    return {name: written[name] for name in ("url", "key") if name in written}


def _missing(message: str) -> FailedPrecondition:
    return FailedPrecondition("CONFIGURATION_MISSING", f"{message}.")
