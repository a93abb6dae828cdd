"""The program in a file: told by what the archive holds, and opened as what it is."""

from __future__ import annotations

import re
from pathlib import Path

from fmap_cli.errors import ModelError, WeightsError
from fmap_cli.models import archive
from fmap_cli.models.archive import RefusedError
from fmap_cli.models.preprocessing import fed
from fmap_cli.models.programs import exported, script
from fmap_cli.models.programs.trial import INSTEAD
from fmap_cli.models.records import LoadedModel, Weights
from fmap_cli.models.sources import Asked


def load(asked: Asked) -> LoadedModel:
    """The program in the file, with its own weights."""
    spec, weights, overrides = asked.spec, asked.weights, asked.overrides
    kind = _kind(spec)
    if weights is not None and weights.lower() != "default":
        raise WeightsError(
            f"{spec} is a program with its own weights; {weights!r} cannot take their place",
            hint="Leave out `--weights`; to load others make the network in Python, `--model path/to/file.py:factory`.",
        )
    module, takes, notes = exported.load(spec, overrides) if kind == "torch.export" else script.load(spec, overrides)
    preprocessing, input_kind, frames, said = fed(takes, overrides)
    return LoadedModel(
        module=module.eval(),
        name=spec,
        weights=Weights("program", Path(spec).name),
        preprocessing=preprocessing,
        input_kind=input_kind,
        frames=frames,
        notes=notes + said,
        takes=takes,
    )


def _kind(spec: str) -> str:
    """`TorchScript` or `torch.export`, told by what the archive holds. Raises ModelError for anything else."""
    file = Path(spec)
    if not file.is_file():
        raise ModelError(f"no such file: {spec}" if not file.exists() else f"{spec} is not a file")
    try:
        with archive.opened(file) as held:
            members = [held.root + name for name in held.names]
    except OSError as error:
        raise ModelError(f"cannot read {spec}: {error.strerror}") from error
    except RefusedError as error:
        with file.open("rb") as stream:
            if stream.read(4) == b"PK\3\4":
                raise ModelError(f"{spec} was not opened: {error}", hint=INSTEAD) from error
        members = []
    if any(member.endswith("/constants.pkl") for member in members):
        return "TorchScript"
    if any(re.search(r"(^|/)(models/[^/]+\.json|serialized_exported_program\.json)$", member) for member in members):
        return "torch.export"
    if file.suffix.lower() in (".safetensors", ".bin", ".ckpt") or any(each.endswith("data.pkl") for each in members):
        raise ModelError(
            f"{spec} holds weights, and no program that could run",
            hint=f"Name their network: `--model NAME --weights {spec}`; your own is `path/to/file.py:factory`.",
        )
    raise ModelError(
        f"{spec} is neither a TorchScript archive nor a torch.export program, or it is damaged",
        hint="Expected what `torch.jit.save` or `torch.export.save` writes; weights are `--model NAME --weights FILE`.",
    )
