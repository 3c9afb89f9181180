"""Which parts of a network are trained, by its layout and not by its name."""

from collections.abc import Callable, Collection, Generator, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from modelzoo.errors import InvalidArgument

if TYPE_CHECKING:
    from torch import nn

__all__ = ["averages_at_rest", "rest_all_but", "rest_lowest", "stages_of"]


def rest_all_but(model: "nn.Module", names: Collection[str]) -> None:
    """Train the parameters of these names alone."""
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in names)


def rest_lowest(model: "nn.Module", count: int, run: Callable[[], object]) -> None:
    """Take the gradients from the lowest `count` stages, and from all that is computed before the last of them ends.

    `run` computes an output of the model, by which the order of computation is seen. PARAMETER_INVALID where the model
    has fewer stages.
    """
    order: list[nn.Module] = []
    own = [module for module in model.modules() if any(True for _ in module.parameters(recurse=False))]
    hooks = [module.register_forward_pre_hook(lambda module, _: order.append(module)) for module in own]
    try:
        run()
    finally:
        for hook in hooks:
            hook.remove()
    place = {id(module): number for number, module in reversed(list(enumerate(order)))}
    stages = sorted(stages_of(model), key=lambda stage: min(_places(stage, place), default=len(order)))
    if count > len(stages):
        raise InvalidArgument("PARAMETER_INVALID", f"frozen_layers is {count}; the base has {len(stages)} of them.")
    end = max((number for stage in stages[:count] for number in _places(stage, place)), default=-1)
    for module in order[: end + 1]:
        for parameter in module.parameters(recurse=False):
            parameter.requires_grad_(False)
    for stage in stages[:count]:
        stage.requires_grad_(False)


def stages_of(model: "nn.Module") -> "list[nn.Module]":
    """The stages, layers or blocks of the model: the items with parameters of its longest outermost list; of several
    that are as long, of that with most parameters."""
    return max([[], *_outermost_lists(model)], key=lambda items: (len(items), _size(items)))


@contextmanager
def averages_at_rest(model: "nn.Module") -> Generator[None]:
    """Batch norms use their running averages, and leave them, for the length of a block: one example has no spread."""
    from torch.nn.modules.batchnorm import _BatchNorm  # pyright: ignore[reportPrivateUsage]

    norms = [module for module in model.modules() if isinstance(module, _BatchNorm) and module.training]
    for norm in norms:
        norm.eval()
    try:
        yield
    finally:
        for norm in norms:
            norm.train()


def _outermost_lists(module: "nn.Module") -> "Iterator[list[nn.Module]]":
    from torch import nn

    for child in module.children():
        items = [item for item in child.children() if any(True for _ in item.parameters())]
        if isinstance(child, nn.ModuleList | nn.Sequential) and len(items) > 1:
            yield items
        else:
            yield from _outermost_lists(child)


def _places(stage: "nn.Module", place: dict[int, int]) -> list[int]:
    return [place[id(module)] for module in stage.modules() if id(module) in place]


def _size(items: "list[Any]") -> int:
    return sum(parameter.numel() for item in items for parameter in item.parameters())
