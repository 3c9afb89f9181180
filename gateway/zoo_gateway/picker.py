"""Decides about every call that Envoy carries: who makes it, whether it exists, which worker takes it.

Nothing here waits for anything but Envoy itself: keys, grants and workers are pictures kept by others.
"""

from collections.abc import AsyncIterator

from modelzoo.errors import ZooError
from zoo_gateway import ext_proc
from zoo_gateway.choose import Chooser
from zoo_gateway.ext_proc import Answer, Body, Call, Event, Trailers
from zoo_gateway.identity import Identity
from zoo_gateway.named_model import named_model
from zoo_gateway.refusal import refuse
from zoo_gateway.routes import Routes
from zoo_server.principal import METADATA_KEY

__all__ = ["DESTINATION", "Picker"]

# Envoy's cluster of workers takes the first of these hosts that answers (policy override_host in envoy.yaml).
DESTINATION = "x-gateway-destination-endpoint"
# A conversation whose first message names its model beyond this many bytes goes to any worker.
WITHHELD_MOST_BYTES = 1024 * 1024


class Picker:
    """`process` is run once for each call."""

    def __init__(self, routes: Routes, identity: Identity, chooser: Chooser) -> None:
        self._routes = routes
        self._identity = identity
        self._chooser = chooser

    async def process(self, events: AsyncIterator[Event]) -> AsyncIterator[Answer]:
        """Answer Envoy's events about one call; the last answer ends what this process has to do with it."""
        call = await anext(events, None)
        if not isinstance(call, Call):
            return
        try:
            route = self._routes.route(call.path)
            headers = {METADATA_KEY: self._identity.token(call.authorization)}
            if not route.reads_model:
                yield ext_proc.forward(headers)
            elif call.model is not None or call.ends_here:
                yield ext_proc.forward(headers | self._destination(call.model or ""))
            elif route.streams_requests:
                async for answer in self._converse(events, headers):
                    yield answer
            else:
                yield ext_proc.ask_for_body()
                body = await anext(events, None)
                if isinstance(body, Body):
                    yield ext_proc.forward_with_body(headers | self._destination(named_model(body.data) or ""))
        except ZooError as error:
            yield ext_proc.refuse_with(refuse(error, by_grpc=call.by_grpc))

    async def _converse(self, events: AsyncIterator[Event], headers: dict[str, str]) -> AsyncIterator[Answer]:
        """Withhold the answer to the headers until the model can be read, then let everything pass.

        Envoy sends the bodies of these routes piece by piece and forwards only what it is sent back.
        """
        withheld: list[Body | Trailers] = []
        seen = b""
        async for event in events:
            if isinstance(event, Call):
                continue
            withheld.append(event)
            is_end = isinstance(event, Trailers) or event.is_last
            if isinstance(event, Body):
                seen += event.data
            model = named_model(seen)
            if model is None and not is_end and len(seen) < WITHHELD_MOST_BYTES:
                continue
            yield ext_proc.forward(headers | self._destination(model or ""))
            break
        for event in withheld:
            yield ext_proc.echo(event)
        async for event in events:
            if not isinstance(event, Call):
                yield ext_proc.echo(event)

    def _destination(self, model: str) -> dict[str, str]:
        return {DESTINATION: ",".join(self._chooser.choose(model))}
