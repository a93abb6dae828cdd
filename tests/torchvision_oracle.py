"""What torchvision and plain PyTorch say about a model's layers, found without any of fmap's code.

Two oracles. torch.fx, through torchvision's own tracer: the names of all nodes, and by running the traced
graph, which of them are tensors and their values. And plain forward hooks that clone, with every in-place
flag switched off, for modules that torch.fx does not look at.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, fx, nn
from torchvision import models
from torchvision.models.detection.image_list import ImageList
from torchvision.models.feature_extraction import NodePathTracer, _set_default_tracer_kwargs


def task_of(name: str) -> str:
    """`classification`, `quantization`, `detection`, `segmentation`, `video` or `optical_flow`."""
    home = models.get_model_builder(name).__module__
    found = re.search(r"models\.(quantization|detection|segmentation|video|optical_flow)\b", home)
    return found.group(1) if found else "classification"


@contextmanager
def weights_laid_out() -> Iterator[None]:
    """Networks built inside have weights of usual size out of one block of random numbers, over and over: drawing each
    takes most of the time that building takes. The block's length is prime, so that no two filters are the same.
    """
    block = torch.randn(65_537, generator=torch.Generator().manual_seed(0))

    def laid_out(tensor: Tensor, *_: Any, **__: Any) -> Tensor:
        each = tensor[0].numel() if tensor.ndim > 1 else tensor.numel()
        values = block.repeat(-(-tensor.numel() // len(block)))[: tensor.numel()]
        with torch.no_grad():
            return tensor.copy_(values.view(tensor.shape).div_(max(each, 1) ** 0.5))

    with pytest.MonkeyPatch.context() as patched:
        for name in ("kaiming_uniform_", "kaiming_normal_", *(f"_no_grad_{each}_" for each in _DRAWN)):
            patched.setattr(nn.init, name, laid_out)
        yield


_DRAWN = ("uniform", "normal", "trunc_normal")  # which xavier's and the others end in


def build(name: str, device: str = "cpu", **options: Any) -> nn.Module:
    """A torchvision model with random weights (none at all on `meta`), in eval mode."""
    if task_of(name) in ("detection", "segmentation"):
        options["weights_backbone"] = None
    if name in ("googlenet", "inception_v3") and device == "meta":
        options["init_weights"] = False  # its initialisation needs values
    if device == "meta" and not name.startswith("regnet"):  # a regnet asks its tensors for numbers as it is built
        with torch.device("meta"):
            return models.get_model(name, weights=None, **options).eval()
    with weights_laid_out():
        return models.get_model(name, weights=None, **options).to(device).eval()


def inputs_for(name: str, size: int = 224, device: str = "cpu") -> tuple[Any, ...]:
    """Random inputs of the shape that the model takes."""
    task = task_of(name)
    if task == "detection":
        return ([torch.rand(3, size, size, device=device)],)
    if task == "video":
        return (torch.randn(1, 3, 16, size, size, device=device),)
    if task == "optical_flow":
        return (torch.rand(1, 3, size, size, device=device), torch.rand(1, 3, size, size, device=device))
    return (torch.randn(1, 3, size, size, device=device),)


def tracer(*, into_blocks: bool = False) -> NodePathTracer:
    """torchvision's tracer, set up as `get_graph_node_names` does; or looking into torchvision's own blocks too."""
    options = _set_default_tracer_kwargs(None)
    return NodePathTracer(**(options | {"leaf_modules": []} if into_blocks else options))


def torchvision_leaves(model: nn.Module) -> set[str]:
    """The paths of modules that torchvision does not look into."""
    paths = tracer()
    return {path for path, module in model.named_modules() if path and paths.is_leaf_module(module, path)}


@dataclass(frozen=True)
class Node:
    name: str  # torchvision's
    op: str  # torch.fx's: placeholder, get_attr, call_function, call_method or call_module
    is_tensor: bool


def run_graph(
    model: nn.Module,
    inputs: tuple[Any, ...],
    see: Callable[[str, Tensor], None] = lambda name, value: None,
    *,
    into_blocks: bool = False,
) -> list[Node]:
    """Trace the model, run the graph node by node, and show each tensor to `see` before the next node runs.

    Returns the nodes in order. Raises what tracing or running raises.
    """
    tracing = tracer(into_blocks=into_blocks)
    graph = tracing.trace(model)
    nodes: list[Node] = []

    class Watched(fx.Interpreter):
        def run_node(self, node: fx.Node) -> Any:
            value = super().run_node(node)
            name = tracing.node_to_qualname.get(node)
            if name is not None:
                nodes.append(Node(name, node.op, isinstance(value, Tensor)))
                if isinstance(value, Tensor):
                    see(name, value)
            return value

    with torch.no_grad():
        Watched(fx.GraphModule(tracing.root, graph)).run(*inputs)
    return nodes


@contextmanager
def in_place_off(model: nn.Module) -> Iterator[None]:
    """No module writes over its input inside."""
    flagged = [module for module in model.modules() if getattr(module, "inplace", False)]
    for module in flagged:
        module.inplace = False
    try:
        yield
    finally:
        for module in flagged:
            module.inplace = True


def operation_values(model: nn.Module, inputs: tuple[Any, ...]) -> dict[str, Tensor]:
    """A copy of every tensor-valued node's value, by torchvision's name; torchvision's own blocks looked into."""
    values: dict[str, Tensor] = {}
    with in_place_off(model):
        run_graph(model, inputs, lambda name, value: values.update({name: value.clone()}), into_blocks=True)
    return values


def module_values(model: nn.Module, inputs: tuple[Any, ...]) -> dict[tuple[str, int], Any]:
    """A copy of every module call's output, by path and call index; nested outputs as they are."""
    values: dict[tuple[str, int], Any] = {}
    calls: dict[str, int] = {}

    def keep(path: str) -> Callable[..., None]:
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
            call = calls.get(path, 0)
            calls[path] = call + 1
            values[path, call] = torch.utils._pytree.tree_map_only(Tensor, torch.clone, output)

        return hook

    handles = [module.register_forward_hook(keep(path)) for path, module in model.named_modules() if path]
    try:
        with in_place_off(model), torch.no_grad():
            model(*inputs)
    finally:
        for handle in handles:
            handle.remove()
    return values


def tensors_in(value: Any, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
    """The tensors of a nested output with dotted keys; the prefix alone for a tensor."""
    if isinstance(value, Tensor):
        yield prefix, value
    elif isinstance(value, ImageList):
        yield prefix, value.tensors
    elif isinstance(value, (tuple, list, dict)):
        for key, each in value.items() if isinstance(value, dict) else enumerate(value):
            yield from tensors_in(each, f"{prefix}.{key}" if prefix else str(key))


def same_bits(one: Tensor, other: Tensor) -> bool:
    """Bitwise equality: NaN equals the same NaN, and 0 is not -0."""
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    return torch.equal(one.reshape(-1).contiguous().view(torch.uint8), other.reshape(-1).contiguous().view(torch.uint8))
