"""A corpus of odd, damaged and hostile files, made on the spot: by name, the bytes and how the file's name ends.

What would run code makes the marker file: after a reader has been at it, there must be none.
"""

from __future__ import annotations

import argparse
import collections
import copy
import io
import json
import os
import pickle
import random
import struct
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

MARKER = "fmap-canary"
COMMAND = f"__import__('os').system('touch {MARKER}')"
TERA = 10**13


class Code:
    """An object whose pickle runs a shell command."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, (f"touch {MARKER}",)


def saved(content: Any, **how: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, **how)
    return buffer.getvalue()


def zipped(members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def checkpoint(pickled: bytes, storage: bytes = b"") -> bytes:
    """An archive as torch.save lays it out, around any pickle."""
    return zipped({"net/data.pkl": pickled, "net/byteorder": b"little", "net/data/0": storage, "net/version": b"3\n"})


def _integer(value: int) -> bytes:
    digits = pickle.encode_long(value)
    return b"\x8a" + bytes([len(digits)]) + digits


def _text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def tensor_pickle(
    count: int,
    size: tuple[int, ...],
    stride: tuple[int, ...] = (1,),
    offset: int = 0,
    key: str = "0",
    legacy: bool = False,
) -> bytes:
    """The pickle of {"weight": a float tensor of this shape over a storage of `count` values}."""
    storage = b"(" + _text("storage") + b"ctorch\nFloatStorage\n" + _text(key) + _text("cpu") + _integer(count)
    storage += (b"N" if legacy else b"") + b"tQ"
    shape = b"".join(b"(" + b"".join(map(_integer, each)) + b"t" for each in (size, stride))
    call = b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + _integer(offset) + shape
    return b"\x80\x02}" + _text("weight") + call + b"\x89ccollections\nOrderedDict\n)RtRs."


def called(name: str, *arguments: bytes) -> bytes:
    """The pickle of {"weight": name(*arguments)}."""
    return b"\x80\x02}" + _text("weight") + f"c{name}\n".encode() + b"(" + b"".join(arguments) + b"tRs."


def checkpoints() -> dict[str, bytes]:
    """Weights files that hold no state dict of ordinary tensors, or are damaged."""
    warnings.simplefilter("ignore")
    whole = saved({"weight": torch.ones(3), "bias": torch.ones(2)})
    legacy = saved({"weight": torch.ones(3)}, _use_new_zipfile_serialization=False)
    itself: dict[str, Any] = {}
    itself["state_dict"] = itself
    loop: list[Any] = []
    loop.append(loop)
    old = b"".join(pickle.dumps(each, 2) for each in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}))
    good, twelve = tensor_pickle(3, (3,)), b"\0" * 12
    nested = torch.nested.nested_tensor([torch.ones(2), torch.ones(3)])
    files = {
        "itself": saved(itself),
        "list-in-itself": saved({"weight": torch.ones(3), "more": loop}),
        "deep": checkpoint(b"\x80\x02" + (b"}" + _text("state_dict")) * 5000 + b"}" + b"s" * 5000 + b"."),
        "deep-tuple": checkpoint(b"\x80\x02K\x01" + b"\x85" * 5000 + b"."),
        "bomb": zipped({"net/data.pkl": good, "net/data/0": b"\0" * (64 << 20)}, zipfile.ZIP_DEFLATED),
        "bomb-lzma": zipped({"net/data.pkl": good, "net/data/0": b"\0" * (8 << 20)}, zipfile.ZIP_LZMA),
        "storage-beyond": checkpoint(tensor_pickle(10**9, (10**9,)), twelve),
        "storage-10TB": checkpoint(tensor_pickle(TERA, (TERA,)), twelve),
        "view-10TB": checkpoint(tensor_pickle(3, (TERA,)), twelve),
        "expanded-10TB": checkpoint(tensor_pickle(3, (TERA,), (0,)), twelve),
        "negative-size": checkpoint(tensor_pickle(3, (-3,)), twelve),
        "negative-offset": checkpoint(tensor_pickle(3, (3,), offset=-1), twelve),
        "other-storage": checkpoint(tensor_pickle(3, (3,), key="../version"), twelve),
        "absolute-storage": checkpoint(tensor_pickle(3, (3,), key="/etc/passwd"), twelve),
        "bytearray-10TB": checkpoint(called("__builtin__\nbytearray", _integer(TERA))),
        "untyped-10TB": checkpoint(called("torch.storage\nUntypedStorage", _integer(TERA))),
        "tensor-10TB": checkpoint(called("torch\nTensor", _integer(TERA))),
        "dtype-with-fields": checkpoint(called("numpy\ndtype", _text("O"))),
        "legacy-10TB": old + tensor_pickle(TERA, (TERA,), legacy=True) + pickle.dumps(["0"], 2),
        "legacy-2GB": old + tensor_pickle(6 * 10**8, (6 * 10**8,), legacy=True) + pickle.dumps(["0"], 2),
        "legacy-cut": legacy[:-20],
        "legacy-code": saved({"weight": Code()}, _use_new_zipfile_serialization=False),
        "code": saved({"weight": Code()}),
        "code-beside": saved({"state_dict": {"weight": torch.ones(3)}, "optimizer": Code()}),
        "code-bare": pickle.dumps(Code(), 2),
        "code-protocol-0": pickle.dumps(Code(), 0),
        "code-protocol-4": pickle.dumps(Code(), 4),
        "whole-module": saved(nn.Sequential(nn.Conv2d(3, 4, 3))),
        "traversal": zipped({"net/data.pkl": good, "net/data/0": twelve, "net/../../x": b""}),
        "absolute": zipped({"/net/data.pkl": good, "/net/data/0": twelve}),
        "long-name": zipped({"net/data.pkl": good, "net/data/0": twelve, "net/" + "x" * 60_000: b""}),
        "no-storage": zipped({"net/data.pkl": good}),
        "no-members": zipped({}),
        "prefixed": b"PK\3\4junk" + whole,
        "suffixed": whole + b"junk",
        "nested": saved({"weight": nested}),
        "sparse": saved({"weight": torch.eye(3).to_sparse()}),
        "meta": saved({"weight": torch.ones(3, device="meta")}),
        "empty": saved({}),
        "empty-inside": saved({"state_dict": {}}),
        "number": saved(3),
        "list": saved([torch.ones(3)]),
        "keys-no-text": saved({1: torch.ones(3), (2,): torch.ones(3)}),
        "nothing": b"",
        "zeros": b"\0" * 5000,
        "text": b"epoch: 3\nloss: 0.1\n",
        "yaml": b"!!python/object/apply:os.system ['touch " + MARKER.encode() + b"']\n",
        "safetensors-10TB": _safetensors({"weight": {"dtype": "F32", "shape": [TERA], "data_offsets": [0, 4 * TERA]}}),
        "safetensors-overlap": _safetensors(
            {key: {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]} for key in ("a", "b")}, b"\0" * 4
        ),
        "safetensors-deep": struct.pack("<Q", 10_001) + b"{" + b"[" * 10_000,
        "safetensors-header": struct.pack("<Q", 1 << 60) + b"{}",
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        twice = io.BytesIO()
        with zipfile.ZipFile(twice, "w") as archive:
            for name in ("net/data.pkl", "net/data/0", "net/data/0"):
                archive.writestr(name, good if name.endswith("pkl") else twelve)
    files["twice"] = twice.getvalue()
    files["shifted"] = shifted(checkpoint(good, twelve))
    return files


def shifted(whole: bytes) -> bytes:
    """An archive whose end says that its table stands a byte later: its first member then begins before the file."""
    at = whole.rindex(b"PK\5\6") + 16
    return whole[:at] + struct.pack("<I", struct.unpack("<I", whole[at : at + 4])[0] + 1) + whole[at + 4 :]


def _safetensors(header: dict[str, Any], content: bytes = b"") -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + content


def good_checkpoints(net: nn.Module) -> dict[str, bytes]:
    """Files with the weights of `net` as training scripts leave them. Each can be read."""
    state = net.state_dict()
    # As Adam leaves it: the class itself would load torch's compiler.
    moments = {"step": torch.tensor(1.0), "exp_avg": torch.zeros(2, 3), "exp_avg_sq": torch.zeros(2, 3)}
    beside = {
        "optimizer": {"state": {0: moments, 1: moments}, "param_groups": [{"lr": 0.1, "betas": (0.9, 0.999)}]},
        "args": argparse.Namespace(lr=0.1, layers=[1, (2, {"a": None})]),
        "best": np.float64(0.5),
        "flag": np.bool_(True),
        "count": np.int64(3),
        "rng": torch.get_rng_state(),
        "history": [{"loss": 0.1, "epoch": epoch} for epoch in range(50)],
        "kinds": {1, 2},
        "device": torch.device("cpu"),
        "dtype": torch.float16,
        "text": "é" * 300,
        "bytes": b"abc",
        "counter": collections.Counter("aab"),
        "large": 2**100,
    }
    return {
        "bare": saved(state),
        "legacy": saved(state, _use_new_zipfile_serialization=False),
        "training": saved({"model": state, **beside}),
        "training-legacy": saved({"model": state, **beside}, _use_new_zipfile_serialization=False),
        "parameters": saved(dict(net.named_parameters()) | dict(net.named_buffers())),
        "half": saved({key: value.half() if value.is_floating_point() else value for key, value in state.items()}),
        "shared": saved({"state_dict": state, "teacher": state}),
    }


# --- torch.export ----------------------------------------------------------------------------------------


class Small(nn.Module):
    """A convolution whose output's size is an expression of the input's."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.register_buffer("shift", torch.ones(4, 1, 1))

    def forward(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"out": nn.functional.interpolate(self.conv(image) + self.shift, scale_factor=0.5)}


