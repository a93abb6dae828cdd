"""The front door: dispatch, unknown names, the catalog."""

from __future__ import annotations

import subprocess
import sys

import pytest

from fmap_cli.errors import FmapError, ModelError
from fmap_cli.models import DEFAULT_MODEL, catalog, load_model


def test_importing_the_room_imports_no_torch() -> None:
    code = "import sys, fmap_cli.models as m; m.DEFAULT_MODEL; assert not {'torch', 'torchvision'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_embedded_model_is_the_default() -> None:
    assert DEFAULT_MODEL == "efficientnet_lite0"
    assert load_model(DEFAULT_MODEL).name == "efficientnet_lite0"


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (
            "resnet1",
            "unknown model 'resnet1'\nDid you mean resnet18 or resnet152 or resnet101? `fmap models` lists all; "
            "your own network is `--model path/to/file.py:factory`.",
        ),
        (
            "zzzz",
            "unknown model 'zzzz'\n`fmap models` lists all; your own network is `--model path/to/file.py:factory`.",
        ),
        (
            "nets/mine.py",
            "nets/mine.py is a file; which function or class in it makes the network?\n"
            "Name it after a colon: `--model nets/mine.py:NAME`.",
        ),
    ],
)
def test_an_unknown_model_names_near_ones_and_the_command_that_lists_them(spec: str, message: str) -> None:
    with pytest.raises(ModelError) as caught:
        load_model(spec)
    assert f"{caught.value.message}\n{caught.value.hint}" == message


def test_case_is_a_near_match_too() -> None:
    with pytest.raises(ModelError, match="Did you mean resnet18"):
        load_model("ResNet18")


@pytest.mark.parametrize("model", ["efficientnet_lite0", "resnet18"])
def test_unknown_weights_list_what_there_is(model: str) -> None:
    with pytest.raises(FmapError) as caught:
        load_model(model, "IMAGENET1K_V9")
    first, second = caught.value.message, str(caught.value.hint)
    assert first == f"{model} has no weights named 'IMAGENET1K_V9', and there is no such file"
    assert "`--weights random` and `--weights FILE` work too." in second
    assert ("IMAGENET1K_V1" if model == "resnet18" else "ImageNet") in second


# --- catalog -------------------------------------------------------------------------------------------


def test_the_catalog_lists_the_embedded_model_and_then_torchvisions_in_order() -> None:
    import torchvision

    found = [entry.name for entry in catalog()]
    assert found == ["efficientnet_lite0", *torchvision.models.list_models()]


def test_an_entry_is_torchvisions_metadata() -> None:
    entry = next(entry for entry in catalog("resnet50") if entry.name == "resnet50")
    assert entry.source == "torchvision"
    assert entry.weights == ("IMAGENET1K_V1", "IMAGENET1K_V2")
    assert entry.default_weights == "IMAGENET1K_V2"
    assert entry.parameters == 25_557_032
    assert entry.multiply_adds == 4_089_000_000
    assert entry.input_size == (224, 224)
    assert entry.accuracy == ("acc@1", 80.858)


@pytest.mark.parametrize(
    ("name", "task", "metric", "input_size"),
    [
        ("fcn_resnet50", "segmentation", "miou", (520, 520)),
        ("fasterrcnn_resnet50_fpn", "detection", "box_map", None),
        ("r3d_18", "video", "acc@1", (112, 112)),
        ("raft_small", "optical flow", "epe", None),
        ("quantized_resnet18", "quantized", "acc@1", (224, 224)),
        ("swin_v2_t", "classification", "acc@1", (256, 256)),
    ],
)
def test_every_task_has_its_own_metric(name: str, task: str, metric: str, input_size: tuple[int, int] | None) -> None:
    entry = next(entry for entry in catalog(name) if entry.name == name)
    assert (entry.task, entry.input_size) == (task, input_size)
    assert entry.accuracy is not None
    assert entry.accuracy[0] == metric


def test_the_embedded_entry_agrees_with_the_model() -> None:
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    (entry,) = catalog("efficientnet_lite0")
    module = load_model("efficientnet_lite0").module
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        module(torch.zeros(1, 3, 224, 224))
    assert entry.parameters == sum(parameter.numel() for parameter in module.parameters())
    assert entry.multiply_adds == counter.get_total_flops() // 2
    assert entry.source == "embedded"


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("resnet1*", ["resnet101", "resnet152", "resnet18"]),
        ("RESNET18", ["quantized_resnet18", "resnet18"]),
        ("vgg1?", ["vgg11", "vgg13", "vgg16", "vgg19"]),
        ("lite0", ["efficientnet_lite0"]),
    ],
)
def test_a_pattern_is_a_glob_or_a_part_of_the_name(pattern: str, expected: list[str]) -> None:
    assert [entry.name for entry in catalog(pattern)] == expected


def test_a_pattern_that_matches_nothing_names_near_ones() -> None:
    with pytest.raises(ModelError, match="no model's name matches 'resnt18'\nDid you mean resnet18"):
        catalog("resnt18")
