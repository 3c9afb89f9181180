"""The process that renders one model's chat templates: started with `python -m`, reads and writes framed JSON.

A template is a program that came with the model. It runs in transformers' sandbox, and in a process of its own because
nothing inside a process bounds its time and memory.
"""

import json
import resource
import signal
import struct
import sys
from typing import Any, BinaryIO, cast

__all__ = ["LENGTH", "main", "render"]

LENGTH = struct.Struct(">I")
MEMORY_BYTES = 512 * 1024 * 1024
TEXT_CHARACTERS_MAX = 8 * 1024 * 1024


def main() -> None:
    """Answer requests until the input ends. The process ends if one takes more CPU time than the argument says."""
    limit_s = float(sys.argv[1])
    # Also imports everything, which is nobody's fault.
    render({"messages": [], "template": "", "special_tokens": {}})
    _bound_memory()
    while (request := _read(sys.stdin.buffer)) is not None:
        # The default action of SIGPROF ends the process, in whatever it is.
        signal.setitimer(signal.ITIMER_PROF, limit_s)
        answer = render(request)
        signal.setitimer(signal.ITIMER_PROF, 0)
        _write(sys.stdout.buffer, answer)


def render(request: dict[str, Any]) -> dict[str, str]:
    """`text`, or `refused` and why. Takes `messages`, `template` and `special_tokens`."""
    from jinja2 import TemplateError
    from transformers.utils import chat_template_utils

    try:
        texts, _ = cast(Any, chat_template_utils).render_jinja_template(
            conversations=[request["messages"]],
            chat_template=request["template"],
            add_generation_prompt=True,
            **request["special_tokens"],
        )
        return {"text": _bounded(texts[0])}
    except TemplateError as error:
        return {"refused": str(error)[:500]}
    # The sandbox lets through what Python raises over a template's mistakes.
    except (ArithmeticError, AttributeError, LookupError, MemoryError, RecursionError, TypeError, ValueError) as error:
        return {"refused": f"{type(error).__name__}: {str(error)[:500]}"}


def _bounded(text: str) -> str:
    if len(text) > TEXT_CHARACTERS_MAX:
        raise ValueError(f"it makes {len(text)} characters; at most {TEXT_CHARACTERS_MAX} are allowed")
    return text


def _bound_memory() -> None:
    pages = int(open("/proc/self/statm").read().split()[0])  # noqa: SIM115 - read once
    limit = pages * resource.getpagesize() + MEMORY_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _read(stream: BinaryIO) -> dict[str, Any] | None:
    head = stream.read(LENGTH.size)
    if len(head) < LENGTH.size:
        return None
    return json.loads(stream.read(LENGTH.unpack(head)[0]))


def _write(stream: BinaryIO, answer: dict[str, str]) -> None:
    data = json.dumps(answer).encode()
    stream.write(LENGTH.pack(len(data)) + data)
    stream.flush()


if __name__ == "__main__":
    main()
