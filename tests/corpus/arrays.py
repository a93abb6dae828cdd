"""Odd, damaged and hostile arrays."""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
from collections.abc import Iterator
from typing import Any

import hostile
import numpy as np
from hostile import COMMAND, TERA, Code

from corpus.cases import MODEL, READING, Case, about, header


def npy(array: Any, **how: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, **how)
    return buffer.getvalue()


def arrays() -> dict[str, bytes]:
    """Files that begin as `.npy` does, and those named so."""
    values = np.random.default_rng(0).random((16, 16, 3))
    files = {
        f"{kind}": npy((values * 200).astype(kind)) for kind in "u1 i1 u2 i2 u4 i4 u8 i8 f2 f4 f8 g ? c8 c16".split()
    }
    files |= {f"big-endian-{kind}": npy((values * 200).astype(f">{kind}")) for kind in ("u2", "i4", "f4", "f8")}
    files |= {f"axes-{count}": npy(np.zeros((2,) * count, np.uint8)) for count in range(9)}
    files |= {f"{shape}": npy(np.zeros(shape, np.uint8)) for shape in ((1, 1, 3), (1, 20_000), (20_000, 1), (0, 4, 3))}
    files |= {f"version-{version}": header("(2, 2, 3)", version=version) + b"\0" * 12 for version in (1, 2, 3, 4, 255)}
    odd = np.array([[np.nan, np.inf], [-np.inf, 1e300]])
    deep = "(" * 200 + ")" * 200
    return files | {
        "fortran": npy(np.asfortranarray(values)),
        "not-finite": npy(odd),
        "tiny": npy(values * 1e-300),
        "objects-code": npy(np.array([[Code()] * 4] * 4, object), allow_pickle=True),
        "objects": npy(np.array([[None] * 4] * 4, object), allow_pickle=True),
        "objects-header": header("(2, 2)", "'|O'") + pickle.dumps(Code()),
        "record": npy(np.zeros((4, 4), [("r", "u1"), ("g", "u1")])),
        "record-objects": header("(2, 2)", "[('a', '|O')]") + pickle.dumps(Code()),
        "text": npy(np.array([["ab", "cd"], ["é", "f"]])),
        "bytes": npy(np.array([[b"ab", b"cd"]])),
        "dates": npy(np.zeros((4, 4), "M8[s]")),
        "void": npy(np.zeros((4, 4), "V7")),
        "subarray": header("(2, 2)", "('<f8', (1000000, 1000000))"),
        "claims-10TB": header(f"({TERA}, 1, 3)"),
        "claims-10TB-float": header(f"(1, {TERA}, 3)", "'<f8'"),
        "claims-overflow": header("(4611686018427387904, 4, 3)", "'<f8'"),
        "claims-bytes": header("(3, 16, 16)", f"'|V{TERA}'"),
        "claims-text": header("(4, 4)", "'<U2000000000'"),
        "claims-more": header("(300, 400, 3)") + b"\0" * 99,
        "claims-below": header("(8000, 8000, 3)", "'<f8'"),
        "claims-batch": header(f"({TERA}, 16, 16, 3)"),
        "negative": header("(-5, 4, 3)"),
        "shape-no-number": header("(5, 4, 'x')"),
        "shape-float": header("(5.0, 4)"),
        "shape-true": header("(True, True, 3)") + b"\0" * 3,
        "shape-long": header("(" + "1, " * 5_000 + ")") + b"\0",
        "shape-digits": header("(" + "9" * 5_000 + ", 4)"),
        "code": header(f"({COMMAND}, 4)"),
        "code-dtype": header("(4, 4)", COMMAND),
        "code-dtype-text": header("(4, 4)", repr(COMMAND)),
        "code-name": header("(4, 4)", f"[({COMMAND!r}, '|u1')]") + b"\0" * 16,
        "deep": header(deep),
        "deeper": header("(" * 4_000 + ")" * 4_000),
        "signs": header("(" + "-" * 9_000 + "1,)"),
        "key-missing": b"\x93NUMPY\1\0\x10\0{'descr': '|u1'}",
        "key-more": header("(4, 4)", more="'other': 1") + b"\0" * 16,
        "no-dict": b"\x93NUMPY\1\0\x04\0{{{{",
        "header-4GB": b"\x93NUMPY\2\0" + struct.pack("<I", 2**32 - 1) + b"{",
        "header-16MB": b"\x93NUMPY\2\0" + struct.pack("<I", 16 << 20) + b" " * (16 << 20),
        "header-no-utf8": b"\x93NUMPY\3\0" + struct.pack("<I", 20) + b"\xff" * 20,
        "header-nul": header("(4, 4)\0"),
        "fortran-odd": header("(4, 4, 3)", order="3") + b"\0" * 48,
        "fortran-text": header("(4, 4, 3)", order="'yes'") + b"\0" * 48,
        "only-magic": b"\x93NUMPY",
        "trailing": npy(np.zeros((4, 4), np.uint8)) + b"more" * 1000,
    }


def npy_cases() -> Iterator[Case]:
    plain = npy(np.random.default_rng(0).integers(0, 255, (16, 16, 3), dtype=np.uint8))
    fortran = npy(np.asfortranarray(np.random.default_rng(0).random((16, 16, 3))))
    files = arrays()
    for seed, whole in enumerate((plain, fortran)):
        files |= {f"damaged-{seed}-{name}": broken for name, broken in hostile.damaged(whole, seed=seed, count=40)}
    # Most damage hits the numbers: here the header alone.
    for name, broken in hostile.damaged(plain[:128], seed=5, count=40):
        files[f"header-{name}"] = broken + plain[128:]
    for number, (name, content) in enumerate(files.items()):
        command = READING[number % len(READING)]
        yield Case("npy", name, about(command, "a.npy") + MODEL, {"a.npy": content}, name in ("u1", "fortran"))
        numbers = ("predict", "a.npy", "-m", "net.py:numbers", "--input-shape", "3,2,2")
        yield Case("npy as it is", name, numbers, {"a.npy": content})


def npz_cases() -> Iterator[Case]:
    plain, code = npy(np.zeros((16, 16, 3), np.uint8)), npy(np.array([Code()], object), allow_pickle=True)
    name = "net/data.pkl"
    bad = bytearray(hostile.zipped({"aaaa.npy": plain}))
    for _ in range(2):
        at = bad.index(b"aaaa")
        bad[at : at + 4] = b"\xff\xfe\xfd\xfc"
    files = {
        "plain": hostile.zipped({"a.npy": plain}),
        "code": hostile.zipped({"a.npy": code}),
        "bomb": hostile.zipped({"a.npy": header("(1073741824,)") + b"\0" * (256 << 20)}, zipfile.ZIP_DEFLATED),
        "claims": hostile.zipped({"a.npy": header(f"({TERA},)")}),
        "names": bytes(bad),
        "empty": hostile.zipped({}),
        "weights": hostile.zipped({"0.weight.npy": npy(np.zeros((4, 3, 3, 3), np.float32))}),
        "beside": hostile.zipped({"a.npy": plain, name: pickle.dumps(Code(), 2)}),
    }
    files |= dict(hostile.damaged(files["plain"], seed=3, count=16))
    for name, content in files.items():
        for command in (("predict", "a.npz"), ("show", "-w", "a.npz", "-o", "figure.png")):
            yield Case("npz", f"{name} {command[0]}", (*command, *MODEL), {"a.npz": content})
        yield Case("npz", f"{name} run", ("stats", "--load", "a.npz"), {"a.npz": content})
