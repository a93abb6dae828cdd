"""How large the tensors of a pass are, found on stand-ins that have no values: before any memory is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from fmap_cli.models.archive import RefusedError
from fmap_cli.network.nested import leaves

if TYPE_CHECKING:
    import torch


def check(module: torch.nn.Module, inputs: Sequence[torch.Tensor], most_bytes: int) -> bool:
    """Whether the sizes of all that the network makes of these inputs can be known; false where they go by values.

    Both sides of a condition are looked at.

    Raises RefusedError for a tensor of more than `most_bytes`.
    """
    import torch
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.utils._python_dispatch import TorchDispatchMode

    class Sizes(TorchDispatchMode):
        supports_higher_order_operators = True
        refused: str | None = None
        known = True

        @classmethod
        def _should_skip_dynamo(cls) -> bool:
            return False  # nothing is compiled here

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if isinstance(func, torch._ops.HigherOrderOperator):  # what it calls is not seen from here
                if func.name() == "cond":
                    with self:
                        for branch in args[1:3]:
                            branch(*args[3])
                else:
                    self.known = False
            output = func(*args, **(kwargs or {}))
            for each in leaves(output):
                if isinstance(each, torch.Tensor) and each.layout is torch.strided:
                    self.refused = self.refused or _refusal(str(func), each, most_bytes)
            if self.refused is not None:
                raise RefusedError(self.refused)
            return output

    sizes = Sizes()
    stand_ins = FakeTensorMode(allow_non_fake_inputs=True)
    try:
        with torch.no_grad(), stand_ins, sizes:
            module(*(stand_ins.from_tensor(each) for each in inputs))
    except Exception:  # ours too, to which torch adds remarks on the way
        if sizes.refused is not None:
            raise RefusedError(sizes.refused) from None
        return False
    return sizes.known


def _refusal(operator: str, made: torch.Tensor, most_bytes: int) -> str | None:
    claimed = made.untyped_storage().nbytes()
    if claimed <= most_bytes:
        return None
    return (
        f"`{operator}` in it makes a tensor of {' × '.join(map(str, made.shape))}, {claimed:,} bytes;"
        f" over such an input {most_bytes:,} are allowed"
    )
