"""A model's chat template: from messages to the text that the model continues."""

import asyncio
import json
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress

from modelzoo.errors import InvalidArgument
from zoo_inference.requests import Message
from zoo_inference.template_child import LENGTH

__all__ = ["ChatTemplate"]

# CPU time and not wall time: a busy machine is no fault of the template's.
RENDER_CPU_S = 1.0
# Wall time for an answer, which the first time includes the child's start, on a machine that may be busy.
ANSWER_S = 30.0


class ChatTemplate:
    """Renders in a child process, which is started anew after it died."""

    def __init__(self, template: str, special_tokens: Mapping[str, str]) -> None:
        self._template = template
        self._special_tokens = dict(special_tokens)
        self._child: asyncio.subprocess.Process | None = None
        self._turn = asyncio.Lock()

    async def start(self) -> asyncio.subprocess.Process:
        """Start the child, which takes a second to be ready; the first rendering starts it too."""
        self._child = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "zoo_inference.template_child",
            str(RENDER_CPU_S),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            # Nothing of this process's environment, which may hold credentials.
            env={"HF_HUB_OFFLINE": "1", "USE_TORCH": "0", "PATH": os.defpath, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        return self._child

    async def render(self, messages: Sequence[Message]) -> str:
        """The text, up to where the assistant begins; CHAT_TEMPLATE_INVALID if the template refuses or misbehaves."""
        request = {
            "messages": [{"role": message.role, "content": message.content} for message in messages],
            "template": self._template,
            "special_tokens": self._special_tokens,
        }
        async with self._turn:
            answer = await self._ask(json.dumps(request).encode())
        if "refused" in answer:
            raise _invalid(f"the model's chat template refuses these messages: {answer['refused']}")
        return answer["text"]

    async def close(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            with suppress(ProcessLookupError):
                child.kill()
            await child.communicate()

    async def _ask(self, request: bytes) -> dict[str, str]:
        child = self._child or await self.start()
        stdin, stdout = child.stdin, child.stdout
        if stdin is None or stdout is None:
            raise RuntimeError("the child has no pipes")
        try:
            async with asyncio.timeout(ANSWER_S):
                stdin.write(LENGTH.pack(len(request)) + request)
                await stdin.drain()
                head = await stdout.readexactly(LENGTH.size)
                return json.loads(await stdout.readexactly(LENGTH.unpack(head)[0]))
        except (TimeoutError, asyncio.IncompleteReadError, ConnectionError) as error:
            await self.close()
            raise _invalid("the model's chat template took too long or too much memory") from error
        except BaseException:
            # The caller went in mid-answer: the next one must not read the rest of it.
            await self.close()
            raise


def _invalid(problem: str) -> InvalidArgument:
    return InvalidArgument(
        "CHAT_TEMPLATE_INVALID", f"{problem}. Change the messages, or send `text` instead.", field="input.chat"
    )
