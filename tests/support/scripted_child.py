"""A child without torch, for tests of the agent: does what the lines of its dataset's `train.jsonl` say, then exits.

{"say": TEXT}  {"print": TEXT}  {"spawn": SECONDS}: says the process id of a program of its own
{"obey": true}: waits for an order and ends by it  {"hang": true}: orders do not reach it
{"exit": STATUS}  {"kill": SIGNAL}  {"checkpoint": STEP}  {"train": DIGEST}: releases a result
"""

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

from zoo.training.v1 import event_pb2, job_pb2
from zoo.training.v1 import trainer_service_pb2 as pb
from zoo_trainer.limits import die_with_parent
from zoo_trainer.report import Report
from zoo_trainer.stopping import Order, Orders, die_alone, follow
from zoo_trainer.task import read_task

folder, agent, descriptor = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
die_with_parent(agent)
orders = Orders()
follow(sys.stdin, orders, orphaned=die_alone)
task = read_task(folder)
report = Report(os.fdopen(descriptor, "w"))
for line in (Path(task.place.dataset) / "train.jsonl").read_text().splitlines():
    match json.loads(line):
        case {"say": text}:
            report.log(text)
        case {"print": text}:
            print(text, flush=True)
        case {"spawn": seconds}:
            report.log(str(subprocess.Popen([sys.executable, "-c", f"import time; time.sleep({seconds})"]).pid))
        case {"obey": _}:
            while not orders.stop:
                time.sleep(0.01)
            report.log(f"obeys {orders.last}")
            outcome = pb.OUTCOME_YIELDED if orders.last is Order.YIELD else pb.OUTCOME_STOPPED
            report.release(pb.ReleaseJobRequest(outcome=outcome))
        case {"hang": _}:
            threading.Event().wait()
        case {"exit": status}:
            os._exit(status)
        case {"kill": number}:
            os.kill(os.getpid(), number)
        case {"checkpoint": step}:
            report.event(event_pb2.Event(checkpoint=job_pb2.Checkpoint(step=step, manifest_digest="c" * 64)))
        case {"train": digest}:
            result = pb.Result(manifest_digest=digest)
            report.release(pb.ReleaseJobRequest(outcome=pb.OUTCOME_TRAINED, result=result))
