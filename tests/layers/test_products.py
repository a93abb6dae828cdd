"""Products that torch's own counter has no formula for: on paper, and every operation of torch that there is."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import DeformConv2d, deform_conv2d

from fmap_cli.layers.costs import Count, count_layers
from fmap_cli.layers.products import formula_of, is_uncounted
from fmap_cli.network.blank import blank_arithmetic
from fmap_cli.network.kinds import module_kind, operation_kind


class Does(nn.Module):
    """Something with a picture and a parameter."""

    def __init__(self, what: Callable[[Tensor, Tensor], Any], weight: tuple[int, ...]) -> None:
        super().__init__()
        self.what = what
        self.weight = nn.Parameter(torch.ones(weight))

    def forward(self, x: Tensor) -> Any:
        return self.what(x, self.weight)


def count(module: nn.Module, *shape: int) -> Count:
    return count_layers(module, (torch.ones(shape),))


@pytest.mark.parametrize(
    ("what", "weight", "shape", "expected"),
    [
        (lambda x, w: torch.addbmm(w, x, x.transpose(1, 2)), (4, 4), (3, 4, 6), 3 * 4 * 6 * 4),
        (lambda x, w: torch.addmv(w, x, x[0]), (5,), (5, 5), 5 * 5),
        (lambda x, w: x @ w, (7,), (5, 7), 5 * 7),
        (lambda x, w: torch.dot(x, w), (7,), (7,), 7),
        (lambda x, w: torch.vdot(x, w), (7,), (7,), 7),
        (lambda x, w: torch.addr(w, x, x), (5, 5), (5,), 5 * 5),
        (lambda x, w: torch.cdist(x, w), (8, 6), (2, 30, 6), 2 * 30 * 8 * 6),  # as a matrix product
        (lambda x, w: torch.cdist(x, w, p=1.0), (8, 6), (2, 3, 6), 2 * 3 * 8 * 6),
        (lambda x, w: torch.linalg.multi_dot([x, w, w]), (6, 6), (2, 6), 2 * (2 * 6 * 6)),
        (lambda x, w: torch.tensordot(x, w, 1), (6, 5), (2, 6), 2 * 6 * 5),
        (lambda x, w: torch.inner(x, w), (5, 6), (2, 6), 2 * 6 * 5),
        (lambda x, w: torch.conv_tbc(x, w, torch.zeros(4)), (3, 6, 4), (9, 2, 6), 7 * 2 * (3 * 6 * 4)),
        (lambda x, w: F.bilinear(x, x, w), (8, 6, 6), (2, 3, 6), 2 * 3 * (8 * 6 * 6)),
        (lambda x, w: torch.outer(x, w), (5,), (4,), 0),  # nothing is added up
        (lambda x, w: torch.sparse.mm(torch.eye(6).to_sparse(), x) + w, (4,), (6, 4), 6 * 4),  # 6 stored values
        (lambda x, w: x * w, (6,), (2, 6), 0),
    ],
)
def test_a_product_costs_what_it_does_on_paper(
    what: Callable[[Tensor, Tensor], Any], weight: tuple[int, ...], shape: tuple[int, ...], expected: int
) -> None:
    assert count(Does(what, weight), *shape).total == expected


@pytest.mark.parametrize(
    ("module", "shape", "expected"),
    [
        (nn.LSTM(6, 5), (9, 2, 6), 9 * 2 * 4 * 5 * (6 + 5)),
        (nn.LSTM(6, 5, num_layers=2, bidirectional=True), (9, 2, 6), 9 * 2 * 2 * 4 * 5 * (6 + 5 + 10 + 5)),
        (nn.LSTM(6, 5, proj_size=3), (9, 2, 6), 9 * 2 * (4 * 5 * (6 + 3) + 3 * 5)),
        (nn.GRU(6, 5, batch_first=True), (2, 9, 6), 9 * 2 * 3 * 5 * (6 + 5)),
        (nn.RNN(6, 5), (9, 2, 6), 9 * 2 * 5 * (6 + 5)),
        (nn.LSTMCell(6, 5), (2, 6), 2 * 4 * 5 * (6 + 5)),
    ],
)
def test_recurrent_layers_take_each_weight_once_a_step(
    module: nn.Module, shape: tuple[int, ...], expected: int
) -> None:
    assert count(module, *shape).total == expected


@pytest.mark.parametrize(
    ("quantize", "module", "shape", "expected"),
    [
        ({nn.LSTM}, nn.LSTM(6, 5, num_layers=2), (9, 2, 6), 9 * 2 * 4 * 5 * (6 + 5 + 5 + 5)),
        ({nn.GRU}, nn.GRU(6, 5, bidirectional=True), (9, 2, 6), 9 * 2 * 2 * 3 * 5 * (6 + 5)),
        ({nn.LSTMCell}, nn.LSTMCell(6, 5), (2, 6), 2 * 4 * 5 * (6 + 5)),
        ({nn.Linear}, nn.Linear(6, 5), (2, 6), 2 * 6 * 5),
    ],
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_quantized_layers_cost_as_much(
    quantize: set[Any], module: nn.Module, shape: tuple[int, ...], expected: int
) -> None:
    quantized = torch.ao.quantization.quantize_dynamic(nn.Sequential(module), quantize)
    assert type(quantized[0]) is not type(module)
    assert count(quantized, *shape).total == expected


# -- deformable convolutions -------------------------------------------------------------------------------------


class Deformable(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.offset = nn.Conv2d(4, 18, 3, padding=1, stride=2)
        self.conv = DeformConv2d(4, 6, 3, padding=1, stride=2, groups=2)

    def forward(self, x: Tensor) -> Tensor:
        offset = self.offset(x)
        return self.conv(x, offset) + deform_conv2d(x, offset, self.conv.weight, stride=2, padding=1)


def test_a_deformable_convolution_is_a_convolution() -> None:
    rows = {each.layer.name: each for each in count(Deformable(), 1, 4, 8, 8).layers}
    once = 4 * 4 * 6 * 2 * 9  # places, and weights: 6 filters over 2 channels each
    assert rows["conv"].multiply_adds == rows["deform_conv2d"].multiply_adds == once
    assert rows["conv"].layer.kind == rows["deform_conv2d"].layer.kind == "conv"
    geometry = rows["conv"].geometry
    assert geometry == rows["deform_conv2d"].geometry
    assert geometry is not None and (geometry.kernel, geometry.stride, geometry.groups) == ((3, 3), (2, 2), 2)
    with blank_arithmetic():
        assert count(Deformable(), 1, 4, 8, 8).total == 2 * once + 4 * 4 * 18 * 4 * 9


def test_what_is_a_convolution_by_another_name() -> None:
    class Mine(DeformConv2d):
        pass

    assert module_kind(Mine(2, 2, 1)) == "conv"
    assert operation_kind("deform_conv2d") == "conv"
    assert module_kind(nn.Bilinear(2, 2, 2)) == operation_kind("addbmm") == "linear"
    assert operation_kind("deform") == "op"


# -- what has no formula -----------------------------------------------------------------------------------------


def test_what_has_no_formula_is_named_with_its_layer() -> None:
    network = nn.Sequential(nn.Identity(), Does(lambda x, w: torch.fft.rfft2(x).abs() * w, (1,)))
    found = count(network, 1, 1, 4, 4)
    assert found.total == 0
    assert found.uncounted == {"_fft_r2c": "1.fft_rfft2"}
    assert count(Does(lambda x, w: torch.linalg.inv(x @ w + torch.eye(3)), (3, 3)), 3, 3).uncounted == {
        "linalg_inv_ex": "linalg_inv"
    }


def test_other_peoples_operators_are_named() -> None:
    library = torch.library.Library("fmap_test_products", "DEF")
    try:
        library.define("scan(Tensor x, Tensor w) -> Tensor")
        library.impl("scan", lambda x, w: (x @ w).cumsum(0), "CPU")
        scan = torch.ops.fmap_test_products.scan
        found = count(Does(lambda x, w: scan(x, w), (3, 3)), 2, 3)
        assert found.uncounted == {"fmap_test_products::scan": "scan"}
        assert found.idle_parameters == 0
    finally:
        library._destroy()


_MULTIPLIES = re.compile(
    r"mm|(?<!in_)conv(?!ert)|dot|mv\b|(?<!_bi)(?<!_tri)(?<!_)linear|_linear(?!1d)|_trilinear\b|rnn|lstm(?!_cell)|gru(?!_cell)|attention"
    r"|attn|addr|cdist|pdist|euclid|matmul|linalg|fft_|cholesky|geqrf|ormqr|\blu_|solve"
)
_LINEAR = frozenset(  # bookkeeping, packing, and what is linear in the size of its tensors
    "_addmm_activation_ _convert_weight_to_int4pack _convert_weight_to_int4pack_for_cpu _cslt_sparse_mm_search"
    " _cummax_helper _cummin_helper _cudnn_rnn_flatten_weight _dyn_quant_pack_4bit_weight _linalg_check_errors"
    " _nested_get_jagged_dummy _foreach_lgamma cummax cummin lgamma mvlgamma digamma polygamma _standard_gamma"
    " fft_fftfreq fft_rfftfreq hamming_window linalg_cross linalg_vector_norm linalg__powsum _standard_gamma_grad"
    " mkldnn_reorder_conv2d_weight mkldnn_reorder_conv3d_weight igamma igammac".split()
)


def test_every_operation_of_torch_that_multiplies_is_counted_or_named() -> None:
    """By their names in torch's own register: all that are not taken apart into others before they run."""
    forgotten = set()
    for name in {each.partition(".")[0] for each in torch._C._dispatch_get_all_op_names()}:
        home, _, operation = name.partition("::")
        if home != "aten" or operation.endswith("_") or "backward" in operation or not _MULTIPLIES.search(operation):
            continue
        packet = getattr(torch.ops.aten, operation)
        overloads = [getattr(packet, each) for each in packet.overloads()]
        if operation not in _LINEAR and not all(
            _is_taken_apart(each) or formula_of(each) is not None or is_uncounted(each, ()) for each in overloads
        ):
            forgotten.add(operation)
    assert forgotten == set()


def _is_taken_apart(operation: Any) -> bool:
    if any(each.is_out for each in operation._schema.arguments):
        return True
    try:
        return torch._C._dispatch_has_kernel_for_dispatch_key(operation.name(), "CompositeImplicitAutograd")
    except RuntimeError:  # registered for TorchScript alone
        return True


def test_parameters_that_no_operation_took_are_idle() -> None:
    class Partly(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.spare, self.scale = nn.Linear(3, 3), nn.Linear(3, 7), nn.Parameter(torch.ones(5))
            self.by_hand = nn.Linear(3, 3, bias=False)  # never called, and used

        def forward(self, x: Tensor) -> Tensor:
            return self.used(x) @ self.by_hand.weight.t()

    assert count(Partly(), 2, 3).idle_parameters == 3 * 7 + 7 + 5
