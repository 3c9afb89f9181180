"""The worker over real gRPC, with tiny models."""

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModel, AutoModelForCausalLM, AutoTokenizer

from modelzoo.errors import FailedPrecondition, InvalidArgument, NotFound, PermissionDenied, ResourceExhausted
from support.inference_worker import LocalModels, WorkerRig, inference_worker
from support.tiny_models import reciting_gpt2, tiny_gpt2, tiny_llama, tiny_sentence_encoder
from support.waiting import eventually
from zoo.inference.v1 import generation_pb2 as pb
from zoo.inference.v1 import inference_service_pb2 as service_pb
from zoo_server.principal import Role

CHAT, PLAIN, RECITES, ENCODER, LONG = "acme/chat", "acme/plain", "acme/recites", "acme/encoder", "acme/long"
TEXT = "né 😀 ok"


@pytest.fixture(scope="module")
def directories(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("models")
    return {
        CHAT: tiny_llama(root / "chat"),
        PLAIN: tiny_gpt2(root / "plain"),
        RECITES: reciting_gpt2(root / "recites", TEXT, after=3),
        ENCODER: tiny_sentence_encoder(root / "encoder"),
        # Has something to say up to its context's end.
        LONG: reciting_gpt2(root / "long", "abcdefgh" * 128, after=4),
    }


@pytest.fixture
async def rig(directories: dict[str, Path]) -> AsyncIterator[WorkerRig]:
    async with inference_worker(LocalModels(directories)) as rig:
        yield rig


def chat(*contents: str) -> pb.Chat:
    return pb.Chat(messages=[pb.ChatMessage(role=pb.CHAT_ROLE_USER, content=content) for content in contents])


async def collect(call: Any) -> list[Any]:
    return [message async for message in call]


async def test_a_stream_gives_whole_characters_and_ends_with_its_finish(rig: WorkerRig) -> None:
    messages = await collect(rig.calls().stream(RECITES, text="abc"))
    assert [message.text for message in messages[:-1]] == list(TEXT)
    finish = messages[-1].finish
    assert not any(message.HasField("finish") for message in messages[:-1])
    assert finish.reason == pb.FINISH_REASON_STOP
    assert (finish.usage.input_tokens, finish.usage.output_tokens) == (3, len(TEXT.encode()) + 1)
    assert (finish.reference, finish.manifest_digest) == ("acme/recites@1", f"{2:064x}")
    assert all(getattr(finish.timings, name).ToNanoseconds() > 0 for name in ("queue", "prefill", "decode"))


async def test_generate_answers_what_the_stream_says(rig: WorkerRig) -> None:
    response = await rig.calls().generate(RECITES, text="abc", stop=["ok"])
    assert response.text == "né 😀 "
    assert response.finish.reason == pb.FINISH_REASON_STOP


async def test_a_prompt_is_one_turn_of_a_chat_where_the_model_has_a_template(
    rig: WorkerRig, directories: dict[str, Path]
) -> None:
    tokenizer = AutoTokenizer.from_pretrained(directories[CHAT])
    written = tokenizer.apply_chat_template(
        [{"role": "user", "content": "hi 😀"}], tokenize=False, add_generation_prompt=True
    )
    tokens = torch.tensor([tokenizer.encode(written, add_special_tokens=False)])
    model = AutoModelForCausalLM.from_pretrained(directories[CHAT])
    made = model.generate(tokens, max_new_tokens=20, do_sample=False)[0, tokens.shape[1] :]
    answers = [
        await rig.calls().generate(CHAT, prompt="hi 😀", max_tokens=20),
        await rig.calls().generate(CHAT, chat=chat("hi 😀"), max_tokens=20),
        await rig.calls().generate(CHAT, text=written, max_tokens=20),
    ]
    assert {answer.text for answer in answers} == {tokenizer.decode(made, skip_special_tokens=True)}
    assert {answer.finish.usage.input_tokens for answer in answers} == {tokens.shape[1]}


async def test_a_prompt_is_continued_as_it_stands_where_there_is_no_template(rig: WorkerRig) -> None:
    response = await rig.calls().generate(RECITES, prompt="abc")
    assert response.text == TEXT


async def test_the_first_message_comes_while_the_request_runs(rig: WorkerRig) -> None:
    call = rig.calls().stream(LONG, text="once", max_tokens=1000)
    first = await anext(aiter(call))
    assert first.text
    assert rig.worker.describe("").running == 1
    call.cancel()


async def test_work_stops_when_the_caller_goes(rig: WorkerRig) -> None:
    call = rig.calls().stream(LONG, text="once", max_tokens=1000)
    await anext(aiter(call))
    call.cancel()

    async def nothing_runs() -> bool:
        return rig.worker.admission.running == 0

    await eventually(nothing_runs)
    steps = (await engine_of(rig, LONG)).stats().steps
    assert steps < 900
    await rig.calls().generate(LONG, text="a", max_tokens=1)
    assert (await engine_of(rig, LONG)).stats().steps <= steps + 2


async def engine_of(rig: WorkerRig, model: str) -> Any:
    version = await rig.models.version(model)
    async with rig.worker.residency.use(version) as loaded:
        return loaded.engine


async def test_work_stops_when_the_deadline_passes(rig: WorkerRig) -> None:
    calls = rig.calls()
    await calls.generate(LONG, text="warm", max_tokens=1)
    given = pb.GenerationInput(text="once", max_tokens=1000)
    message = service_pb.StreamGenerateRequest(model=LONG, input=given)
    with pytest.raises(Exception, match="DEADLINE_EXCEEDED"):
        await collect(calls.stub.StreamGenerate(message, metadata=calls.metadata, timeout=0.1))

    async def nothing_runs() -> bool:
        return rig.worker.admission.running + rig.worker.admission.queued == 0

    await eventually(nothing_runs)
    assert (await engine_of(rig, LONG)).stats().steps < 1000


async def test_several_streams_at_once_each_get_their_own_text(rig: WorkerRig) -> None:
    calls = rig.calls()
    alone = [(await calls.generate(CHAT, text=text, max_tokens=40)).text for text in ("a", "bb", "ccc")]
    streams = [collect(calls.stream(CHAT, text=text, max_tokens=40)) for text in ("a", "bb", "ccc")]
    assert ["".join(m.text for m in stream) for stream in await asyncio.gather(*streams)] == alone


async def test_a_seed_repeats_its_text(rig: WorkerRig) -> None:
    sampling = pb.Sampling(temperature=1.5, top_p=0.9, top_k=40, seed=2**64 - 1)
    texts = [(await rig.calls().generate(CHAT, text="a", max_tokens=30, sampling=sampling)).text for _ in range(2)]
    assert texts[0] == texts[1]
    sampling.seed = 3
    assert (await rig.calls().generate(CHAT, text="a", max_tokens=30, sampling=sampling)).text != texts[0]


async def test_a_full_queue_says_when_to_come_back(directories: dict[str, Path]) -> None:
    async with inference_worker(LocalModels(directories), queue=1) as rig:
        call = rig.calls().stream(LONG, text="once", max_tokens=1000)
        await anext(aiter(call))
        error = await rig.calls().refusal(rig.calls().generate(PLAIN, text="x"))
        assert isinstance(error, ResourceExhausted)
        assert error.reason == "QUEUE_FULL"
        assert error.retry_after_s
        call.cancel()


async def test_a_model_is_loaded_once_for_all_who_ask(rig: WorkerRig) -> None:
    await asyncio.gather(*(rig.calls().generate(CHAT, text="a", max_tokens=1) for _ in range(5)))
    assert rig.models.loads == [CHAT]


def bytes_of(directories: dict[str, Path], model: str) -> int:
    return (directories[model] / "model.safetensors").stat().st_size


async def test_the_least_recently_used_model_leaves_and_comes_back(directories: dict[str, Path]) -> None:
    models = LocalModels(directories, facts={model: {"F32": bytes_of(directories, model)} for model in (CHAT, PLAIN)})
    room = bytes_of(directories, PLAIN) + bytes_of(directories, CHAT) // 2
    async with inference_worker(models, memory_bytes=room) as rig:
        first = await rig.calls().generate(CHAT, text="a", max_tokens=5)
        await rig.calls().generate(PLAIN, text="a", max_tokens=5)
        assert [r.version.reference for r in rig.worker.residency.residents] == [f"{PLAIN}@1"]
        assert (await rig.calls().generate(CHAT, text="a", max_tokens=5)).text == first.text
        assert models.loads == [CHAT, PLAIN, CHAT]


async def test_a_model_in_use_stays_and_the_other_waits(directories: dict[str, Path]) -> None:
    models = LocalModels(directories, facts={CHAT: {"F32": bytes_of(directories, CHAT)}})
    room = bytes_of(directories, LONG) + bytes_of(directories, CHAT) // 2
    async with inference_worker(models, memory_bytes=room) as rig:
        call = rig.calls().stream(LONG, text="once", max_tokens=300)
        stream = aiter(call)
        await anext(stream)
        other = asyncio.ensure_future(rig.calls().generate(CHAT, text="a", max_tokens=2))
        rest = [message async for message in stream]
        assert rest[-1].HasField("finish"), "it was cut off"
        assert (await other).finish.usage.output_tokens > 0


async def test_a_model_over_the_budget_is_refused(directories: dict[str, Path]) -> None:
    models = LocalModels(directories, facts={CHAT: {"F32": 5000}})
    async with inference_worker(models, memory_bytes=1000) as rig:
        for model in (CHAT, PLAIN):  # known beforehand; found out on loading
            error = await rig.calls().refusal(rig.calls().generate(model, text="a"))
            assert (type(error), error.reason) == (ResourceExhausted, "MODEL_TOO_LARGE")


async def test_vectors_are_those_of_transformers(rig: WorkerRig, directories: dict[str, Path]) -> None:
    texts = ["a", "hello world", "naïve 😀", "x" * 60]
    response = await rig.calls().embed(ENCODER, *texts)
    model, tokenizer = (
        AutoModel.from_pretrained(directories[ENCODER]),
        AutoTokenizer.from_pretrained(directories[ENCODER]),
    )
    for text, embedding in zip(texts, response.embeddings, strict=True):
        with torch.no_grad():
            hidden = model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0].mean(0)
        torch.testing.assert_close(torch.tensor(embedding.values), hidden / hidden.norm(), atol=1e-5, rtol=0)
    assert response.usage.input_tokens == sum(len(tokenizer.encode(text)) for text in texts)
    assert response.usage.output_tokens == 0


