"""The gateway when its parts die: each test kills something of a cluster of its own."""

from collections.abc import AsyncIterator, Iterator

import grpc
import pytest

from modelzoo.errors import ZooError
from support.servers import RedisServer, redis_server
from support.toy_calls import bearer, channel, embed, error_of, generation, known
from support.toy_zoo import ToyZoo, toy_zoo
from support.waiting import eventually
from zoo.inference.v1 import inference_service_pb2 as pb
from zoo.inference.v1 import inference_service_pb2_grpc as rpc
from zoo_server.principal import Role

MODEL = ("zoo-model", "ns/two")


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


@pytest.fixture
def zoo(redis: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ToyZoo]:
    with toy_zoo(tmp_path_factory.mktemp("zoo"), redis.url()) as running:
        yield running


@pytest.fixture
async def key(zoo: ToyZoo) -> str:
    made = zoo.catalog.iam.make_key("team:a", ns=Role.INVOKER)
    await known(zoo, made)
    return made


async def answers(zoo: ToyZoo, key: str) -> str | None:
    """The worker that answers, None while the call is refused."""
    try:
        return (await embed(zoo, *bearer(key, MODEL)))["worker"]
    except ZooError:
        return None


async def logged(zoo: ToyZoo, words: str) -> bool:
    return words in zoo.gateway.log.read_text()


async def last_of(pieces: AsyncIterator[pb.StreamGenerateResponse]) -> pb.StreamGenerateResponse:
    return [piece async for piece in pieces][-1]


async def test_stream_goes_on_without_the_picker_and_new_calls_wait_for_its_return(zoo, key):
    async with channel(zoo) as c:
        pieces = aiter(rpc.InferenceServiceStub(c).StreamGenerate(generation(50), metadata=bearer(key, MODEL)))
        await anext(pieces)
        zoo.process.kill()
        error = await error_of(zoo, *bearer(key, MODEL))
        assert (await last_of(pieces)).HasField("finish")
    assert (error.code, error.reason) == (grpc.StatusCode.UNAVAILABLE, "DEPENDENCY_UNAVAILABLE")
    zoo.restart_gateway()
    assert await eventually(lambda: answers(zoo, key)) == "second"


async def test_stream_of_a_killed_worker_fails_and_the_next_call_goes_to_the_other(zoo, key):
    async with channel(zoo) as c:
        pieces = aiter(rpc.InferenceServiceStub(c).StreamGenerate(generation(1000), metadata=bearer(key, MODEL)))
        await anext(pieces)
        zoo.workers[1].kill()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await last_of(pieces)
    assert caught.value.code() in {grpc.StatusCode.INTERNAL, grpc.StatusCode.UNAVAILABLE}
    assert (await embed(zoo, *bearer(key, MODEL)))["worker"] == "first"


async def test_without_any_worker_calls_say_when_to_retry(zoo, key, redis):
    for worker in zoo.workers:
        worker.kill()
    # A gateway that starts now finds nobody as soon as presence has lapsed; wiped, it lapses at once.
    zoo.process.kill()
    redis.kill()
    redis.start()
    zoo.restart_gateway()

    async def refused() -> ZooError | None:
        error = await error_of(zoo, *bearer(key, MODEL))
        return error if error.reason == "WORKER_UNAVAILABLE" else None

    error = await eventually(refused)
    assert (error.code, error.retry_after_s) == (grpc.StatusCode.UNAVAILABLE, 2.0)


async def test_workers_are_still_found_while_redis_is_away_and_after_it_came_back_empty(zoo, key, redis):
    redis.kill()
    await eventually(lambda: logged(zoo, "presence cannot be read"))
    assert await answers(zoo, key) == "second"
    redis.start()
    while not await logged(zoo, "presence is back"):
        assert await answers(zoo, key) is not None


async def test_keys_hold_while_the_catalog_is_away_but_not_for_a_gateway_that_never_saw_them(zoo, key):
    zoo.catalog.stop()
    assert await answers(zoo, key) == "second"
    zoo.process.kill()
    zoo.restart_gateway()
    error = await error_of(zoo, *bearer(key, MODEL))
    assert (error.code, error.reason) == (grpc.StatusCode.UNAVAILABLE, "DEPENDENCY_UNAVAILABLE")
    zoo.catalog.start()
    assert await eventually(lambda: answers(zoo, key)) == "second"


async def test_new_worker_is_called_soon_after_it_announced_itself(zoo, key):
    with zoo.one_more_worker("third", "ns/three@1"):

        async def third_answers() -> bool:
            answer = await embed(zoo, *bearer(key), request=pb.EmbedRequest(model="ns/three", texts=["a"]))
            return answer["worker"] == "third"

        assert await eventually(third_answers)
