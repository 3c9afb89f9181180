"""`make run`: bring the cluster up, publish the starter models, and let each of them do what it does.

A chat answer streams, sentences are compared, two photographs are classified, a recorded voice is written down.

Everything is done by the command `zoo`, and each command is shown before it runs, so that what is seen here can be
typed by anybody.
"""

import argparse
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

__all__ = ["main"]

ZOO = str(Path(sys.executable).with_name("zoo"))
CHAT = "zoo/smollm2-135m-instruct"
SENTENCES = "zoo/all-minilm-l6-v2"
PICTURES = "zoo/efficientnet-lite0"
SPEECH = "zoo/whisper-tiny.en"
SAMPLES = "samples"
QUESTION = "What is the capital of France?"
PAIRS = ("A man is playing a guitar.", "Somebody plays music on a guitar.", "The bank raised its interest rate.")


def main() -> int:
    """Exit code 0 when all answers came; 130 after Ctrl-C while serving is a normal end, too, and reads 0."""
    parser = argparse.ArgumentParser(prog="make run")
    parser.add_argument("--once", action="store_true", help="stop the cluster after the main job")
    once: bool = parser.parse_args().once
    was_up = _zoo("status", "--json", quiet=True) == 0
    started = time.monotonic()
    try:
        if code := _zoo("up", "--detach"):
            return code
        environment = _environment()
        os.environ.update(environment)
        for command in (
            ("starters", "publish"),
            ("starters", "samples", SAMPLES),
            ("run", CHAT, QUESTION),
            ("run", SENTENCES, *PAIRS),
            ("run", PICTURES, f"{SAMPLES}/china.jpg", f"{SAMPLES}/flower.jpg"),
            ("run", SPEECH, f"{SAMPLES}/Front_Center.wav"),
        ):
            if code := _zoo(*command):
                return code
        print(f"\nDone in {time.monotonic() - started:.0f} s.")  # noqa: T201
        if not once:
            _serve(environment)
    except KeyboardInterrupt:
        pass
    finally:
        if not was_up:
            _zoo("down")
    return 0


def _serve(environment: dict[str, str]) -> None:
    _say(
        "The zoo serves until Ctrl-C. In another terminal:",
        "",
        f"  export ZOO_URL={environment['ZOO_URL']}",
        f"  export ZOO_KEY={environment['ZOO_KEY']}",
        f"  export PATH={Path(sys.executable).parent}:$PATH",
        "",
        "  zoo models",
        f"  zoo show {SENTENCES}",
        f"  zoo run {CHAT} 'Name three animals that can swim.'",
        "  zoo --help",
        "",
    )
    # SIGTERM ends it as Ctrl-C does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    signal.pause()


def _environment() -> dict[str, str]:
    done = subprocess.run([ZOO, "env"], capture_output=True, text=True, check=True)
    return dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)


def _zoo(*arguments: str, quiet: bool = False) -> int:
    if not quiet:
        _say("", f"$ zoo {shlex.join(arguments)}")
    output = subprocess.DEVNULL if quiet else None
    return subprocess.run([ZOO, *arguments], stdout=output, stderr=output, check=False).returncode


def _say(*lines: str) -> None:
    print(*lines, sep="\n", flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