@pytest.mark.parametrize(
    ("given", "reason", "says"),
    [
        ({"text": ""}, "INPUT_EMPTY", "no text"),
        ({"prompt": " \n"}, "INPUT_EMPTY", "no text"),
        ({}, "INPUT_EMPTY", "no text"),
        ({"chat": chat("", " ")}, "INPUT_EMPTY", "no text"),
        ({"chat": pb.Chat()}, "FIELD_INVALID", "messages"),
        ({"chat": pb.Chat(messages=[pb.ChatMessage(content="x")])}, "FIELD_INVALID", "role"),
        ({"text": "a\0b"}, "TEXT_INVALID", "NUL"),
        ({"text": "a", "stop": [""]}, "FIELD_INVALID", "stop"),
        ({"text": "a", "stop": ["x"] * 17}, "FIELD_INVALID", "16"),
        ({"text": "x" * 2000}, "CONTEXT_EXCEEDED", "2000 tokens.*1024"),
        ({"text": "x" * 1024}, "CONTEXT_EXCEEDED", "1024 tokens"),
        ({"text": "abc", "max_tokens": 1022}, "CONTEXT_EXCEEDED", "1022.*leave 1021.*1024"),
        ({"text": "a", "max_tokens": 10**9}, "FIELD_INVALID", "1e\\+09.*1.04858e\\+06|max_tokens"),
        ({"text": "a", "max_tokens": 0}, "FIELD_INVALID", "max_tokens"),
        ({"text": "a", "sampling": pb.Sampling(temperature=2.5)}, "FIELD_INVALID", "temperature"),
        ({"text": "a", "sampling": pb.Sampling(temperature=-1)}, "FIELD_INVALID", "temperature"),
        ({"text": "a", "sampling": pb.Sampling(temperature=float("nan"))}, "FIELD_INVALID", "temperature"),
        ({"text": "a", "sampling": pb.Sampling(top_p=0)}, "FIELD_INVALID", "top_p"),
        ({"text": "a", "sampling": pb.Sampling(top_p=1.5)}, "FIELD_INVALID", "top_p"),
        ({"text": "a", "sampling": pb.Sampling(top_k=2_000_000)}, "FIELD_INVALID", "top_k"),
        ({"chat": chat("hello")}, "CHAT_TEMPLATE_INVALID", "no chat template"),
    ],
)
async def test_bad_generation_input_is_refused(rig: WorkerRig, given: dict[str, Any], reason: str, says: str) -> None:
    error = await rig.calls().refusal(rig.calls().generate(PLAIN, **given))
    assert (type(error), error.reason) == (InvalidArgument, reason)
    assert re.search(says, error.message)
    assert rig.worker.admission.running + rig.worker.admission.queued == 0


