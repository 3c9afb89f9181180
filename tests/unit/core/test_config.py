from pathlib import Path

import pytest

from modelzoo.config import CACHE_BUDGET_BYTES, Config, cache_config, load
from modelzoo.errors import FailedPrecondition


def write(home: Path, text: str) -> dict[str, str]:
    folder = home / ".config" / "zoo"
    folder.mkdir(parents=True)
    (folder / "config.toml").write_text(text)
    return {"HOME": str(home)}


FILE = 'url = "https://zoo.example"\nkey = "from-file"\n'


def test_the_environment_wins_over_the_file(tmp_path: Path):
    environ = write(tmp_path, FILE) | {"ZOO_URL": "http://other:1", "ZOO_KEY": "from-environment"}
    assert load(environ) == Config("http://other:1", "from-environment")


def test_the_file_serves_where_the_environment_is_silent(tmp_path: Path):
    assert load(write(tmp_path, FILE)) == Config("https://zoo.example", "from-file")


def test_a_key_alone_goes_to_the_address_of_the_file(tmp_path: Path):
    assert load(write(tmp_path, FILE) | {"ZOO_KEY": "mine"}) == Config("https://zoo.example", "mine")


def test_the_key_of_the_file_never_goes_to_another_address(tmp_path: Path):
    with pytest.raises(FailedPrecondition, match="No key for http://other:1"):
        load(write(tmp_path, FILE) | {"ZOO_URL": "http://other:1"})


def test_xdg_config_home_moves_the_file(tmp_path: Path):
    write(tmp_path, FILE)
    assert load({"HOME": "/nowhere", "XDG_CONFIG_HOME": str(tmp_path / ".config")}).key == "from-file"


@pytest.mark.parametrize(
    "text", ["", 'url = "http://a:1"', 'key = "secret"', "url = secret", "url = 3", 'key = "secret']
)
def test_what_is_missing_or_broken_is_said_without_showing_the_key(tmp_path: Path, text: str):
    with pytest.raises(FailedPrecondition) as caught:
        load(write(tmp_path, text))
    assert caught.value.reason == "CONFIGURATION_MISSING"
    assert "config.toml" in caught.value.message
    assert "secret" not in caught.value.message


def test_nothing_configured_says_what_to_set(tmp_path: Path):
    with pytest.raises(FailedPrecondition, match="set ZOO_URL and ZOO_KEY"):
        load({"HOME": str(tmp_path)})


def test_the_key_is_not_shown():
    assert "secret" not in repr(Config("http://a:1", "secret"))


def test_the_cache_is_where_the_environment_says(tmp_path: Path):
    assert cache_config({}).budget_bytes == CACHE_BUDGET_BYTES
    assert cache_config({"ZOO_CACHE": str(tmp_path), "ZOO_CACHE_BYTES": "5"}).root == tmp_path
    with pytest.raises(FailedPrecondition, match="ZOO_CACHE_BYTES"):
        cache_config({"ZOO_CACHE_BYTES": "5 GB"})
