"""Write docs/reference/errors.md and api.md from the protos' comments. `--check`: fail if they are not current."""

import sys
from collections.abc import Iterator
from pathlib import Path

from google.api import annotations_pb2
from google.protobuf import descriptor_pb2

from zoo.rules.v1 import rules_pb2
from zoo_gateway.comments import Comments, comments_of

ROOT = Path(__file__).resolve().parent.parent
REFERENCE = ROOT / "docs" / "reference"
DESCRIPTORS = ROOT / "gen" / "zoo" / "descriptors.binpb"
ERRORS = "zoo/errors/v1/error_reason.proto"


def main() -> int:
    files = descriptor_pb2.FileDescriptorSet.FromString(DESCRIPTORS.read_bytes()).file
    pages = {"errors.md": errors(next(f for f in files if f.name == ERRORS)), "api.md": api(files)}
    stale = [name for name, text in pages.items() if not _is_current(REFERENCE / name, text)]
    if "--check" in sys.argv:
        if stale:
            print(f"stale: {', '.join(stale)}; run .venv/bin/python docs/generate.py", file=sys.stderr)  # noqa: T201
        return bool(stale)
    for name, text in pages.items():
        (REFERENCE / name).write_text(text)
    return 0


def errors(file: descriptor_pb2.FileDescriptorProto) -> str:
    """A table of every reason."""
    comments = comments_of(file)
    lines = [
        "# Errors",
        "",
        "Every error is a gRPC status with a `google.rpc.ErrorInfo` of domain `zoo`; by REST the same as JSON, under",
        "the HTTP status of its code. The reason is for programs, the message for people. Generated from the protos.",
        "",
        "| reason | code | when |",
        "|---|---|---|",
    ]
    for index, value in enumerate(file.enum_type[0].value):
        comment = comments[(5, 0, 2, index)]
        code, colon, when = comment.partition(":")
        if value.number and colon:
            lines.append(f"| `{value.name.removeprefix('ERROR_REASON_')}` | {code} | {_cell(when)} |")
    return "\n".join(lines) + "\n"


def api(files: Iterator[descriptor_pb2.FileDescriptorProto]) -> str:
    """Every service, method and message with its limits."""
    lines = ["# API", "", "Generated from the protos. REST paths are on the same port as gRPC.", ""]
    for file in sorted((f for f in files if f.name.startswith("zoo/")), key=lambda f: (not f.service, f.name)):
        comments = comments_of(file)
        for index, service in enumerate(file.service):
            lines += _service(file.package, service, comments, (6, index))
        for index, message in enumerate(file.message_type):
            if file.package not in ("zoo.rules.v1", "zoo.errors.v1"):
                lines += _message(file.package, message, comments, (4, index))
    return "\n".join(lines).rstrip() + "\n"


def _service(
    package: str, service: descriptor_pb2.ServiceDescriptorProto, comments: Comments, path: tuple[int, ...]
) -> list[str]:
    lines = [f"## {package}.{service.name}", "", comments[path], ""]
    for index, method in enumerate(service.method):
        request = "stream " * method.client_streaming + f"`{method.input_type.rpartition('.')[2]}`"
        response = "stream " * method.server_streaming + f"`{method.output_type.rpartition('.')[2]}`"
        http = method.options.Extensions[annotations_pb2.http]
        verb = http.WhichOneof("pattern")
        rest = f"; REST `{verb.upper()} {getattr(http, verb)}`" if verb else ""
        lines += [f"### {method.name}", "", f"{request} to {response}{rest}.", "", comments[(*path, 2, index)], ""]
    return lines


def _message(
    package: str, message: descriptor_pb2.DescriptorProto, comments: Comments, path: tuple[int, ...]
) -> list[str]:
    lines = [f"### {message.name}", "", f"`{package}`. {comments[path]}", ""]
    if message.field:
        lines += ["| field | type | meaning | limits |", "|---|---|---|---|"]
    for index, field in enumerate(message.field):
        comment = comments[(*path, 2, index)]
        lines.append(f"| `{field.name}` | {_type(field)} | {_cell(comment)} | {_cell(_limits(field))} |")
    return [*lines, ""]


def _type(field: descriptor_pb2.FieldDescriptorProto) -> str:
    kinds = descriptor_pb2.FieldDescriptorProto
    name = field.type_name.rpartition(".")[2] or kinds.Type.Name(field.type).removeprefix("TYPE_").lower()
    return f"list of {name}" if field.label == kinds.LABEL_REPEATED else name


def _limits(field: descriptor_pb2.FieldDescriptorProto) -> str:
    rules = field.options.Extensions[rules_pb2.rules]
    named = {
        "min": "at least",
        "max": "at most",
        "min_len": "length from",
        "max_len": "length to",
        "max_items": "items to",
    }
    parts = ["required"] if rules.required else []
    parts += [f"{words} {getattr(rules, name):,}" for name, words in named.items() if rules.HasField(name)]
    if rules.pattern:
        parts.append(f"`{rules.pattern}`")
    return "; ".join(parts)


def _cell(text: str) -> str:
    return text.strip().replace("|", "\\|")


def _is_current(page: Path, text: str) -> bool:
    return page.exists() and page.read_text() == text


if __name__ == "__main__":
    sys.exit(main())
