"""`python -m benchmarks [NAME ...] [--tiny]`: run benchmarks and write docs/benchmarks.md."""

import argparse
import asyncio
import sys

from rich.console import Console
from rich.table import Table as Screen

from benchmarks import (
    bytes_moved,
    catalog_calls,
    checkpoint_bytes,
    first_token,
    gateway_added,
    jobs_leased,
    pictures_served,
    recipe_overhead,
    report,
    transfer,
)

BENCHMARKS = {
    "gateway": gateway_added.measure,
    "bytes": bytes_moved.measure,
    "first-token": first_token.measure,
    "pictures": pictures_served.measure,
    "catalog": catalog_calls.measure,
    "jobs": jobs_leased.measure,
    "recipe-overhead": recipe_overhead.measure,
    "checkpoints": checkpoint_bytes.measure,
    "transfer": transfer.measure,
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which: {', '.join(BENCHMARKS)}; default all")
    parser.add_argument("--tiny", action="store_true", help="one small iteration, printed and not written")
    options = parser.parse_args()
    unknown = set(options.names) - set(BENCHMARKS)
    if unknown:
        parser.error(f"no benchmark is called {', '.join(sorted(unknown))}")
    for name in options.names or BENCHMARKS:
        for table in asyncio.run(BENCHMARKS[name](tiny=options.tiny)):
            _show(table)
            if not options.tiny:
                report.write(table)
    return 0


def _show(table: report.Table) -> None:
    screen = Screen(*table.columns, title=table.title)
    for row in table.rows:
        screen.add_row(*row)
    Console().print(screen)


if __name__ == "__main__":
    sys.exit(main())
