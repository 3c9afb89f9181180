"""A dataset's conversations as text, by the base's own chat template, parted into what is asked and what is answered.

transformers renders templates in Jinja's sandbox; one that takes for ever takes the time of its own job.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple, cast

from modelzoo.errors import InvalidArgument

__all__ = ["Conversation", "Said"]

MESSAGE_FIELDS = frozenset({"role", "content"})


class Said(NamedTuple):
    """A part of a text, and whether the model is to say it."""

    text: str
    is_answer: bool


class Conversation:
    """Reads conversations for one tokenizer."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self.possible = tokenizer.chat_template is not None

    def read(self, messages: Any) -> list[Said]:
        """The parts in order; together they are what the template makes of the messages.

        DATASET_UNSUITABLE where they are none, or where the template refuses them.
        """
        checked = [_message(each) for each in cast(list[Any], messages)] if isinstance(messages, list) else []
        if not any(each["role"] == "assistant" for each in checked):
            shown = ascii(str(cast(Any, messages))[:200])
            raise _unsuitable(f"a conversation has no message of an assistant to learn from: {shown}")
        parts: list[Said] = []
        known = ""
        for number, message in enumerate(checked, 1):
            if message["role"] != "assistant":
                continue
            asked = self._render(checked[: number - 1], answering=True)
            whole = self._render(checked[:number], answering=False)
            if not asked.startswith(known) or not whole.startswith(asked):
                # It leaves out or changes what came before: then the last rendering is one text, all of it learned.
                return [Said(self._render(checked, answering=False), True)]
            parts += [Said(asked[len(known) :], False), Said(whole[len(asked) :], True)]
            known = whole
        return [part for part in parts if part.text]

    def _render(self, messages: list[dict[str, str]], *, answering: bool) -> str:
        try:
            return self._tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=answering)
        # A template is somebody's program, and raises what it likes.
        except Exception as error:
            raise _unsuitable(f"the base's chat template refuses a conversation: {str(error)[:300]}") from error


def _message(value: Any) -> dict[str, str]:
    if not isinstance(value, Mapping):
        raise _unsuitable(f"a message is an object with role and content, not {str(value)[:80]!a}")
    found = {name: cast(Mapping[str, Any], value).get(name) for name in MESSAGE_FIELDS}
    if not all(isinstance(each, str) for each in found.values()):
        raise _unsuitable(f"role and content of a message are texts: {str(cast(Any, value))[:200]!a}")
    return cast(dict[str, str], found)


def _unsuitable(why: str) -> InvalidArgument:
    return InvalidArgument("DATASET_UNSUITABLE", f"These conversations cannot be learned from: {why}.")
