"""What processes print: files, rotation, lines for people."""

import io
import json
from pathlib import Path

from zoo_local.logs import latest_lines
from zoo_local.output import Console, ProcessLog, readable

RECORD = {"time": "2026-11-23T19:02:03.004Z", "level": "warning", "logger": "a.b", "message": "low"}


def test_lines_cut_anywhere_are_put_together(tmp_path: Path) -> None:
    stream = io.StringIO()
    log = ProcessLog("redis", tmp_path / "redis.log", Console(stream))
    for piece in (b"one\ntw", b"o\nthr", b"ee"):
        log.write(piece)
    log.close()
    assert (tmp_path / "redis.log").read_bytes() == b"one\ntwo\nthree\n"
    assert stream.getvalue() == "redis     | one\nredis     | two\nredis     | three\n"


def test_files_are_rotated_by_size_and_the_oldest_goes(tmp_path: Path) -> None:
    log = ProcessLog("a", tmp_path / "a.log", None, rotate_bytes=10)
    for number in range(6):
        log.write(f"line {number}, long\n".encode())
    log.close()
    kept = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert kept == {"a.log": "", "a.log.1": "line 5, long\n", "a.log.2": "line 4, long\n"}


def test_a_line_without_end_does_not_fill_memory(tmp_path: Path) -> None:
    log = ProcessLog("a", tmp_path / "a.log", None)
    log.write(b"x" * 200_000)
    assert (tmp_path / "a.log").stat().st_size > 190_000
    log.close()


def test_the_last_lines_are_at_hand(tmp_path: Path) -> None:
    log = ProcessLog("a", tmp_path / "a.log", None)
    log.write(b"".join(b"%d\n" % number for number in range(100)))
    assert log.tail() == [str(number) for number in range(80, 100)]
    log.close()


def test_a_log_record_reads_as_a_sentence() -> None:
    assert readable(json.dumps(RECORD)) == "19:02:03 warning low"
    assert readable(json.dumps(RECORD | {"exception": "Traceback"})) == "19:02:03 warning low\nTraceback"


def test_other_lines_stay_as_they_are() -> None:
    for line in ("plain", "{not json", '{"path": "/x"}', ""):
        assert readable(line) == line


def test_each_line_of_what_was_raised_says_of_which_process_it_is(tmp_path: Path) -> None:
    """Or whoever looks for a process by its name does not find what ailed it."""
    raised = json.dumps(RECORD | {"exception": "Traceback\n  deep within"}).encode() + b"\n"
    stream = io.StringIO()
    log = ProcessLog("gateway", tmp_path / "gateway.log", Console(stream))
    log.write(raised)
    log.close()
    said = "gateway    | 19:02:03 warning low\ngateway    | Traceback\ngateway    |   deep within\n"
    assert "".join(each.shown for each in latest_lines({"gateway": tmp_path / "gateway.log"}, 5)) == said
    assert [line.partition(" ")[0] for line in stream.getvalue().splitlines()] == ["gateway"] * 3
