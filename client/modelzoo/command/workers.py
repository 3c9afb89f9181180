"""`zoo workers` and `zoo whoami`."""

from typing import TYPE_CHECKING

import typer

from modelzoo.command.session import open_client
from modelzoo.command.terminal import answer, line, print_table, size_text

if TYPE_CHECKING:
    from modelzoo.records import Worker

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("workers")(list_workers)
    app.command("whoami")(whoami)


def list_workers() -> None:
    """List the workers that serve now, their load and what they hold."""
    with open_client() as client:
        found = client.workers()
    answer({"workers": found}, lambda: _print(found))


def whoami() -> None:
    """Show whom your key stands for, and its roles."""
    with open_client() as client:
        principal = client.whoami()
    answer(principal, lambda: _print_principal(principal.subject, [*principal.roles.items()]))


def _print(workers: "list[Worker]") -> None:
    print_table(
        ("WORKER", "CLASS", "STATE", "RUNNING", "QUEUED", "MEMORY", "MODELS"),
        [
            (
                worker.name,
                worker.resource_class,
                "draining" if worker.draining else "serving",
                f"{worker.running}/{worker.capacity}",
                str(worker.queued),
                f"{size_text(worker.used_bytes)} of {size_text(worker.budget_bytes)}",
                ", ".join(f"{m.reference}{' (loading)' if m.loading else ''}" for m in worker.models) or "-",
            )
            for worker in workers
        ],
    )


def _print_principal(subject: str, roles: list[tuple[str, str]]) -> None:
    line(subject)
    print_table(("NAMESPACE", "ROLE"), [(namespace, role.lower()) for namespace, role in roles])
