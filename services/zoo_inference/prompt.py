"""From a request to tokens: chat template, tokenizer, and the limits of the model's context."""

from dataclasses import dataclass
from functools import partial

from modelzoo.errors import InvalidArgument
from modelzoo.tasks.tokenizing import Tokenizing
from zoo_inference.engine import GenerationTask
from zoo_inference.requests import Chat, GenerationRequest, Message, Prompt, Text
from zoo_inference.template import ChatTemplate
from zoo_inference.text_thread import TextThread

__all__ = ["PromptMaker"]

MAX_TOKENS_DEFAULT = 512


@dataclass(frozen=True, slots=True)
class PromptMaker:
    """One model's. `context` bounds input and output together, in tokens; `template` is None where it has none."""

    tokenizing: Tokenizing
    template: ChatTemplate | None
    context: int
    thread: TextThread

    async def make(self, request: GenerationRequest, arrived: float) -> GenerationTask:
        """The task that the engine takes. Raises CHAT_TEMPLATE_INVALID, CONTEXT_EXCEEDED, INPUT_EMPTY,
        TEXT_INVALID, TOKENIZER_STUCK.
        """
        tokens = await self._tokens(request.input)
        if not tokens:
            raise InvalidArgument("INPUT_EMPTY", "the model's tokenizer makes nothing of this input", field="input")
        return GenerationTask(
            tokens=tuple(tokens),
            max_tokens=self._max_tokens(len(tokens), request.max_tokens),
            arrived=arrived,
            sampling=request.sampling,
            stop=request.stop,
        )

    async def _tokens(self, given: Text | Prompt | Chat) -> list[int]:
        messages = _messages(given)
        if messages is not None and self.template is not None:
            text = await self.template.render(messages)
            # The template has written the special tokens already.
            return await self._encode(text, add_special_tokens=False)
        if isinstance(given, Chat):
            raise InvalidArgument(
                "CHAT_TEMPLATE_INVALID",
                "this model has no chat template, so it cannot continue a chat: send `text` instead",
                field="input.chat",
            )
        return await self._encode(given.text, add_special_tokens=True)

    async def _encode(self, text: str, *, add_special_tokens: bool) -> list[int]:
        return await self.thread.do(partial(self.tokenizing.encode, text, add_special_tokens=add_special_tokens))

    def _max_tokens(self, input_tokens: int, asked: int | None) -> int:
        left = self.context - input_tokens
        metadata = {"tokens": str(input_tokens), "context": str(self.context)}
        if left < 1:
            raise InvalidArgument(
                "CONTEXT_EXCEEDED",
                f"the input has {input_tokens} tokens, which leaves no room for an answer in the model's context of "
                f"{self.context}: shorten it",
                metadata=metadata,
                field="input",
            )
        if asked is not None and asked > left:
            raise InvalidArgument(
                "CONTEXT_EXCEEDED",
                f"max_tokens is {asked}, but the input's {input_tokens} tokens leave {left} of the model's context of "
                f"{self.context}: ask for at most that",
                metadata={**metadata, "max_tokens": str(asked)},
                field="input.max_tokens",
            )
        return min(MAX_TOKENS_DEFAULT, left) if asked is None else asked


def _messages(given: Text | Prompt | Chat) -> tuple[Message, ...] | None:
    """As a chat, where it may be one."""
    match given:
        case Text():
            return None
        case Prompt():
            return (Message("user", given.text),)
        case Chat():
            return given.messages
