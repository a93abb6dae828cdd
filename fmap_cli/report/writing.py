"""A report as one HTML file: its data in inert elements, its scripts and styles inside, and a policy that lets in
nothing else.

What is told by names (of files, layers, classes, models) is data: Jinja escapes it, and in JSON no sign that could end
an element is left.
"""

from __future__ import annotations

import base64
import hashlib
import json
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import units
from ..documents import finite, in_utf8
from ..drawing.grid import palette
from ..errors import OutputError
from ..receptive.columns import size_of, stride_of
from ..reduced.colours import HUES
from . import redaction
from .planes import pack, packed
from .stills import contact_sheet, picture_of

if TYPE_CHECKING:
    from ..statistics.records import Finding
    from .records import Arithmetic, Components, PageLayer, Pass, Report

SCRIPTS = ("data", "state", "view", "tiles", "panes", "panels", "keys", "main")
"""The page's scripts in the order in which they stand in it, as one."""

_PALETTES = ("viridis", "magma", "gray", "RdBu_r")
_SHORT = 1 << 11
"""Fields of no more numbers than this stand in the JSON, others in elements of their own."""
_LONG = 1 << 22


def page_of(report: Report) -> bytes:
    """The page in UTF-8. Raises OutputError where it is larger than the report allows."""
    made = _Page(redaction.redacted(report) if report.redact else report)
    text = made.text()
    page = text.encode()
    if len(page) > report.max_bytes:
        raise OutputError(
            f"the page would be {len(page) / 1e6:.1f} MB, more than --max-size {report.max_bytes / 1e6:g}MB.",
            hint=f"Leave out layers: {made.heaviest()} take most; or give a larger --max-size.",
        )
    return page


@cache
def _file(name: str) -> str:
    return files("fmap_cli.report").joinpath("page", name).read_text(encoding="utf-8")


def script() -> str:
    """All of the page's scripts, in one scope of their own."""
    body = "\n".join(_file(f"{name}.js") for name in SCRIPTS)
    return f'\n"use strict";\n(() => {{\n{body}\n}})();\n'


def style() -> str:
    return f"\n{_file('style.css')}"


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def policy() -> str:
    """What the page may do: run its one script and its one style, which are known by their digests, and show pictures
    that are in it.
    """
    return (
        f"default-src 'none'; script-src 'sha256-{_digest(script())}'; style-src 'sha256-{_digest(style())}';"
        " img-src data:; base-uri 'none'; form-action 'none'"
    )


