"""The process `zoo-trainer`: composition, and nothing else. torch is the child's alone."""

import asyncio
import socket
import uuid
from contextlib import AsyncExitStack

from modelzoo.cache import NodeCache
from zoo.training.v1 import trainer_service_pb2 as pb
from zoo.training.v1 import trainer_service_pb2_grpc as rpc
from zoo_server.log import configure_logging
from zoo_server.peers import open_peer
from zoo_server.principal import Signer
from zoo_server.server import build
from zoo_trainer.agent import Agent
from zoo_trainer.attempt import PROCESS, RAY, ChildLimits
from zoo_trainer.child_process import CHILD
from zoo_trainer.fetching import PulledSources
from zoo_trainer.ray_cluster import ray_command
from zoo_trainer.recipes import known_recipes
from zoo_trainer.settings import Settings
from zoo_trainer.workspace import Workspace

__all__ = ["main", "serve"]


def main() -> None:
    settings = Settings()  # pyright: ignore[reportCallIssue] - the environment gives the rest
    configure_logging(settings.log_level)
    asyncio.run(serve(settings))


async def serve(settings: Settings, child: tuple[str, ...] = CHILD) -> None:
    host = socket.gethostname()
    name = f"{host}-{uuid.uuid4().hex[:12]}"
    async with AsyncExitStack() as stack:
        training = await stack.enter_async_context(open_peer(settings.training, Signer.load(settings.identity)))
        workspace = Workspace(settings.work_dir, name)
        stack.callback(workspace.close)
        registration = pb.RegisterTrainerRequest(
            trainer=name,
            host=host,
            resource_class=settings.resource_class,
            recipes=[recipe.describe() for recipe in known_recipes().values()],
            executors=[PROCESS, RAY] if settings.ray_address else [PROCESS],
            processes=settings.processes,
        )
        sources = PulledSources(settings.artifact, NodeCache(settings.cache_dir, settings.cache_bytes))
        limits = ChildLimits(
            settings.artifact,
            settings.threads,
            settings.memory_bytes,
            command=child,
            ray_command=ray_command(settings),
        )
        agent = Agent(rpc.TrainerServiceStub(training), sources, limits, workspace, registration, settings.drain_s)
        async with asyncio.TaskGroup() as tasks:
            working = tasks.create_task(agent.run())
            await build(settings, {}).run((), on_drain=agent.drain)
            working.cancel()


if __name__ == "__main__":
    main()
