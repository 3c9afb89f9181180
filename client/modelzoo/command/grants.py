"""`zoo grants`: who may do what, where."""

from typing import Annotated

import typer

from modelzoo.command.session import open_client
from modelzoo.command.terminal import answer, line, print_table, short_time

__all__ = ["register"]

ROLES = ("viewer", "invoker", "publisher", "trainer", "admin")

SubjectArgument = Annotated[str, typer.Argument(metavar="SUBJECT", help="Whom: the subject of keys.")]
NamespaceArgument = Annotated[str, typer.Argument(metavar="NAMESPACE", help="Where; '*' is the cluster.")]

app = typer.Typer(help="Give, list and take roles in namespaces (for their admins).", no_args_is_help=True)


def register(root: typer.Typer) -> None:
    """Add the group."""
    root.add_typer(app, name="grants")


@app.command("add")
def add(
    subject: SubjectArgument,
    namespace: NamespaceArgument,
    role: Annotated[str, typer.Argument(metavar="ROLE", help=f"{', '.join(ROLES[:-1])} or {ROLES[-1]}.")],
) -> None:
    """Give a subject a role in a namespace, in place of the one it had there."""
    if role.lower() not in ROLES:
        raise typer.BadParameter(f"{role!a} is none of {', '.join(ROLES)}.", param_hint="ROLE")
    with open_client() as client:
        given = client.access.create_grant(subject, namespace, role)
    answer(given, lambda: line(f"{given.subject} is {given.role.lower()} in {given.namespace}"))


@app.command("list")
def list_grants(namespace: NamespaceArgument) -> None:
    """List a namespace's grants."""
    with open_client() as client:
        found = list(client.access.grants(namespace))
    rows = [(each.subject, each.role.lower(), each.namespace, short_time(each.create_time)) for each in found]
    answer({"grants": found}, lambda: print_table(("SUBJECT", "ROLE", "NAMESPACE", "GIVEN"), rows))


@app.command("remove")
def remove(subject: SubjectArgument, namespace: NamespaceArgument) -> None:
    """Take a subject's role in a namespace away."""
    with open_client() as client:
        client.access.revoke_grant(subject, namespace)
    answer({"removed": subject, "namespace": namespace}, lambda: line(f"{subject} has no role in {namespace} any more"))
