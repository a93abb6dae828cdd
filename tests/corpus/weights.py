"""Odd, damaged and hostile files of weights."""

from __future__ import annotations

import functools
import io
import json
import struct
from collections.abc import Iterator
from typing import Any

import hostile
import torch
from hostile import COMMAND, TERA
from torch import nn

from corpus.cases import MODEL, Case


@functools.cache
def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5))


def sound_safetensors() -> bytes:
    from safetensors.torch import save

    return bytes(save(dict(network().state_dict()), {"note": "sound"}))


def safetensors_files() -> dict[str, bytes]:
    whole = sound_safetensors()
    length = struct.unpack("<Q", whole[:8])[0]
    table, content = json.loads(whole[8 : 8 + length]), whole[8 + length :]
    first = next(name for name in table if name != "__metadata__")

    def changed(**fields: Any) -> bytes:
        return laid({**table, first: {**table[first], **fields}})

    def laid(table: Any, *, content: bytes = content) -> bytes:
        text = table if isinstance(table, bytes) else json.dumps(table).encode()
        return struct.pack("<Q", len(text)) + text + content

    no_utf8 = json.dumps({**table, "__metadata__": {"note": "QQ"}}).encode().replace(b"QQ", b"\xff\xfe")
    files = {
        "sound": whole,
        "metadata-command": laid({**table, "__metadata__": {"note": COMMAND, "factory": "antigravity:fly"}}),
        "metadata-number": laid({**table, "__metadata__": {"note": 3}}),
        "metadata-nested": laid({**table, "__metadata__": {"note": {"a": "b"}}}),
        "metadata-list": laid({**table, "__metadata__": []}),
        "metadata-huge": laid({**table, "__metadata__": {"note": "x" * (30 << 20)}}),
        "metadata-many": laid({**table, "__metadata__": {str(number): "x" for number in range(300_000)}}),
        "metadata-no-utf8": laid(no_utf8),
        "metadata-surrogate": laid({**table, "__metadata__": {"note": "\ud800\udfff\udcff"}}),
        "metadata-escapes": laid({**table, "__metadata__": {"note": "\x1b[2J\x07"}}),
        "name-escapes": laid({f"\x1b[2J{name}": row for name, row in table.items() if name != "__metadata__"}),
        "name-empty": laid({"": table[first]}),
        "name-long": laid({"n" * 1_000_000: table[first]}),
        "names-twice": laid(json.dumps(table).encode()[:-1] + b"," + json.dumps({first: table[first]}).encode()[1:]),
        "names-many": laid({f"{n}": {"dtype": "U8", "shape": [0], "data_offsets": [0, 0]} for n in range(200_000)}),
        "shape-10TB": changed(shape=[TERA]),
        "shape-overflow": changed(shape=[2**63, 4]),
        "shape-negative": changed(shape=[-4, 3, 3, 3]),
        "shape-float": changed(shape=[4.0, 3, 3, 3]),
        "shape-text": changed(shape="4,3,3,3"),
        "shape-long": changed(shape=[1] * 100_000),
        "dtype-unknown": changed(dtype="F128"),
        "dtype-code": changed(dtype=COMMAND),
        "dtype-other": changed(dtype="I8"),
        "dtype-f8": laid({"w": {"dtype": "F8_E4M3", "shape": [2], "data_offsets": [0, 2]}}, content=b"\0\0"),
        "dtype-f4": laid({"w": {"dtype": "F4", "shape": [4], "data_offsets": [0, 2]}}, content=b"\0\0"),
        "dtype-complex": laid({"w": {"dtype": "C64", "shape": [1], "data_offsets": [0, 8]}}, content=b"\0" * 8),
        "offsets-10TB": changed(data_offsets=[0, 10 * TERA]),
        "offsets-turned": changed(data_offsets=[432, 0]),
        "offsets-overlap": changed(data_offsets=[4, 436]),
        "offsets-negative": changed(data_offsets=[-432, 0]),
        "offsets-missing": laid({first: {"dtype": "F32", "shape": [1]}}),
        "row-list": laid({first: [1, 2, 3]}),
        "header-list": laid([]),
        "header-number": laid(b"{3"),
        "header-empty": laid({}, content=b""),
        "header-deep": laid(b"{" + b'"a":{' * 100_000),
        "header-digits": laid(b'{"a":' + b"9" * 1_000_000 + b"}"),
        "header-99MB": struct.pack("<Q", 99_000_000) + b"{" + b" " * 98_999_999,
        "header-beyond": struct.pack("<Q", 1 << 60) + b"{}",
        "header-most": struct.pack("<Q", 2**64 - 1) + b"{}",
        "header-zero": struct.pack("<Q", 0) + b"{}",
        "trailing": whole + b"more",
        "cut-by-one": whole[:-1],
    }
    files |= {f"damaged-{name}": broken for name, broken in hostile.damaged(whole, seed=2, count=40)}
    for name, broken in hostile.damaged(whole[: 8 + length], seed=4, count=40):
        files[f"header-{name}"] = broken + content
    return files


