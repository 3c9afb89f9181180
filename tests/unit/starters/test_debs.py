"""Debian packages fetched from mirrors that are wrong, away or right: real HTTP on this machine."""

import hashlib
import io
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from modelzoo.errors import Unavailable
from zoo_starters.debs import Deb, extract, read_member

PATH = "pool/main/s/some/some_1.0_all.deb"
MEMBERS = {"usr/share/some/text": b"prose\n" * 1000, "usr/share/doc/some/copyright": b"free\n"}


@dataclass
class Mirror:
    """Answers with `files`, by path, and writes down what it was asked for."""

    files: dict[str, bytes]
    url: str = ""
    asked: list[str] = field(default_factory=list)


@pytest.fixture
def mirror() -> Iterator[Mirror]:
    """`/good` has the package, `/bad` another file in its place, anything else nothing."""
    mirror = Mirror({f"/good/{PATH}": package(), f"/bad/{PATH}": package()[:-100]})

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            mirror.asked.append(self.path)
            found = mirror.files.get(self.path)
            self.send_response(404 if found is None else 200)
            self.send_header("content-length", str(len(found or b"")))
            self.end_headers()
            self.wfile.write(found or b"")

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        mirror.url = f"http://127.0.0.1:{server.server_port}"
        yield mirror
        server.shutdown()


def deb() -> Deb:
    return Deb("some", "1:1.0", hashlib.sha256(package()).hexdigest(), PATH)


def package() -> bytes:
    """A package as dpkg-deb writes them (deb(5)): an ar archive of a version and two tar archives."""
    tars = {"control.tar.xz": {"control": b"Package: some\n"}, "data.tar.xz": MEMBERS}
    parts = {"debian-binary": b"2.0\n", **{name: tar(files) for name, files in tars.items()}}
    archive = b"!<arch>\n"
    for name, content in parts.items():
        archive += f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(content):<10}`\n".encode()
        archive += content + b"\n" * (len(content) % 2)
    return archive


def tar(files: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:xz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(f"./{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return packed.getvalue()


def test_a_package_is_fetched_once_and_its_members_are_copied(mirror: Mirror, tmp_path: Path) -> None:
    fetched = deb().fetch(tmp_path / "packages", [f"{mirror.url}/good"])
    assert deb().fetch(tmp_path / "packages", [f"{mirror.url}/good"]) == fetched
    extract(fetched, tmp_path / "model", {"usr/share/doc/some/copyright": "LICENSE"})
    assert mirror.asked == [f"/good/{PATH}"]
    assert (tmp_path / "model" / "LICENSE").read_bytes() == b"free\n"
    assert read_member(fetched, "usr/share/some/text") == MEMBERS["usr/share/some/text"]


def test_a_mirror_that_lacks_it_or_gives_other_bytes_is_passed_over(mirror: Mirror, tmp_path: Path) -> None:
    fetched = deb().fetch(tmp_path, [f"{mirror.url}/{name}" for name in ("none", "bad", "good")])
    assert fetched.read_bytes() == package()
    assert [asked.split("/")[1] for asked in mirror.asked] == ["none", "bad", "good"]


def test_where_no_mirror_helps_each_has_its_reason_and_nothing_is_left(mirror: Mirror, tmp_path: Path) -> None:
    with pytest.raises(Unavailable) as refused:
        deb().fetch(tmp_path, [f"{mirror.url}/none", f"{mirror.url}/bad", "http://127.0.0.1:1"])
    assert refused.value.reason == "DEPENDENCY_UNAVAILABLE"
    assert all(word in refused.value.message for word in ("404", "SHA-256", "refused", str(tmp_path)))
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_file_is_fetched_again(mirror: Mirror, tmp_path: Path) -> None:
    fetched = deb().fetch(tmp_path, [f"{mirror.url}/good"])
    fetched.write_bytes(b"half")
    assert deb().fetch(tmp_path, [f"{mirror.url}/good"]).read_bytes() == package()


def test_a_member_that_is_not_there_is_an_error(mirror: Mirror, tmp_path: Path) -> None:
    fetched = deb().fetch(tmp_path, [f"{mirror.url}/good"])
    with pytest.raises(KeyError, match="usr/share/other"):
        read_member(fetched, "usr/share/other")


def test_a_source_names_package_and_version() -> None:
    assert deb().source == "debian:some=1:1.0"