def exported() -> bytes:
    """A torch.export program with free height and width, as torch saves it."""
    auto = torch.export.Dim.AUTO
    program = torch.export.export(Small().eval(), (torch.rand(1, 3, 32, 40),), dynamic_shapes=({2: auto, 3: auto},))
    buffer = io.BytesIO()
    torch.export.save(program, buffer)
    return buffer.getvalue()


def programs(whole: bytes) -> dict[str, bytes]:
    """Versions of a torch.export program that ask for what a network does not need, or are damaged."""
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    root = next(iter(members)).partition("/")[0] + "/"
    model = root + "models/model.json"
    program = json.loads(members[model])
    files: dict[str, bytes] = {}

    def put(name: str, content: dict[str, bytes]) -> None:
        files[name] = zipped({**members, **{root + key: value for key, value in content.items()}})

    def change(name: str, how: Callable[[dict[str, Any]], object]) -> None:
        other = copy.deepcopy(program)
        how(other)
        put(name, {"models/model.json": json.dumps(other).encode()})

    def replace(name: str, old: str, new: str) -> None:
        text = json.dumps(program)
        assert json.dumps(old) in text, old
        put(name, {"models/model.json": text.replace(json.dumps(old), json.dumps(new)).encode()})

    for name, size in {
        "size": COMMAND,
        "size-called": f"(lambda: {COMMAND})()",
        "size-symbol": f"Symbol('s77').func.__class__({COMMAND})",
        "size-name": f"Symbol({COMMAND})",
        "size-keyword": f"Symbol('s77', integer={COMMAND})",
        "size-attribute": "Integer.__class__",
        "size-list": [COMMAND],
        "size-number": 3,
        "size-power": "9**9**9**9",
        "size-powers": "Pow(Integer(9), Pow(Integer(9), Integer(999999999)))",
        "size-shift": "LShift(Integer(1), Integer(99999999999))",
        "size-deep": "(" * 5000 + "1" + ")" * 5000,
        "size-signs": "-" * 50_000 + "1",
    }.items():
        change(name, lambda other, size=size: _everywhere(other, "expr_str", size))

    def first(other: dict[str, Any]) -> dict[str, Any]:
        return next(node for node in other["graph_module"]["graph"]["nodes"] if "conv2d" in node["target"])

    def signature(field: str, value: object) -> Callable[[dict[str, Any]], object]:
        def how(other: dict[str, Any]) -> None:
            for entry in other["graph_module"]["module_call_graph"]:
                if entry.get("signature"):
                    entry["signature"][field] = value

        return how

    def tree(type_: str, context: object) -> str:
        return json.dumps([1, {"type": type_, "context": context, "children_spec": []}])

    for name in ("torch.os.system", "torch.ops.load_library", "torch.ops.aten.save.default", "torch.hub.load"):
        change(f"operator {name}", lambda other, name=name: first(other).update(target=name))
    for name in (
        "torch.ops.image.write_file.default",
        "_operator.methodcaller",
        "#ext:op",
        "torch.ops.aten.name.format",
    ):
        change(f"operator {name}", lambda other, name=name: first(other).update(target=name))
    for name in ("while_loop", "map_impl", "scan", "associative_scan"):
        call = f"torch.ops.higher_order.{name}"
        change(f"operator {name}", lambda other, call=call: first(other).update(target=call))
    change("nodes", lambda other: other["graph_module"]["graph"].update(nodes=[first(other)] * 50_000))
    output = first(program)["outputs"][0]["as_tensor"]["name"]
    replace("value-name", output, f"{COMMAND}; {output}")
    replace("input-name", "image", f"image, other={COMMAND}")
    replace("parameter-name", "conv.weight", f'conv") or {COMMAND} or ("weight')
    change("node-name", lambda other: first(other).update(name=f"x = 1; {COMMAND}; y"))
    change("argument-name", lambda other: first(other)["inputs"][-1].update(name=f"x={COMMAND}, y"))
    change("forward-names", signature("forward_arg_names", [f"x, y={COMMAND}"]))
    change(
        "tree-enum", signature("in_spec", tree("builtins.dict", '{"__enum__": 1, "fqn": "antigravity:X", "name": "a"}'))
    )
    factory = {"default_factory_module": "antigravity", "default_factory_name": "fly", "dict_context": []}
    change("tree-factory", signature("out_spec", tree("collections.defaultdict", factory)))
    change("tree-deep", signature("in_spec", "[" * 100_000))
    change("guard", lambda other: other.update(guards_code=[COMMAND]))
    change("field", lambda other: other.update(setup=COMMAND))
    change("integer", lambda other: _everywhere(other, "min_val", COMMAND))
    change("device", lambda other: _everywhere(other, "device", {"type": "cpu; import os", "index": None}))
    change("symbol", lambda other: other["range_constraints"].update(u999999999999={"min_val": 0, "max_val": 9}))
    change("source", lambda other: first(other)["metadata"].update(source_fn_stack="a,torch.__class__"))
    change("object", lambda other: other["graph_module"]["graph"].update(custom_obj_values={"a": {"class_fqn": "x"}}))
    change("sizes-text", lambda other: _everywhere(other, "sizes", "abc"))
    put("inputs-code", {"data/sample_inputs/model.pt": saved((Code(),))})
    put("weights-code", {"data/weights/model.pt": saved({"conv.weight": Code()})})
    put("constants-code", {"data/constants/model.pt": saved({"conv.weight": Code()})})
    opaque = {"path_name": "opaque_obj_0", "is_param": False, "use_pickle": True, "tensor_meta": None}
    config = json.dumps({"config": {"x": opaque}}).encode()
    put(
        "opaque",
        {"data/constants/model_constants_config.json": config, "data/constants/opaque_obj_0": pickle.dumps(Code())},
    )
    put("library", {"data/aotinductor/model/x.so": b"\x7fELF", "data/aotinductor/model/x_metadata.json": b"{}"})
    put("traversal", {"../../x": b""})
    put("member", {"data/other/x": b""})
    put("second", {"models/b.json": json.dumps({**program, "guards_code": [COMMAND]}).encode()})
    put("case", {"MODELS/model.json": b"{}"})
    put("damaged", {"models/model.json": b"{"})
    put("deep", {"models/model.json": b"[" * 200_000})
    put("list", {"models/model.json": b"[]"})
    weights = json.loads(members[root + "data/weights/model_weights_config.json"])
    _everywhere(weights, "sizes", [{"as_int": TERA}])
    _everywhere(weights, "strides", [{"as_int": 1}])
    put("weights-10TB", {"data/weights/model_weights_config.json": json.dumps(weights).encode()})
    files["compressed"] = zipped(members, zipfile.ZIP_DEFLATED)
    files["shifted"] = shifted(zipped(members))
    old = {
        "version": b"8.20",
        "serialized_exported_program.json": json.dumps({**program, "guards_code": [COMMAND]}).encode(),
        "serialized_state_dict.pt": saved({"conv.weight": Code()}),
        "serialized_constants.pt": saved({}),
        "serialized_example_inputs.pt": saved((torch.ones(1, 3, 8, 8),)),
    }
    files["old-guard"] = zipped(old)
    files["old-code"] = zipped({**old, "serialized_exported_program.json": json.dumps(program).encode()})
    files["old-mixed"] = zipped({"extra_files/archive_format": b"pt2", **old})
    return files


