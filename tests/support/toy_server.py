"""A toy worker, a process of its own: says back what it is told, and which headers reached it."""

import asyncio
import sys
from pathlib import Path

import grpc

from modelzoo.errors import InvalidArgument, Unavailable, ZooError, to_status
from support.toy_stubs import load_stubs

PACE_S = 0.02


def fail(error: ZooError) -> tuple[grpc.StatusCode, str, tuple[tuple[str, bytes], ...]]:
    return error.code, error.message, (("grpc-status-details-bin", to_status(error).SerializeToString()),)


async def serve(stubs_folder: Path, name: str) -> None:
    pb, rpc = load_stubs(stubs_folder)

    class ToyServicer(rpc.ToyServiceServicer):
        async def Say(self, request, context):
            if not request.text:
                await context.abort(*fail(InvalidArgument("INPUT_EMPTY", "the text is empty; say something")))
            seen = {k: v for k, v in context.invocation_metadata() if isinstance(v, str)}
            return pb.SayResponse(text=request.text[:100], worker=name, headers=seen)

        async def StreamSay(self, request, context):
            for i in range(request.count):
                if request.fail_after and i == request.fail_after:
                    await context.abort(*fail(Unavailable("ENGINE_FAILED", "the engine failed; retry")))
                yield pb.SayResponse(text=f"{request.text} {i}", worker=name)
                await asyncio.sleep(PACE_S)

        async def Converse(self, requests, context):
            async for request in requests:
                yield pb.SayResponse(text=request.text, worker=name)

    server = grpc.aio.server(options=[("grpc.max_receive_message_length", 64 << 20)])
    rpc.add_ToyServiceServicer_to_server(ToyServicer(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(port, flush=True)
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), sys.argv[2]))
