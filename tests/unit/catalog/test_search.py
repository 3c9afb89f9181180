"""Finding models: filters, words, orders, pages and counts, each caller seeing its own."""

import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest
import pytest_asyncio

from modelzoo.errors import InvalidArgument
from support.catalog_service import Caller, CatalogService, refused, running_catalog
from zoo.catalog.v1 import catalog_service_pb2 as pb
from zoo.catalog.v1 import model_pb2
from zoo_server.paging import encode_token
from zoo_server.principal import Role

CARD = """---
license: {licence}
pipeline_tag: {task}
tags: {tags}
---
{text}
"""


async def make(zoo: CatalogService, name: str, description: str = "", **card: Any) -> None:
    """A model with one version whose card says this."""
    namespace = name.partition("/")[0]
    model = model_pb2.Model(name=name, description=description)
    await zoo.admin.catalog.CreateModel(pb.CreateModelRequest(model=model))
    said: Mapping[str, Any] = {"licence": "mit", "task": "fill-mask", "tags": [], "text": "", **card}
    files = {
        "README.md": CARD.format(**{**said, "tags": json.dumps(said["tags"])}).encode(),
        "config.json": json.dumps({"architectures": [said.get("architecture", "BertForMaskedLM")]}).encode(),
        "data.bin": b"x" * said.get("size", 1),
    }
    await zoo.admin.publish(name, zoo.artifact.put(namespace, files))


# Tests that write nothing look at one catalog, on the loop that serves it.
reads = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture
async def models(zoo: CatalogService) -> CatalogService:
    return await fill(zoo)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def standing(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[CatalogService]:
    """The same models, for all tests that only read them."""
    async with running_catalog(tmp_path_factory.mktemp("standing")) as zoo:
        yield await fill(zoo)


async def fill(zoo: CatalogService) -> CatalogService:
    for namespace in ("nlp", "vision"):
        await zoo.namespace(namespace)
    await make(zoo, "nlp/Bert-small", "An encoder", tags=["chat", "Small"], text="Knows résumés.")
    await make(zoo, "nlp/gpt2", "Writes prose", task="text-generation", tags=["chat"], architecture="GPT2LMHeadModel")
    await make(zoo, "vision/resnet18", "Sees 100% of it", task="image-classification", licence="bsd", text="Like bert?")
    await make(zoo, "vision/yolos_tiny", "Finds things", task="object-detection", licence="apache-2.0", size=9000)
    return zoo


async def found(caller: Caller, **wanted: Any) -> list[str]:
    response = await caller.catalog.ListModels(pb.ListModelsRequest(**wanted))
    return [model.name.partition("/")[2] for model in response.models]


BERT, GPT2, RESNET, YOLOS = "Bert-small", "gpt2", "resnet18", "yolos_tiny"


@reads
@pytest.mark.parametrize(
    ("filter", "names"),
    [
        ("task = text-generation", [GPT2]),
        ("task != text-generation AND namespace = NLP", [BERT]),
        ("tags:chat", [BERT, GPT2]),
        ("tags:small", []),
        ("tags:Small", [BERT]),
        ("tags:*", [BERT, GPT2]),
        ("NOT tags:*", [RESNET, YOLOS]),
        ("name = nlp/BERT-SMALL", [BERT]),
        ("name = *18", [RESNET]),
        ("name = vision/*", [RESNET, YOLOS]),
        ("name != vision/*", [BERT, GPT2]),
        ("name = *s_t*", [YOLOS]),
        ("name = *t_s*", []),
        ('description = "*100%*"', [RESNET]),
        ("description:PROSE", [GPT2]),
        ("card:bert", [RESNET]),
        ("architecture = GPT2*", [GPT2]),
        ("licence = bsd OR licence = apache-2.0", [RESNET, YOLOS]),
        ("task = fill-mask AND licence = bsd OR licence = mit", [BERT]),
        ("size_bytes > 9e3", [YOLOS]),
        ("size_bytes <= 9_000", [BERT, GPT2, RESNET]),
        (
            "latest_version = 1 update_time > 2026-01-01 create_time < 2200-01-01T00:00:00+01:00",
            [BERT, GPT2, RESNET, YOLOS],
        ),
        ("update_time < 2026-01-01", []),
        ("kind = dataset", []),
        ("kind = Model owner = admin gated = false size_bytes < 9000", [BERT, GPT2, RESNET]),
        ("gated = true OR gated != false", []),
    ],
)
async def test_filters_select(standing: CatalogService, filter: str, names: list[str]) -> None:
    assert await found(standing.admin, filter=filter) == names


@reads
@pytest.mark.parametrize(
    ("filter", "character", "says"),
    [
        ("tsk = x", 1, "did you mean 'task'?"),
        ("task = x AND foo = 1", 14, "there are architecture, card"),
        ("parameters > many", 14, "no whole number"),
        ("parameters > 1.5", 14, "no whole number"),
        ("parameters > 1e30", 14, "no whole number"),
        ("parameters:1", 1, "use one of ="),
        ("tags = chat", 1, "use one of :"),
        ("gated = yes", 9, "neither true nor false"),
        ("update_time > yesterday", 15, "2026-01-31"),
        ("update_time > 2026-01-01T00:00:00", 15, "zone"),
        ("task =", 7, "ends too early"),
    ],
)
async def test_wrong_filters_are_refused_at_their_character(
    standing: CatalogService, filter: str, character: int, says: str
) -> None:
    with refused(InvalidArgument, "FILTER_INVALID") as refusal:
        await found(standing.admin, filter=filter)
    assert refusal.metadata["character"] == str(character)
    assert says in refusal.message


@reads
@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("bert", [BERT, RESNET]),  # the name before the card
        ("BER", [BERT, RESNET]),
        ("small bert", [BERT]),
        ("chat", [BERT, GPT2]),
        ("nlp bert", [BERT]),
        ("prose gpt2", [GPT2]),
        ("résumés", [BERT]),
        ("resumes", []),
        ('"bert" OR NEAR(', []),
        ("yolos-tiny", [YOLOS]),
        ("nothing", []),
    ],
)
async def test_words_are_looked_for_everywhere_the_most_relevant_first(
    standing: CatalogService, query: str, names: list[str]
) -> None:
    assert await found(standing.admin, query=query) == names


