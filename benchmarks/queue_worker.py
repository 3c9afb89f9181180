"""One queue's worker, or whoever puts jobs into it; run by the Python of an environment that has saq, arq and Celery.

queue_worker.py QUEUE work URL FILE            works for ever; appends to FILE the milliseconds from enqueue to start
queue_worker.py QUEUE enqueue URL FILE JOBS    puts in one job after the other, each once the last has started
"""

import asyncio
import random
import sys
import time
from pathlib import Path

PAUSE_S = (0.02, 0.06)
QUEUE, MODE, URL, FILE = sys.argv[1:5]


def started(enqueued_ns):
    took_ms = (time.monotonic_ns() - enqueued_ns) / 1e6
    with Path(FILE).open("a") as file:
        file.write(f"{took_ms}\n")


async def job(context, enqueued_ns):
    started(enqueued_ns)


def wait_for(lines):
    while not Path(FILE).exists() or Path(FILE).read_text().count("\n") < lines:
        time.sleep(0.005)
    time.sleep(random.uniform(*PAUSE_S))


async def saq(count):
    from saq import Queue, Worker

    queue = Queue.from_url(URL)
    await queue.connect()
    if MODE == "work":
        await Worker(queue, functions=[("job", saq_job)]).start()
    for number in range(count):
        await queue.enqueue("job", enqueued_ns=time.monotonic_ns())
        await asyncio.to_thread(wait_for, number + 1)
    await queue.disconnect()


async def saq_job(context, *, enqueued_ns):
    started(enqueued_ns)


async def arq(count):
    from arq import create_pool
    from arq.connections import RedisSettings
    from arq.worker import Worker

    settings = RedisSettings.from_dsn(URL)
    if MODE == "work":
        await Worker(functions=[job], redis_settings=settings, handle_signals=False).async_run()
    pool = await create_pool(settings)
    for number in range(count):
        await pool.enqueue_job("job", time.monotonic_ns())
        await asyncio.to_thread(wait_for, number + 1)
    await pool.aclose()


def celery(count):
    from celery import Celery

    app = Celery("bench", broker=URL)
    task = app.task(name="job")(started)
    if MODE == "work":
        app.worker_main(["worker", "--concurrency=1", "--loglevel=ERROR", "--without-gossip", "--without-mingle"])
    for number in range(count):
        task.delay(time.monotonic_ns())
        wait_for(number + 1)


if __name__ == "__main__":
    jobs = int(sys.argv[5]) if MODE == "enqueue" else 0
    if QUEUE == "celery":
        celery(jobs)
    else:
        asyncio.run({"saq": saq, "arq": arq}[QUEUE](jobs))