def _b64(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")


def _json(value: Any) -> str:
    """JSON in which nothing can end the element that it stands in."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def shown(name: str) -> str:
    """A name as people read it: one line, and nothing that is no text."""
    return in_utf8(units.one_line(name))


class _Page:
    """One page in the making: `payloads` are the inert elements by their id."""

    def __init__(self, report: Report) -> None:
        self.report = report
        self.payloads: dict[str, str] = {}

    def text(self) -> str:
        from jinja2 import Environment, FunctionLoader, StrictUndefined

        environment = Environment(
            loader=FunctionLoader(_file),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        report = self.report
        for at, codes in enumerate(report.codes):
            self.payloads[f"codes-{at}"] = _b64(pack(codes))
        data = self._data()
        return environment.get_template("page.html").render(
            policy=policy(),
            script=script(),
            style=style(),
            data=_json(data),
            payloads=self.payloads,
            report=report,
            title=self._title(),
            passes=[self._answers(each) for each in report.passes],
            stages=self._stages(),
            layers=report.layers,
            rows=[self._row(each) for each in report.layers],
            sheets=[self._sheets(each) for each in report.passes],
            facts=self._facts(),
            memory=_b64(report.memory.encode()) if report.memory else "",
            shown=shown,
            tail=_tail,
        )

    def heaviest(self, most: int = 3) -> str:
        """The layers whose codes take most of the page, by name."""
        sizes: dict[str, int] = {}
        for one in self.report.passes:
            for layer in one.layers:
                sizes[layer.layer.name] = sizes.get(layer.layer.name, 0) + len(self.payloads[f"codes-{layer.codes}"])
        names = sorted(sizes, key=lambda name: -sizes[name])[:most]
        return ", ".join(f"{shown(name)} ({sizes[name] / 1e6:.1f} MB)" for name in names)

    # -- the data of the scripts ---------------------------------------------------------------------------------

    def _data(self) -> dict[str, Any]:
        report = self.report
        return {
            "schema": 1,
            "title": self._title(),
            "model": shown(report.origin.model),
            "command": self._command(),
            "compared": shown(report.compared),
            "palettes": {name: _b64(palette(name).tobytes()) for name in _PALETTES},
            "labels": None if report.labels is None else [shown(each) for each in report.labels],
            "codes": [{"bits": each.bits, "shape": list(each.values.shape)} for each in report.codes],
            "passes": [self._pass(at, each) for at, each in enumerate(report.passes)],
        }

    def _command(self) -> str:
        """How the arithmetic of a unit is asked for in a shell, up to its layer."""
        report = self.report
        model = report.origin.model
        image = "IMAGE" if report.redact else shown(report.passes[0].name)
        return f"fmap explain {_quoted(image)}" + (
            "" if model == "efficientnet_lite0" else f" --model {_quoted(model)}"
        )

    def _pass(self, number: int, one: Pass) -> dict[str, Any]:
        height, width = one.image.pixels.shape[:2]
        return {
            "name": shown(_short(one.name)),
            "size": [height, width],
            "scale": list(one.scale),
            "photo": not self.report.redact,
            "layers": [self._layer(f"{number}-{at}", each, one) for at, each in enumerate(one.layers)],
        }

    def _layer(self, key: str, layer: PageLayer, one: Pass) -> dict[str, Any]:
        numbers = layer.channels
        reading = layer.reading
        share = numbers.zeros / max(numbers.count, 1)
        columns = [numbers.mean, numbers.std, numbers.min, numbers.max, share]
        if layer.effect is not None:
            columns.append(layer.effect)
        with np.errstate(over="ignore"):
            narrow = [each.astype(np.float32) for each in columns]
        self.payloads[f"numbers-{key}"] = _b64(packed([reading.low, reading.step, *narrow]))
        if layer.components is not None:
            self.payloads[f"components-{key}"] = _b64(packed([layer.components.pixels]))
        clamp = reading.clamp
        answers = self.report.labels is not None and layer.count == len(self.report.labels) and not layer.is_map
        return {
            "key": key,
            "name": shown(layer.layer.name),
            "kind": layer.layer.kind,
            "type": shown(layer.layer.type_name),
            "stage": layer.stage,
            "shape": list(layer.shape),
            "cells": list(layer.cells),
            "count": layer.count,
            "isMap": layer.is_map,
            "before": None if layer.before is None else shown(layer.before),
            "codes": layer.codes,
            "clamp": None if clamp is None else [clamp[0], finite(clamp[1])],
            "error": finite(reading.error),
            "stats": {
                "mean": finite(layer.stats.mean),
                "std": finite(layer.stats.std),
                "min": finite(layer.stats.min),
                "max": finite(layer.stats.max),
                "zeros": layer.stats.zero_fraction,
                "nan": layer.stats.nan,
                "inf": layer.stats.inf,
            },
            "effect": layer.effect is not None,
            "components": None if layer.components is None else _in_words(layer.components),
            "facts": self._layer_facts(layer),
            "findings": [
                {
                    "severity": each.severity,
                    "what": each.what,
                    "caution": each.caution,
                    "advice": each.advice,
                    "channels": list(each.channels),
                }
                for each in layer.findings
            ],
            "notes": [shown(each) for each in layer.notes],
            "field": self._field(key, layer) | {"beyond": _beyond(layer, one)},
            "classes": answers or (self.report.labels is not None and layer.layer.kind == "output" and layer.is_map),
            "arithmetic": self._arithmetic(key, layer.arithmetic),
        }

    def _layer_facts(self, layer: PageLayer) -> list[list[str]]:
        total = self.report.multiply_adds
        facts = [
            ["output", f"[{', '.join(map(str, layer.shape))}] {layer.dtype}"],
            ["axes", f"{', '.join(layer.axes.names)}, {layer.axes.how}"],
            ["memory", f"{_bytes(layer.output_bytes)} for this output"],
        ]
        if layer.parameters:
            facts.append(["parameters", units.count(layer.parameters)])
        if layer.multiply_adds:
            part = f", {units.percent(layer.multiply_adds / total)} of the network" if total else ""
            facts.append(["multiply-adds", f"{units.scaled(layer.multiply_adds)}{part}"])
        return [[name, shown(words)] for name, words in facts]

    def _field(self, key: str, layer: PageLayer) -> dict[str, Any]:
        """What every unit sees: along each axis of the picture the first and last pixel, and in words."""
        seen = layer.field
        listed = [each for each in seen.axes if each.axis in ("H", "W")]
        sizes = [size_of(each) for each in listed]
        words = " × ".join(sizes if all(each.size is not None for each in listed) else dict.fromkeys(sizes))
        if listed and all(each.size is not None for each in listed):
            words += " px"
            strides = list(dict.fromkeys(stride_of(each) for each in listed))
            if "–" not in strides:
                words += f", stride {' × '.join(strides)}"
        why = next((each.why for each in listed if each.why), "")
        axes = []
        for axis, extent in zip(seen.axes, seen.extents, strict=True):
            if axis.axis not in ("H", "W") or extent[0].size > _LONG:
                continue
            first, last = (-extent[0]).ravel(), extent[1].ravel()
            first = np.where(last < 0, 1, first)
            last = np.where(last < 0, 0, last)  # nothing of the image
            entry: dict[str, Any] = {"axis": axis.axis, "shape": list(extent.shape[1:])}
            if first.size <= _SHORT:
                entry |= {"first": first.tolist(), "last": last.tolist()}
            else:
                name = f"field-{axis.axis}-{key}"
                self.payloads[name] = _b64(packed([first.astype(np.int32), last.astype(np.int32)]))
                entry["in"] = name
            axes.append(entry)
        return {"words": words, "why": shown(why), "axes": axes if len(axes) == 2 and layer.axes.spatial else []}

    def _arithmetic(self, key: str, found: Arithmetic | None) -> dict[str, Any] | None:
        if found is None or (self.report.redact and not found.reads):
            return None
        self.payloads[f"weights-{key}"] = _b64(packed([found.weight, found.bias]))
        own = self.report.origin.preprocessing
        return {
            "reads": shown(found.reads),
            "shape": list(found.weight.shape),
            "stride": list(found.stride),
            "dilation": list(found.dilation),
            "padding": list(found.padding),
            "groups": found.groups,
            "mean": None if own is None else list(own.mean),
            "std": None if own is None else list(own.std),
        }

    # -- what Jinja writes ---------------------------------------------------------------------------------------

    def _title(self) -> str:
        report = self.report
        names = [_short(each.name) for each in report.passes]
        if report.compared:
            return f"{shown(report.origin.model)}: {shown(report.compared)}"
        on = names[0] if len(names) == 1 else f"{len(names)} images"
        return f"{shown(report.origin.model)} on {shown(on)}"

    def _facts(self) -> list[tuple[str, str]]:
        report = self.report
        origin = report.origin
        facts = [("weights", str(origin.weights)), ("input", origin.fed_in_words)]
        if report.variant:
            facts.append(("B", report.variant))
        facts += [
            ("runs", f"{origin.dtype} on {origin.device}"),
            ("layers", f"{units.count(report.layer_count)}, {len(report.layers)} of them here"),
            ("parameters", units.count(report.parameters)),
            ("multiply-adds", units.scaled(report.multiply_adds)),
        ]
        if origin.versions is not None:
            versions = origin.versions
            facts.append(("made by", f"fmap {versions.fmap}, PyTorch {versions.torch}"))
        if report.made:
            facts.append(("made on", report.made))
        return [(name, shown(words)) for name, words in facts if words]

    def _stages(self) -> list[dict[str, Any]]:
        """A column a stage: its map, its part of the depth, and which of the page's layers run in it."""
        report = self.report
        tall = [shape for shape in report.stages if len(shape) > 1] or [(1,)]
        largest = max(max(shape[1:], default=1) for shape in tall)
        columns = []
        for number, count in enumerate(report.stage_layers):
            inside = [at for at, each in enumerate(report.layers) if each.stage == number]
            maps = [at for at in inside if report.layers[at].is_map]
            vectors = [at for at in inside if at not in maps]
            columns += [(maps, count)] if maps else []
            columns += [(vectors, 0 if maps else count)] if vectors else []
        return [self._stage(inside, count, largest) for inside, count in columns]

    def _stage(self, inside: list[int], count: int, largest: int) -> dict[str, Any]:
        last = self.report.layers[inside[-1]]
        side = max(last.cells[1:]) if last.is_map else 1
        least, most = (which(self.report.layers[at].count for at in inside) for which in (min, max))
        counts = units.count(most) if least == most else f"{units.count(least)}–{units.count(most)}"
        return {
            "size": f"{last.cells[1]} × {last.cells[2]}" if last.is_map else "vector",
            "channels": f"{counts} {'channels' if last.is_map else 'values'}",
            "height": round(float(6 + 50 * np.log2(side + 1) / np.log2(largest + 1)), 1),
            "count": count,
            "layers": [(at, shown(self.report.layers[at].layer.name)) for at in inside],
        }

    def _row(self, layer: PageLayer) -> dict[str, Any]:
        stats = layer.stats
        return {
            "name": shown(layer.layer.name),
            "type": shown(layer.layer.type_name),
            "shape": units.shape(layer.shape),
            "numbers": [
                *(units.number(each, 4) for each in (stats.mean, stats.std, stats.min, stats.max)),
                units.percent(stats.zero_fraction),
            ],
            "field": self._field("", layer)["words"] if layer.is_map else "–",
            "findings": layer.findings,
            "error": units.number(layer.reading.error, 2),
            "bits": self.report.codes[layer.codes].bits,
        }

    def _answers(self, one: Pass) -> dict[str, Any]:
        height, width = one.image.pixels.shape[:2]
        photo, suffix = picture_of(one.image.pixels)
        labelled = None
        if one.label_map is not None and self.report.labels:
            from .stills import labelled_picture

            picture, legend = labelled_picture(one, self.report.labels, plain=self.report.redact)
            labelled = {"picture": _b64(picture), "legend": legend}
        # Of two that are compared the page goes by the names of A's layers.
        reached = {each.layer.name for each in (self.report.layers if self.report.compared else one.layers)}
        return {
            "name": shown(_short(one.name)),
            "caption": shown(one.image.caption),
            "photo": "" if self.report.redact else _b64(photo),
            "suffix": suffix,
            "size": (height, width),
            "predictions": [
                {
                    "label": shown(each.label) if each.label is not None else f"class {each.index}",
                    "share": round(each.probability, 6),
                    "words": units.percent(each.probability),
                }
                for each in one.predictions
            ],
            "detects": one.detects,
            "detections": [
                {
                    "label": shown(each.label) if each.label is not None else f"class {each.index}",
                    "words": units.percent(each.score),
                    "box": [round(value, 1) for value in each.box],
                }
                for each in one.detections
            ],
            "labelled": labelled,
            "findings": [(each, *_where(one, each, reached)) for each in one.findings],
            "extras": [
                {"title": each.title, "words": each.words, "picture": _b64(picture_of(each.pixels)[0])}
                for each in one.extras
            ],
        }

    def _sheets(self, one: Pass) -> list[dict[str, Any]]:
        """For who reads without scripts: the channels of the largest standard deviation of each layer, as a picture."""
        found = []
        for layer in one.layers:
            if not layer.is_map:
                continue
            picture, channels = contact_sheet(layer, self.report.codes[layer.codes])
            found.append(
                {
                    "name": shown(layer.layer.name),
                    "shape": units.shape(layer.shape),
                    "picture": _b64(picture),
                    "channels": ", ".join(map(str, channels)),
                }
            )
        return found


def _in_words(components: Components) -> str:
    """What the colours of a whole layer are."""
    shares = [units.percent(each) for each in components.shares]
    if len(shares) == 1:
        return f"Its one principal component goes from dark to bright ({shares[0]} of the variance)."
    parts = [
        f"the {rank} is {hue} ({share})"
        for rank, hue, share in zip(("first", "second", "third"), HUES[len(shares)], shares, strict=False)
    ]
    return f"Of its principal components {', '.join(parts)}; the numbers are their parts of the variance."


def _beyond(layer: PageLayer, one: Pass) -> bool:
    """Whether what a unit sees, which counts what lies beyond the picture's border, is larger than the picture."""
    sides = {axis: size / by for axis, size, by in zip("HW", one.image.pixels.shape, one.scale, strict=False)}
    return any(
        each.size is not None and each.size > sides[each.axis] for each in layer.field.axes if each.axis in sides
    )


def _where(one: Pass, finding: Finding, reached: set[str]) -> tuple[str, str]:
    """The layer of the page on which a finding is seen, empty where there is none; and in words how it is related."""
    shown_layers = {each.layer.name: each for each in one.layers if each.layer.name in reached}
    if finding.layer in shown_layers:
        return finding.layer, ""
    for name, layer in shown_layers.items():
        if finding in layer.findings:
            return name, "on this page its values are those of"
    inside = [name for name in shown_layers if name and finding.layer.startswith(f"{name}.")]
    if inside:
        return max(inside, key=len), "on this page it is inside"
    return "", "not on this page"


def _short(name: str) -> str:
    """A name without its folders."""
    return name.replace("\\", "/").rsplit("/", 1)[-1] or name


def _tail(name: str, most: int = 24) -> str:
    """A layer's name cut at its start, for names differ at their end."""
    return name if len(name) <= most else f"…{name[1 - most :].lstrip('.')}"


def _quoted(text: str) -> str:
    import shlex

    return shlex.quote(shown(text))


def _bytes(count: int) -> str:
    unit = "MB" if count >= 100_000 else "kB" if count >= 1000 else "B"
    return f"{units.in_unit(count, unit) if unit != 'B' else count} {unit}"