@reads
async def test_a_query_without_words_is_refused(standing: CatalogService) -> None:
    with refused(InvalidArgument, "QUERY_INVALID"):
        await found(standing.admin, query='"*"')


async def test_words_of_a_newer_version_replace_those_of_the_older(models: CatalogService) -> None:
    card = CARD.format(licence="mit", task="fill-mask", tags='["new"]', text="Another text.").encode()
    await models.admin.publish("nlp/gpt2", models.artifact.put("nlp", {"README.md": card}))
    assert await found(models.admin, query="another") == [GPT2]
    assert (await found(models.admin, filter="tags:new"), await found(models.admin, filter="tags:chat")) == (
        [GPT2],
        [BERT],
    )


@reads
@pytest.mark.parametrize(
    ("order_by", "names"),
    [
        ("", [BERT, GPT2, RESNET, YOLOS]),
        ("name desc", [YOLOS, RESNET, GPT2, BERT]),
        ("licence", [YOLOS, RESNET, BERT, GPT2]),
        ("create_time desc", [YOLOS, RESNET, GPT2, BERT]),
        ("latest_version", [BERT, GPT2, RESNET, YOLOS]),
        ("parameters desc", [BERT, GPT2, RESNET, YOLOS]),
    ],
)
async def test_every_order_pages_without_gap_or_repetition(
    standing: CatalogService, order_by: str, names: list[str]
) -> None:
    request, seen = pb.ListModelsRequest(order_by=order_by, page_size=1), list[str]()
    while len(seen) <= len(names):
        page = await standing.admin.catalog.ListModels(request)
        seen += [model.name.partition("/")[2] for model in page.models]
        if not page.next_page_token:
            break
        request.page_token = page.next_page_token
    assert seen == names


@reads
@pytest.mark.parametrize("order_by", ["size", "name up", "relevance", "name,task"])
async def test_unknown_orders_are_refused(standing: CatalogService, order_by: str) -> None:
    with refused(InvalidArgument, "ORDER_BY_INVALID"):
        await found(standing.admin, order_by=order_by)


async def test_pages_of_a_query_stay_whole_while_others_are_written(models: CatalogService) -> None:
    for number in range(4):
        await make(models, f"nlp/prose-{number}")
    request = pb.ListModelsRequest(query="prose", page_size=2)
    first = await models.admin.catalog.ListModels(request)
    for number in range(4, 9):
        await make(models, f"vision/prose-{number}", tags=["prose"])
    request.page_token, request.page_size = first.next_page_token, 100
    rest = await models.admin.catalog.ListModels(request)
    names = [model.name.partition("/")[2] for model in [*first.models, *rest.models]]
    assert names == [*(f"prose-{number}" for number in range(9)), GPT2]


@reads
async def test_a_token_of_another_search_is_refused(standing: CatalogService) -> None:
    page = await standing.admin.catalog.ListModels(pb.ListModelsRequest(query="chat", page_size=1))
    for wanted in ({"query": "bert"}, {"query": "chat", "filter": "task = x"}, {"query": "chat", "order_by": "name"}):
        with refused(InvalidArgument, "PAGE_TOKEN_INVALID"):
            await found(standing.admin, page_token=page.next_page_token, **wanted)


@reads
@pytest.mark.parametrize("last", [[], ["x"], [1, "x"], ["x", 1], [["x"], "x"], ["x", "y", "z"], [2**70, "x"]])
async def test_forged_positions_are_refused(standing: CatalogService, last: list[Any]) -> None:
    token = encode_token("models ['', '', '', 'name asc']", last)
    with refused(InvalidArgument, "PAGE_TOKEN_INVALID"):
        await found(standing.admin, page_token=token)


@reads
async def test_counts_are_of_what_is_found_by_those_who_may_see_it(standing: CatalogService) -> None:
    every = await standing.admin.catalog.CountModels(pb.CountModelsRequest())
    assert (every.total, {count.value: count.models for count in every.licences}) == (
        4,
        {"mit": 2, "apache-2.0": 1, "bsd": 1},
    )
    assert [(count.value, count.models) for count in every.namespaces] == [("nlp", 2), ("vision", 2)]
    reader = await standing.caller("reader", {"NLP": Role.VIEWER})
    some = await reader.catalog.CountModels(
        pb.CountModelsRequest(query="bert", filter="licence = mit OR licence = bsd")
    )
    assert (some.total, [count.value for count in some.tasks]) == (1, ["fill-mask"])
    assert await found(reader, query="bert") == [BERT]
