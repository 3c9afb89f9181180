"""A process to supervise: serves HTTP 200 on its port, as wilfully as its flags say.

    python toy_process.py PORT [--fail] [--deaf-to-term] [--with-child] [--late SECONDS]

It writes `started` and `stopped` with its name (the port) to the file named by TOY_EVENTS.
"""

import argparse
import os
import signal
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, HTTPServer


class Yes(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *arguments: object) -> None:
        pass


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("--fail", action="store_true")
    parser.add_argument("--deaf-to-term", action="store_true")
    parser.add_argument("--with-child", action="store_true")
    parser.add_argument("--late", type=float, default=0.0)
    given = parser.parse_args()
    record(f"started {given.port}")
    if given.fail:
        sys.exit("the toy was told to fail")
    if given.with_child:
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    signal.signal(signal.SIGTERM, signal.SIG_IGN if given.deaf_to_term else lambda *_: sys.exit(0))
    time.sleep(given.late)
    try:
        HTTPServer(("127.0.0.1", given.port), Yes).serve_forever()
    finally:
        record(f"stopped {given.port}")


def record(event: str) -> None:
    with open(os.environ["TOY_EVENTS"], "a") as events:
        events.write(f"{event}\n")


if __name__ == "__main__":
    main()
