"""`zoo access`: asking for gated models, and deciding about it."""

from typing import TYPE_CHECKING, Annotated

import typer

from modelzoo.command.arguments import ModelArgument
from modelzoo.command.session import open_client
from modelzoo.command.terminal import answer, line, note, print_table, short_time

if TYPE_CHECKING:
    from modelzoo.records import AccessRequest

__all__ = ["register"]

SubjectArgument = Annotated[str, typer.Argument(metavar="SUBJECT", help="Who asked; `zoo access list` shows them.")]
ReasonOption = Annotated[str, typer.Option(help="Why, for who asked.")]

app = typer.Typer(
    help="Ask for gated models, and decide who may use them. Publishers of a namespace need not ask.",
    no_args_is_help=True,
)


def register(root: typer.Typer) -> None:
    """Add the group."""
    root.add_typer(app, name="access")


@app.command("request")
def request(model: ModelArgument, reason: Annotated[str, typer.Option(help="What for, for who decides.")] = "") -> None:
    """Ask for access to a gated model. A publisher of its namespace decides."""
    with open_client() as client:
        made = client.access.request_model(model, reason)
    answer(made, lambda: line(f"{made.model}: {made.state}"))


@app.command("list")
def list_requests(
    model: Annotated[str, typer.Argument(metavar="[MODEL]", help="Only for this model.")] = "",
    state: Annotated[str, typer.Option(help="Only pending, approved, denied or revoked ones.")] = "",
) -> None:
    """List your requests, and those that you may decide."""
    with open_client() as client:
        found = list(client.access.model_requests(model, state))
    answer({"access_requests": found}, lambda: _print(found))


@app.command("approve")
def approve(model: ModelArgument, subject: SubjectArgument, reason: ReasonOption = "") -> None:
    """Let a subject that asked use a gated model."""
    _decide(model, subject, "APPROVED", reason)


@app.command("deny")
def deny(model: ModelArgument, subject: SubjectArgument, reason: ReasonOption = "") -> None:
    """Refuse a request. The subject can ask again."""
    _decide(model, subject, "DENIED", reason)


@app.command("revoke")
def revoke(model: ModelArgument, subject: SubjectArgument, reason: ReasonOption = "") -> None:
    """Take an approval back. Within two seconds no worker runs the model for the subject any more."""
    _decide(model, subject, "REVOKED", reason)


def _decide(model: str, subject: str, decision: str, reason: str) -> None:
    with open_client() as client:
        decided = client.access.decide_model_request(model, subject, decision, reason)
    answer(decided, lambda: line(f"{decided.subject} on {decided.model}: {decided.state}"))


def _print(requests: "list[AccessRequest]") -> None:
    print_table(
        ("MODEL", "SUBJECT", "STATE", "ASKED", "REASON", "DECIDED BY", "BECAUSE"),
        [
            (
                each.model,
                each.subject,
                each.state,
                short_time(each.create_time),
                each.reason or "-",
                each.decider or "-",
                each.decision_reason or "-",
            )
            for each in requests
        ],
    )
    if any(each.state == "PENDING" for each in requests):
        note("decide with `zoo access approve MODEL SUBJECT` or `zoo access deny MODEL SUBJECT`")
