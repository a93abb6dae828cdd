"""A report as one HTML file: its data in inert elements, its scripts and styles inside, and a policy that lets in
nothing else.

What is told by names (of files, layers, classes, models) is data: Jinja escapes it, and in JSON no sign that could end
an element is left.
"""

from __future__ import annotations

import base64
import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
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
from .exciting import dossiers_of_layer, listed_dossiers, sort_columns, written_dossiers
from .planes import pack, packed
from .stills import contact_sheet, is_kept_exactly, picture_of
from .strip import strip_of

if TYPE_CHECKING:
    from ..statistics.records import Finding
    from .records import Arithmetic, Components, PageLayer, Pass, Report

SCRIPTS = ("data", "state", "view", "tiles", "panes", "panels", "exciting", "keys", "main")
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
        with ThreadPoolExecutor() as pool:  # zlib lets other threads run
            for at, content in enumerate(pool.map(pack, report.codes)):
                self.payloads[f"codes-{at}"] = _b64(content)
        data = self._data()
        return environment.get_template("page.html").render(
            policy=policy(),
            script=script(),
            style=style(),
            data=_json(data),
            payloads=self.payloads,
            report=report,
            title=self._title(),
            passes=[self._answers(at, each) for at, each in enumerate(report.passes)],
            strips=self._strips(),
            rows=self._rows(),
            sheets=[self._sheets(each) for each in report.passes],
            facts=self._facts(),
            dossiers=listed_dossiers(report.dossiers, report.layers),
            memory=_b64(report.memory.encode()) if report.memory else "",
            shown=shown,
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
            "labels": [
                None if each.labels is None else [shown(name) for name in each.labels] for each in report.courses
            ],
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
            "name": shown(one.image.short_name),
            "size": [height, width],
            "scale": list(one.scale),
            "pictures": [shown(each.name) for each in one.pictures],
            "clip": one.is_clip,
            "photo": not self.report.redact,
            "exact": self._exact(one),
            "layers": [self._layer(number, at, each, one) for at, each in enumerate(one.layers)],
        }

    def _exact(self, one: Pass) -> bool:
        """Whether the page has the very pixels, as where a convolution's arithmetic reads them (if few enough)."""
        reads = any(each.arithmetic is not None and not each.arithmetic.reads for each in one.layers)
        return is_kept_exactly(one.image.pixels, is_read=reads)

    def _layer(self, number: int, at: int, layer: PageLayer, one: Pass) -> dict[str, Any]:
        key = f"{number}-{at}"
        course = self.report.course(number)
        numbers = layer.channels
        reading = layer.reading
        share = numbers.zeros / max(numbers.count, 1)
        columns = [numbers.mean, numbers.std, numbers.min, numbers.max, share]
        if layer.effect is not None:
            columns.append(layer.effect)
        dossiers, own = self.report.dossiers if number == 0 or len(self.report.courses) == 1 else None, None
        if dossiers is not None and (own := dossiers_of_layer(dossiers, layer)) is not None:
            columns += sort_columns(dossiers, own, layer.count)
            name = f"dossiers-{dossiers.layers.index(own)}"
            if name not in self.payloads:
                self.payloads[name] = _b64(written_dossiers(dossiers, own))
        with np.errstate(over="ignore"):
            narrow = [each.astype(np.float32) for each in columns]
        self.payloads[f"numbers-{key}"] = _b64(packed([reading.low, reading.step, *narrow]))
        if layer.components is not None:
            self.payloads[f"components-{key}"] = _b64(packed([layer.components.pixels]))
        clamp = reading.clamp
        answers = course.labels is not None and layer.count == len(course.labels) and not layer.is_map
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
            "dossiers": None if dossiers is None or own is None else f"dossiers-{dossiers.layers.index(own)}",
            "components": None if layer.components is None else _in_words(layer.components),
            "facts": self._layer_facts(layer, course.multiply_adds),
            "ofFirst": layer.of_first,
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
            "classes": answers or (course.labels is not None and layer.layer.kind == "output" and layer.is_map),
            "arithmetic": self._arithmetic(key, layer.arithmetic, exact=self._exact(one)),
        }

    def _layer_facts(self, layer: PageLayer, total: int) -> list[list[str]]:
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

    def _arithmetic(self, key: str, found: Arithmetic | None, *, exact: bool) -> dict[str, Any] | None:
        if found is None or (not found.reads and (self.report.redact or not exact)):
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
        names = [each.image.short_name for each in report.passes]
        if report.compared:
            models = list(dict.fromkeys(each.model for each in report.courses))
            return f"{shown(' (A) and '.join(models))}{' (B)' * (len(models) > 1)}: {shown(report.compared)}"
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
            ("layers", self._of_sides(self._layer_counts())),
            ("parameters", self._of_sides([units.count(each.parameters) for each in report.courses])),
            ("multiply-adds", self._of_sides([units.scaled(each.multiply_adds) for each in report.courses])),
        ]
        if origin.versions is not None:
            versions = origin.versions
            facts.append(("made by", f"fmap {versions.fmap}, PyTorch {versions.torch}"))
        if report.made:
            facts.append(("made on", report.made))
        return [(name, shown(words)) for name, words in facts if words]

    def _layer_counts(self) -> list[str]:
        report = self.report
        passes = report.passes[: len(report.courses)]
        return [
            f"{units.count(course.layer_count)}, {len(one.layers)} of them here"
            for course, one in zip(report.courses, passes, strict=True)
        ]

    @staticmethod
    def _of_sides(words: list[str]) -> str:
        """What is the same of A and B once, else both."""
        return words[0] if len(set(words)) == 1 else f"A {words[0]}; B {words[1]}"

    def _strips(self) -> list[dict[str, Any]]:
        """The network as a strip of stages; of two with other layers, A's and B's."""
        report = self.report
        sides = [(report.courses[0], report.layers)]
        if len(report.courses) > 1 and self._names(0) != self._names(1):
            sides.append((report.courses[1], report.passes[1].layers))
        several = len(sides) > 1
        return [
            {
                "title": f"{'AB'[at]}: resolution against depth" if several else "Resolution against depth",
                "side": "AB"[at] if several else "",
                "stages": strip_of(course, layers, self._names(1 - at) if several else None, shown),
            }
            for at, (course, layers) in enumerate(sides)
        ]

    def _names(self, number: int) -> set[str]:
        return {each.layer.name for each in self.report.passes[number].layers}

    def _rows(self) -> list[dict[str, Any]]:
        """The layers of the first pass; of two networks also those that B alone has."""
        report = self.report
        if len(report.courses) == 1:
            return [self._row(each) for each in report.layers]
        a, b = self._names(0), self._names(1)
        rows = [self._row(each, "" if each.layer.name in b else "A") for each in report.layers]
        return rows + [self._row(each, "B") for each in report.passes[1].layers if each.layer.name not in a]

    def _row(self, layer: PageLayer, side: str = "") -> dict[str, Any]:
        stats = layer.stats
        return {
            "name": shown(layer.layer.name),
            "side": side,
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

    def _answers(self, number: int, one: Pass) -> dict[str, Any]:
        height, width = one.image.pixels.shape[:2]
        exact = self._exact(one)
        pictures = [] if self.report.redact else [(each.name, *picture_of(each.pixels, exact)) for each in one.pictures]
        labels = self.report.course(number).labels
        labelled = None
        if one.label_map is not None and labels:
            from .stills import labelled_picture

            picture, legend = labelled_picture(one, labels, plain=self.report.redact)
            labelled = {"picture": _b64(picture), "legend": legend}
        return {
            "name": shown(one.image.short_name),
            "caption": shown(one.image.caption),
            "pictures": [{"name": shown(name), "data": _b64(data), "suffix": how} for name, data, how in pictures],
            "clip": one.is_clip,
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
            "findings": [(each, *_where(one, each)) for each in one.findings],
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


def _where(one: Pass, finding: Finding) -> tuple[str, str]:
    """The layer of the page on which a finding is seen, empty where there is none; and in words how it is related."""
    shown_layers = {each.layer.name: each for each in one.layers}
    if finding.layer in shown_layers:
        return finding.layer, ""
    for name, layer in shown_layers.items():
        if finding in layer.findings:
            return name, "on this page its values are those of"
    inside = [name for name in shown_layers if name and finding.layer.startswith(f"{name}.")]
    if inside:
        return max(inside, key=len), "on this page it is inside"
    return "", "not on this page"


def _quoted(text: str) -> str:
    import shlex

    return shlex.quote(shown(text))


def _bytes(count: int) -> str:
    unit = "MB" if count >= 100_000 else "kB" if count >= 1000 else "B"
    return f"{units.in_unit(count, unit) if unit != 'B' else count} {unit}"