def safetensors_cases() -> Iterator[Case]:
    for name, content in safetensors_files().items():
        yield _weights("safetensors", name, "w.safetensors", content, sound=name == "sound")


def _weights(kind: str, name: str, file: str, content: bytes, sound: bool = False) -> Case:
    return Case(kind, name, ("show", "-w", file, "-o", "figure.png", *MODEL), {file: content}, sound)


def trained() -> dict[str, bytes]:
    """Checkpoints as training scripts leave them, with other keys, and in every format. Each can be read."""
    state = network().state_dict()
    lightning = {
        "epoch": 3,
        "global_step": 1000,
        "pytorch-lightning_version": "2.4.0",
        "state_dict": {f"model.{key}": value for key, value in state.items()},
        "loops": {"fit_loop": {"state_dict": {}, "epoch_progress": {"total": {"ready": 3}}}},
        "callbacks": {"ModelCheckpoint{'monitor': 'val'}": {"best_model_score": torch.tensor(0.5)}},
        "optimizer_states": [{"state": {0: {"step": torch.tensor(3.0)}}, "param_groups": [{"lr": 0.1}]}],
        "lr_schedulers": [{"last_epoch": 3, "_step_count": 4}],
        "hyper_parameters": {"lr": 0.1, "layers": [1, 2]},
    }
    averaged = {"n_averaged": torch.tensor(9), **{f"module.{key}": value for key, value in state.items()}}
    history = [{"loss": number / 7, "epoch": number, "rate": (0.1, None)} for number in range(95_000)]
    return {
        **hostile.good_checkpoints(network()),
        "lightning": hostile.saved(lightning),
        "parallel": hostile.saved({f"module.{key}": value for key, value in state.items()}),
        "compiled": hostile.saved({f"_orig_mod.{key}": value for key, value in state.items()}),
        "parallel-compiled": hostile.saved({f"module._orig_mod.{key}": value for key, value in state.items()}),
        "average": hostile.saved({"model": state, "model_ema": state, "epoch": 3}),
        "averaged-model": hostile.saved(averaged),
        # Ten steps of the pickle an entry: just below the million that is read.
        "many-steps": hostile.saved({"model": state, "history": history}),
        "many-steps-legacy": hostile.saved({"model": state, "history": history}, _use_new_zipfile_serialization=False),
        "too-many-steps": hostile.saved({"model": state, "history": history * 2 + [dict(each) for each in history]}),
        "many-tensors": hostile.saved({"model": state, "more": [torch.zeros(2) for _ in range(3_000)]}),
        "bfloat16": hostile.saved({key: value.bfloat16() for key, value in state.items()}),
        "double": hostile.saved({key: value.double() for key, value in state.items()}),
        "gradients": hostile.saved(dict(network().named_parameters())),
        "protocol-3": hostile.saved(state, pickle_protocol=3),
        "protocol-4": hostile.saved(state, pickle_protocol=4),
        "protocol-5": hostile.saved(state, pickle_protocol=5),
    }