def _everywhere(record: Any, field: str, value: Any) -> None:
    """Sets a field wherever it is."""
    for key, each in record.items() if isinstance(record, dict) else enumerate(record):
        if key == field:
            record[key] = value
        elif isinstance(each, dict | list):
            _everywhere(each, field, value)


# --- Damage -------------------------------------------------------------------------------------------


def damaged(whole: bytes, *, seed: int, count: int) -> Iterator[tuple[str, bytes]]:
    """Cut files, files with flipped bits, and files with a stretch of other bytes, by name."""
    rng = random.Random(seed)
    for at in range(count):
        content = bytearray(whole)
        how = ("cut", "flipped", "overwritten", "doubled")[at % 4]
        place = rng.randrange(len(content))
        if how == "cut":
            del content[place:]
        elif how == "flipped":
            for _ in range(rng.choice((1, 3, 30))):
                content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        elif how == "overwritten":
            content[place : place + 8] = rng.randbytes(8)
        else:
            content[place:place] = content[place : place + rng.randrange(1, 200)]
        yield f"{how}-{at}", bytes(content)


def write(folder: Path, files: dict[str, bytes], suffix: str) -> list[Path]:
    """The files in a folder, in order."""
    paths = []
    for number, content in enumerate(files.values()):
        path = folder / f"{number}{suffix}"
        path.write_bytes(content)
        paths.append(path)
    return paths
