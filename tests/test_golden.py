"""What the commands print, pinned word by word: a change of the house must change none of it.

`FMAP_GOLDEN=write pytest tests/test_golden.py -m ''` writes the files anew; read the difference before committing it.
They are slow tests, to be run by whoever moves code that should say what it said before; whoever changes what is said
writes them anew. Words are compared exactly; numbers may differ in the last digit printed, for another processor
rounds otherwise.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import ROOT, Ran
from pages import drawn, labels

from fmap_cli.drawing.scene import Picture, Plot, Scene, Text

GOLDEN = Path(__file__).parent / "golden"
_WRITING = os.environ.get("FMAP_GOLDEN") == "write"

_MODELS = {
    "lite0": [],
    "small": ["--model", "tests/golden/nets.py:small", "--size", "32"],
    "resnet18": ["--model", "resnet18", "--weights", "random", "--size", "96"],
    "swin": ["--model", "swin_t", "--weights", "random"],
}
_LAYERS = {
    "lite0": ["features.0.0", "features.2.1.add", "classifier.1"],
    "small": ["*"],
    "resnet18": ["conv1", "layer2", "layer2.0.relu_1", "fc"],
    "swin": ["features.0", "features.3", "features.3.0.attn", "head"],
}
_FILTERS = {
    "lite0": ["conv1", "features.2.0.block.1.0", "features.2.0.block.3.0"],
    "small": ["conv1", "conv2", "fc"],
    "resnet18": ["conv1", "layer1.0.conv2"],
    "swin": ["features.0.0"],
}
_UNIT = {"lite0": "features.2.1.add", "small": "conv2", "resnet18": "layer2", "swin": "features.3"}
_COFFEE, _CAT = "sample_images/coffee.png", "sample_images/chelsea.png"
_COMMANDS: dict[str, list[str]] = {
    "show": [_COFFEE, "LAYERS", "--out-dir", "OUT"],
    "show-reduce": [_COFFEE, _CAT, "--layer", "UNIT", "--reduce", "pca", "--out-dir", "OUT"],
    "show-similar": [_COFFEE, _CAT, "--layer", "UNIT", "--similar", "2,3", "--out-dir", "OUT"],
    "stats": [_COFFEE, _CAT, "LAYERS", "--batch", "2", "--workers", "0"],
    "stats-channels": [_COFFEE, "LAYERS", "--per-channel", "--sort", "max", "--top", "12", "--workers", "0"],
    "layers": ["LAYERS"],
    "cam": [_COFFEE, "--steps", "3", "--out", "OUT"],
    "filters": ["FILTERS", "--fold", "--out-dir", "OUT"],
    "effect": [_COFFEE, _CAT, "--layer", "UNIT", "--channels", "0-7", "--top", "5"],
    "rf": ["LAYERS"],
    "rf-unit": [_CAT, "--layer", "UNIT", "--at", "max", "--out", "OUT"],
    "predict": [_COFFEE, _CAT, "--top", "3"],
    "embed": [_COFFEE, _CAT, "--similar=1"],
    "compare": [_COFFEE, _CAT, "LAYERS"],
    "report": [_COFFEE, "--out", "OUT"],
    "top": [_COFFEE, _CAT, "--layer", "UNIT", "--top", "3", "--workers", "0", "--batch", "1", "--out-dir", "OUT"],
}
_FILES = {"rf-unit": "unit.png", "cam": "unit.png", "report": "page.html"}
"""Of what a command writes to `--out`, where that is a file."""
_FORMS = {
    "show": ("80", "120", "json", "figure"),
    "show-reduce": ("80", "120", "json", "figure"),
    "show-similar": ("80", "json", "figure"),
    "stats": ("80", "120", "json", "csv", "figure"),
    "stats-channels": ("80", "120"),
    "cam": ("80", "120", "json", "csv", "figure"),
    "filters": ("80", "120", "json", "csv", "figure"),
    "effect": ("80", "120", "json"),
    "rf": ("80", "120", "json", "csv", "figure"),
    "rf-unit": ("80", "json", "figure"),
    "compare": ("80", "120", "json", "csv", "figure"),
    "embed": ("80", "120", "json"),
    "predict": ("80", "120", "json", "csv"),
    "report": ("80", "120", "json"),
    "top": ("80", "120", "json", "csv", "figure"),
}
_ALL_FORMS = ("80", "120", "json", "csv")


def _cases() -> list[object]:
    found: list[object] = []
    for model in _MODELS:
        for command in _COMMANDS:
            for form in _FORMS.get(command, _ALL_FORMS):
                found.append(pytest.param(model, command, form, id=f"{model}-{command}-{form}"))
    for form in _ALL_FORMS:
        found.append(pytest.param("memory", "memory", form, id=f"memory-{form}"))
    for form in (*_ALL_FORMS, "figure"):
        found.append(pytest.param("vit", "attention", form, id=f"vit-attention-{form}"))
    found.append(pytest.param("models", "models", "80", id="models-80"))
    return found


def _arguments(model: str, command: str, out: Path) -> list[str]:
    if command == "memory":
        return ["memory", "resnet18", "--batch", "4", "--size", "64"]
    if command == "models":
        return ["models", "resnet*"]
    if command == "attention":
        planted = ["--model", "tests/attention/vits.py:planted", "--input-shape", "3,64,80"]
        return ["attention", _COFFEE, *planted, "--at", "1,2", "--out", str(out / "attention.png")]
    arguments = [command.partition("-")[0]]
    for each in _COMMANDS[command]:
        if each in ("LAYERS", "FILTERS"):
            for layer in (_LAYERS if each == "LAYERS" else _FILTERS)[model]:
                arguments += ["--layer", layer]
        else:
            arguments.append(str(out / _FILES[command]) if each == "OUT" and command in _FILES else each)
    arguments = [str(out) if each == "OUT" else _UNIT[model] if each == "UNIT" else each for each in arguments]
    return [*arguments, *_MODELS[model]]


@pytest.mark.slow
@pytest.mark.parametrize(("model", "command", "form"), _cases())
def test_output_is_as_pinned(
    model: str, command: str, form: str, fmap: Callable[..., Ran], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("COLUMNS", form if form.isdigit() else "200")
    out = tmp_path / "out"
    out.mkdir()
    arguments = _arguments(model, command, out)
    drawn: list[str] = []
    if form == "figure":
        # What is laid out, before Pillow or Matplotlib draws it.
        monkeypatch.setattr(
            "fmap_cli.drawing.files.write_scene", lambda scene, file, suffix: drawn.extend(_told(scene))
        )
        arguments += [] if str(out) in " ".join(arguments) else ["--out", str(out / "figure.png")]
    elif not form.isdigit():
        arguments.append(f"--{form}")
    ran = fmap(*arguments)
    said = "\n".join(drawn) if form == "figure" else f"{ran.out}-- stderr, exit code {ran.code}\n{ran.err}"
    text = f"$ fmap {' '.join(arguments)}\n{said}\n"
    text = text.replace(str(out), "OUT")
    text = re.sub(r'^( *"(?:fmap|torch|torchvision)": )".*"', r'\1"VERSION"', text, flags=re.MULTILINE)
    text = re.sub(r'^( *"bytes": )\d+', r"\1SIZE", text, flags=re.MULTILINE)  # the page's own words are in it
    file = GOLDEN / f"{model}-{command}-{form}.txt"
    if _WRITING:
        file.write_text(text, encoding="utf-8")
        return
    _check_alike(text, file.read_text(encoding="utf-8"))


def _told(scene: Scene) -> list[str]:
    """A figure in words: each text, picture, box and chart with its place; of pictures the mean colour, of charts
    their ends, labels and words.
    """
    lines = [f"page {scene.width} {scene.height}"]
    axes = drawn(scene) if any(isinstance(each, Plot) for each in scene.items) else {}
    for each in scene.items:
        place = f"{each.x:.0f}.0 {each.y:.0f}.0"
        if isinstance(each, Text):
            lines.append(f"text {place} {each.text}")
        elif isinstance(each, Picture):
            colour = " ".join(f"{mean:.0f}.0" for mean in each.pixels.reshape(-1, 3).mean(0))
            lines.append(f"picture {place} {each.size[0]} {each.size[1]} {colour}")
        elif isinstance(each, Plot):
            lines.append(f"plot {each.name} {place} {each.size[0]} {each.size[1]}")
            lines += [f"  {which} {' '.join(labels(axes[each.name], which).values())}" for which in "xy"]
            lines += [f"  says {word.get_text()}" for word in axes[each.name].texts]
            ends = axes[each.name].dataLim
            lines.append(f"  data {ends.x0:.3g} {ends.x1:.3g} {ends.y0:.3g} {ends.y1:.3g}")
        else:
            lines.append(f"box {place} {each.width:.0f}.0 {each.height:.0f}.0")
    return lines


# -- comparing ---------------------------------------------------------------------------------------------------

_NUMBER = re.compile(r"[-−]?\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?")


def _check_alike(text: str, pinned: str) -> None:
    ours, theirs = _tokens(text), _tokens(pinned)
    for at, (mine, other) in enumerate(zip(ours, theirs, strict=False)):
        if mine != other and not _same_number(mine, other):
            raise AssertionError(f"…{' '.join(theirs[max(at - 12, 0) : at])} ⟦{other}⟧ is now ⟦{mine}⟧\n{text}")
    assert len(ours) == len(theirs), text


def _tokens(text: str) -> list[str]:
    """Words and numbers, without the space between them; bars of blocks are one token whatever their heights."""
    text = re.sub(r"[▁-█▉-▏ ]*[▁-▏]+", " ▁ ", text)
    return re.findall(rf"{_NUMBER.pattern}|[^\W\d]+|[^\w\s]", text)


def _same_number(mine: str, other: str) -> bool:
    """Whether two numbers differ by at most one in the last digit of the one that prints fewer."""
    if not (_NUMBER.fullmatch(mine) and _NUMBER.fullmatch(other)):
        return False
    a, b = (float(each.replace(",", "").replace("−", "-")) for each in (mine, other))
    return abs(a - b) <= max(1.01 * max(_unit(mine), _unit(other)), 1e-3 * max(abs(a), abs(b)))


def _unit(number: str) -> float:
    """What one in the last digit printed is worth; whole numbers are counts, and have no rounding.

    >>> _unit("1.25"), _unit("3.0e-2"), _unit("17")
    (0.01, 0.001, 0.0)
    """
    mantissa, _, exponent = number.partition("e")
    _, dot, decimals = mantissa.partition(".")
    return float(f"1e{int(exponent or 0) - len(decimals)}") if dot else 0.0


def test_a_word_or_a_count_that_changes_is_noticed() -> None:
    _check_alike("mean 0.124 of 12 ▁▂", "mean 0.125 of 12 ▂▂")
    for changed in ("mean 0.124 of 13 ▁", "means 0.124 of 12 ▁", "mean 0.128 of 12 ▁", "mean 0.124 of 12"):
        with pytest.raises(AssertionError):
            _check_alike(changed, "mean 0.124 of 12 ▁")
