"""Which of a network's inputs a tensor comes from, carried along one pass."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from .calls import storage_of, taken_apart, tensors_in


class Descent(TorchDispatchMode):
    """While it is on, notes down for every piece of memory which of the inputs went into it.

    Tensors that lie in one piece of memory are not told apart: what is cut out of a tensor comes from all its inputs.

    >>> import torch
    >>> descent, left, right = Descent(), torch.zeros(1, 3, 8, 8), torch.ones(1, 3, 8, 8)
    >>> descent.start(left, 0), descent.start(right, 1)
    (None, None)
    >>> with descent:
    ...     one, both = right.relu(), left + right
    >>> sorted(descent.inputs_of(one)), sorted(descent.inputs_of(both))
    ([1], [0, 1])
    """

    supports_higher_order_operators = True

    def __init__(self) -> None:
        super().__init__()
        self._known: dict[int, frozenset[int]] = {}  # storage -> inputs

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # nothing is compiled here; otherwise the first operation would import torch._dynamo

    def start(self, tensor: Tensor, number: int) -> None:
        """Follow this tensor, the input of this number."""
        self._known[storage_of(tensor)] = frozenset([number])

    def inputs_of(self, tensor: Tensor) -> frozenset[int]:
        """The numbers of the inputs that a tensor at hand comes from."""
        return self._known.get(storage_of(tensor), frozenset())

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if (output := taken_apart(self, func, args, kwargs)) is not NotImplemented:
            return output
        read = list(tensors_in((*args, *kwargs.values())))
        inputs = frozenset().union(*(self.inputs_of(each) for each in read))
        before = {storage_of(each) for each in read}
        output = func(*args, **kwargs)
        for each in tensors_in([output]):
            place = storage_of(each)
            # Memory that is new may be where a tensor lay that is gone.
            self._known[place] = inputs | (self._known.get(place, frozenset()) if place in before else frozenset())
        return output
