"""Every kind of odd, damaged and hostile input as a command of its own: what fmap is given, and in which files.

The cases are made on the spot. After each there is a result or one clear line, within 20 seconds and 2 GiB; nothing
that a file asks for has run, and nothing is left behind. `test_corpus.py` runs them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from corpus.arrays import npy as npy
from corpus.arrays import npy_cases, npz_cases
from corpus.cases import MODEL as MODEL
from corpus.cases import Case as Case
from corpus.cases import prepare as prepare
from corpus.images import images
from corpus.images import picture as picture
from corpus.images import png as png
from corpus.networks import exported as exported
from corpus.networks import network_cases, program_cases
from corpus.runs import run_cases
from corpus.runs import saved_run as saved_run
from corpus.weights import checkpoint_cases, safetensors_cases
from corpus.weights import network as network
from corpus.weights import sound_safetensors as sound_safetensors

KINDS: dict[str, Callable[[], Iterator[Case]]] = {
    "images": images,
    "npy": npy_cases,
    "npz": npz_cases,
    "safetensors": safetensors_cases,
    "checkpoints": checkpoint_cases,
    "programs": program_cases,
    "runs": run_cases,
    "networks": network_cases,
}