@pytest.mark.parametrize(
    ("texts", "reason"),
    [
        ([], "FIELD_INVALID"),
        (["a", "  "], "INPUT_EMPTY"),
        (["a", "b\0"], "TEXT_INVALID"),
        (["a", "x" * 63], "CONTEXT_EXCEEDED"),
        (["a"] * 2049, "FIELD_INVALID"),
    ],
)
async def test_bad_embedding_input_is_refused(rig: WorkerRig, texts: list[str], reason: str) -> None:
    error = await rig.calls().refusal(rig.calls().embed(ENCODER, *texts))
    assert (type(error), error.reason) == (InvalidArgument, reason)


async def test_too_long_a_text_is_named_with_both_numbers(rig: WorkerRig) -> None:
    error = await rig.calls().refusal(rig.calls().embed(ENCODER, "a", "x" * 63))
    assert error.metadata == {"tokens": "65", "context": "64"}
    assert error.field == "texts[1]"


async def test_the_longest_text_is_embedded(rig: WorkerRig) -> None:
    assert (await rig.calls().embed(ENCODER, "x" * 62)).usage.input_tokens == 64


async def test_the_longest_input_and_answer_fill_the_context(rig: WorkerRig) -> None:
    response = await rig.calls().generate(LONG, text="x" * 1014, max_tokens=10)
    assert response.finish.usage.output_tokens == 10
    unbounded = await rig.calls().generate(LONG, text="x" * 1014)
    assert (unbounded.finish.usage.output_tokens, unbounded.finish.reason) == (10, pb.FINISH_REASON_LENGTH)