def odd_keys() -> dict[str, bytes]:
    """Weights whose names or values no network has."""
    state = network().state_dict()
    tensor = state["0.weight"]

    def other(**more: Any) -> bytes:
        return hostile.saved({**state, **more})

    return {
        "escapes": other(**{"\x1b[2J\x07": tensor}),
        "newlines": other(**{"a\nb\r\nTraceback (most recent call last):": tensor}),
        "surrogates": hostile.saved({"\udcff": tensor}, pickle_protocol=2),
        "nul": other(**{"a\0b": tensor}),
        "long": other(**{"k" * 1_000_000: tensor}),
        "dots": hostile.saved({f"{'.' * 3_000}": tensor}),
        "deep-names": hostile.saved({"a." * 5_000 + "weight": tensor}),
        "empty": hostile.saved({"": tensor}),
        "many": hostile.saved({f"layer{number}.weight": tensor for number in range(5_000)}),
        "bidi": other(**{"\u202eevil": tensor}),
        "own-names": hostile.saved({"__class__": tensor, "load_state_dict": tensor, "forward": tensor}),
        "numbers": hostile.saved({0: tensor, 1.5: tensor, None: tensor, (1, 2): tensor}),
        "no-values": hostile.saved({key: torch.zeros(0) for key in state}),
        "no-axes": hostile.saved({key: torch.zeros(()) for key in state}),
        "integers": hostile.saved({key: value.long() for key, value in state.items()}),
        "complex": hostile.saved({key: value.to(torch.complex64) for key, value in state.items()}),
        "bool": hostile.saved({key: value.bool() for key, value in state.items()}),
        "not-finite": hostile.saved({key: value * float("nan") for key, value in state.items()}),
        "quantized": hostile.saved({"0.weight": torch.quantize_per_tensor(tensor, 0.1, 0, torch.qint8)}),
        "float8": hostile.saved({key: value.to(torch.float8_e4m3fn) for key, value in state.items()}),
        "conjugate": hostile.saved({"0.weight": torch.view_as_complex(torch.rand(4, 2)).conj()}),
        "views": hostile.saved({"a": torch.rand(6).as_strided((5, 2), (1, 1)), "b": torch.rand(3, 4).t()}),
        "subclass": hostile.saved({"0.weight": nn.Parameter(tensor), "buffer": nn.Buffer(tensor)}),
        "optimizer-only": hostile.saved({"optimizer": {"state": {0: {"exp_avg": tensor}}, "param_groups": []}}),
        "whole-optimizer": hostile.saved(torch.optim.SGD(network().parameters(), 0.1)),
        "generator": hostile.saved({"state_dict": state, "generator": torch.Generator().get_state()}),
        "script": scripted(),
    }


def checkpoint_cases() -> Iterator[Case]:
    for name, content in trained().items():
        sound = name not in ("protocol-4", "protocol-5", "too-many-steps")
        yield _weights("checkpoints of training", name, "w.pth", content, sound)
    for name, content in odd_keys().items():
        yield _weights("checkpoints with odd keys", name, "w.pth", content)
    for name, content in hostile.checkpoints().items():
        file = "w.safetensors" if name.startswith("safetensors") else "w.pth"
        yield _weights("checkpoints that ask for more", name, file, content)
    for form, content in (
        ("zip", hostile.saved(network().state_dict())),
        ("legacy", hostile.saved(network().state_dict(), _use_new_zipfile_serialization=False)),
    ):
        for name, broken in hostile.damaged(content, seed=1, count=60):
            yield _weights("checkpoints damaged", f"{form}-{name}", "w.pth", broken)


@functools.cache
def scripted() -> bytes:
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.trace(network().eval(), torch.rand(1, 3, 16, 16)), buffer)
    return buffer.getvalue()
