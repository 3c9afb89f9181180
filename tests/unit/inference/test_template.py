"""Chat templates: what transformers would write, and programs that misbehave."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from modelzoo.errors import InvalidArgument
from support.tiny_models import CHAT_TEMPLATE, byte_tokenizer
from zoo_inference.requests import Message
from zoo_inference.template import ChatTemplate
from zoo_inference.template_child import render

MESSAGES = (Message("system", "Be brief."), Message("user", 'Say "hi" 😀\n'))
SPECIAL = {"bos_token": "<|start|>", "eos_token": "<|end|>"}


@pytest.fixture
async def make() -> AsyncIterator[Callable[[str], ChatTemplate]]:
    made: list[ChatTemplate] = []

    def of(text: str) -> ChatTemplate:
        made.append(ChatTemplate(text, SPECIAL))
        return made[-1]

    yield of
    for template in made:
        await template.close()


async def refusal(template: ChatTemplate) -> str:
    with pytest.raises(InvalidArgument) as caught:
        await template.render(MESSAGES)
    assert caught.value.reason == "CHAT_TEMPLATE_INVALID"
    return caught.value.message


TEMPLATES = [
    CHAT_TEMPLATE,
    "{{ bos_token }}{% for m in messages if m.role == 'user' %}{{ m.content | trim | tojson }}\n {% endfor %}",
    "{%- for m in messages %}{% if loop.index > 1 %}{% break %}{% endif %}{{ m['content'] }}{% endfor -%}",
]
CHAT = [{"role": message.role, "content": message.content} for message in MESSAGES]


def rendered(text: str) -> dict[str, str]:
    """What the child answers, here in this process."""
    return render({"messages": CHAT, "template": text, "special_tokens": SPECIAL})


@pytest.mark.parametrize("text", TEMPLATES)
def test_it_writes_what_transformers_writes(text: str) -> None:
    tokenizer = byte_tokenizer(chat_template=text)
    expected = tokenizer.apply_chat_template(CHAT, tokenize=False, add_generation_prompt=True)
    assert rendered(text) == {"text": expected}


async def test_the_child_writes_the_same_again_and_again(make: Callable[[str], ChatTemplate]) -> None:
    template = make(CHAT_TEMPLATE)
    assert {await template.render(MESSAGES) for _ in range(3)} == {rendered(CHAT_TEMPLATE)["text"]}


@pytest.mark.parametrize(
    "text",
    [
        "{{ messages.nothing.more }}",
        "{% for %}",
        "{{ 1 / 0 }}",
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ messages.append(1) }}",
        "{{ cycler.__init__.__globals__.os.getcwd() }}",
        "{{ ('x' * 100000) * 100 }}",
    ],
)
def test_a_mistake_in_a_template_is_a_refusal(text: str) -> None:
    assert "refused" in rendered(text)


async def test_a_template_may_refuse(make: Callable[[str], ChatTemplate]) -> None:
    assert "no system, please" in await refusal(make("{{ raise_exception('no system, please') }}"))


async def test_memory_is_bounded(make: Callable[[str], ChatTemplate]) -> None:
    assert "MemoryError" in await refusal(make("{{ 'x' * 10**10 }}"))


ENDLESS = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"


@pytest.mark.parametrize("text", [ENDLESS, "{{ 9 ** (9 ** 9) }}"])
async def test_a_template_without_end_is_ended_and_hurts_nobody_else(
    make: Callable[[str], ChatTemplate], text: str
) -> None:
    endless, good = make(text), make("fine")
    assert (await asyncio.gather(refusal(endless), good.render(MESSAGES)))[1] == "fine"


async def test_a_template_serves_on_after_it_was_ended(make: Callable[[str], ChatTemplate]) -> None:
    template = make("{% if messages[0].content == 'long' %}" + ENDLESS + "{% else %}ok{% endif %}")
    with pytest.raises(InvalidArgument):
        await template.render((Message("user", "long"),))
    assert await template.render(MESSAGES) == "ok"


async def test_a_caller_who_goes_does_not_leave_its_answer_to_the_next(make: Callable[[str], ChatTemplate]) -> None:
    template = make("{{ messages[0].content }}")
    for _ in range(3):
        gone = asyncio.ensure_future(template.render((Message("user", "the first one's"),)))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        gone.cancel()
    assert await template.render((Message("user", "mine"),)) == "mine"


async def test_the_child_gets_nothing_of_the_environment(
    make: Callable[[str], ChatTemplate], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hush")
    template = make("ok")
    await template.render(MESSAGES)
    child = template._child
    assert child is not None
    assert b"hush" not in Path(f"/proc/{child.pid}/environ").read_bytes()