@pytest.mark.parametrize("reference", ["", "a/b/c", "acme/chat@", "acme/chat@07", "../x"])
async def test_a_malformed_reference_is_refused(rig: WorkerRig, reference: str) -> None:
    error = await rig.calls().refusal(rig.calls().generate(reference, text="a"))
    assert isinstance(error, InvalidArgument)
    assert error.reason == ("REFERENCE_INVALID" if reference else "FIELD_INVALID")


async def test_an_unknown_model_is_not_found(rig: WorkerRig) -> None:
    error = await rig.calls().refusal(rig.calls().generate("acme/nothing", text="a"))
    assert (type(error), error.reason) == (NotFound, "MODEL_NOT_FOUND")


@pytest.mark.parametrize(
    ("roles", "refused"),
    [
        ({"other": Role.ADMIN}, (NotFound, "MODEL_NOT_FOUND")),
        ({"acme": Role.VIEWER}, (PermissionDenied, "ROLE_MISSING")),
    ],
)
async def test_who_is_no_invoker_is_refused_and_a_stranger_learns_nothing(
    rig: WorkerRig, roles: dict[str, Role], refused: tuple[type, str]
) -> None:
    calls = rig.calls(**roles)
    for call in (calls.generate(CHAT, text="a"), calls.embed(ENCODER, "a"), calls.generate("acme/nothing", text="a")):
        error = await calls.refusal(call)
        assert (type(error), error.reason) == refused


async def test_another_task_is_refused_with_what_the_model_does(directories: dict[str, Path]) -> None:
    models = LocalModels(directories, architectures={CHAT: "LlamaForCausalLM"})
    async with inference_worker(models) as rig:
        calls = rig.calls()
        known = await calls.refusal(calls.embed(CHAT, "a"))
        assert models.loads == [], "it was loaded to find out what the catalog knows"
        found_out = [
            await calls.refusal(calls.embed(PLAIN, "a")),
            await calls.refusal(calls.generate(ENCODER, text="a")),
        ]
        assert {error.reason for error in [known, *found_out]} == {"TASK_MISMATCH"}
        assert [error.metadata["task"] for error in found_out] == ["text-generation", "sentence-similarity"]


async def test_a_model_that_cannot_be_loaded_says_why_to_all_and_is_tried_again(tmp_path: Path) -> None:
    broken = tiny_llama(tmp_path / "broken")
    weights = (broken / "model.safetensors").read_bytes()
    (broken / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    async with inference_worker(LocalModels({CHAT: broken})) as rig:
        calls = rig.calls()
        errors = await asyncio.gather(*(calls.refusal(calls.generate(CHAT, text="a")) for _ in range(3)))
        assert {(type(error), error.reason) for error in errors} == {(FailedPrecondition, "MODEL_LOAD_FAILED")}
        assert rig.worker.describe("").models == ()
        (broken / "model.safetensors").write_bytes(weights)
        assert (await calls.generate(CHAT, text="a", max_tokens=2)).finish.usage.output_tokens > 0


async def test_presence_names_what_is_loaded(rig: WorkerRig) -> None:
    await rig.calls().embed(ENCODER, "a")
    presence = rig.worker.describe("10.0.0.1:5000")
    assert presence.address == "10.0.0.1:5000"
    assert [(model.reference, model.task, model.loading) for model in presence.models] == [
        ("acme/encoder@1", "sentence-similarity", False)
    ]
    assert 0 < presence.models[0].size_bytes == presence.used_bytes <= presence.budget_bytes
