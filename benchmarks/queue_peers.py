"""saq, arq and Celery on a Redis, from enqueue to start, in environments of their own, made when first asked for."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

__all__ = ["PEERS", "peer_latencies_ms"]

PEERS = {"saq": "0.26.4", "arq": "0.28.0", "celery": "5.7.0"}
# What they need for Redis; no redis-py serves both arq and Celery.
WITH = {"saq": ("redis[hiredis]", "typing_extensions"), "arq": (), "celery": ("redis[hiredis]>=6.1", "packaging")}
ENVIRONMENTS = Path(__file__).resolve().parent.parent / ".run" / "peers"
WORKER = Path(__file__).with_name("queue_worker.py")
ALL_S = 900


def peer_latencies_ms(peer: str, redis_url: str, jobs: int) -> list[float]:
    """From just before each job is put in to the first line of its function, one at a time, the worker idle."""
    python = str(_environment(peer) / "bin" / "python")
    with tempfile.TemporaryDirectory(prefix="zoo-bench-") as folder:
        file = Path(folder) / "started"
        argv = [python, str(WORKER), peer]
        with (Path(folder) / "log").open("wb") as log:
            worker = subprocess.Popen(
                [*argv, "work", redis_url, str(file)], stdout=log, stderr=log, start_new_session=True
            )
        try:
            # The first one waits for the worker to come up.
            subprocess.run([*argv, "enqueue", redis_url, str(file), str(jobs + 1)], check=True, timeout=ALL_S)
            return [float(line) for line in file.read_text().splitlines()[1:]]
        finally:
            os.killpg(worker.pid, 9)
            worker.wait()


def _environment(peer: str) -> Path:
    folder = ENVIRONMENTS / f"{peer}-{PEERS[peer]}"
    made = folder / "made"
    if not made.exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        pip = [str(folder / "bin" / "pip"), "install", "-q", f"{peer}=={PEERS[peer]}", *WITH[peer]]
        free = {name: value for name, value in os.environ.items() if name != "PIP_CONSTRAINT"}
        subprocess.run(pip, check=True, env=free)
        made.touch()
    return folder
