"""Several runs as one, and what two records of a layer are together."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import replace

from ..errors import FmapError
from ..running.alike import ALIKE, check_origins, joined_origin
from .channels import FIELDS, merge, whole
from .records import ClassRun, LayerRecord, Progress, Run


def join_layers(first: LayerRecord, second: LayerRecord) -> LayerRecord:
    """One layer's record over the images of both; its shape, axes and dtype are the first's.

    Channels of which there are another number in each record cannot be told apart: they are taken as one.
    """
    one, other = first.channels, second.channels
    if len(one.mean) != len(other.mean):
        one, other = whole(one), whole(other)
    channels = merge(one, other)
    if not (first.images and second.images):  # one has seen nothing and knows nothing of shapes
        known = first if first.images else second
        return replace(known, channels=channels)
    return replace(
        first,
        images=first.images + second.images,
        channels=channels,
        same_as=first.same_as if first.same_as == second.same_as else None,
        varies=first.varies or second.varies or first.shape != second.shape,
    )


def merge_runs(runs: Sequence[tuple[str, Run]], *, disjoint: bool = False) -> Run:
    """All runs, each with a name for messages, as one: the record of one run over all their images.

    Layers stand in the first run's order, and what there can be only one of (the weights' name, a layer's shape) is
    the first's. One run alone is returned as it is. Raises FmapError for runs that are unlike, and for images that
    would be counted twice: a run that is given again, or another state of an unfinished one. That is not asked where
    the caller knows the images to be `disjoint`.
    """
    whole = runs[0][1]
    if len(runs) == 1:
        return whole
    if not disjoint:
        _check_counted_once(runs)
    # "Alike" is not transitive where a digest or all layers are absent: the first run that has them is held against
    # those that follow, too.
    held = [runs[0]]
    for each in runs[1:]:
        for other in held:
            check_mergeable(other, each)
        news = each[1].origin.digest and not any(run.origin.digest for _, run in held)
        if news or (each[1].layers and not any(run.layers for _, run in held)):
            held.append(each)
    for name, run in runs[1:]:
        whole = _merged(whole, run, name)
    return whole


def notes(name: str, run: Run) -> tuple[str, ...]:
    """What a person should know before relying on this run.

    >>> from fmap_cli.models.records import Weights
    >>> from fmap_cli.running.records import Progress, RunOrigin
    >>> origin = RunOrigin("resnet18", Weights("unknown", "IMAGENET1K_V1"))
    >>> notes("a.fmap", Run(origin, ("photos",), 319, (), progress=Progress(320, 500, "")))
    ('a.fmap is of an unfinished run: 320 of 500 images.',)
    """
    how_far = run.progress
    if how_far is None or how_far.done >= how_far.total:
        return ()
    process = f" of process {how_far.rank + 1} of {how_far.ranks}" if how_far.ranks > 1 else ""
    return (f"{name} is of an unfinished run: {how_far.done} of {how_far.total} images{process}.",)


def check_mergeable(a: tuple[str, Run], b: tuple[str, Run]) -> None:
    """Raise FmapError where the two runs' networks, inputs or layers differ, with both values of the first that does.

    Weights are alike where their digests are; where either is absent, where their names are. A run that has seen
    nothing (no image, no layer) has no layers to compare.
    """
    (first, one), (second, other) = a, b
    check_origins(first, one.origin, second, other.origin)
    if not all(run.images or run.layers for run in (one, other)):
        return
    ours, theirs = _by_name(one.layers), _by_name(other.layers)
    for has, present, lacks, absent in ((first, ours, second, theirs), (second, theirs, first, ours)):
        missing = next((layer for layer in present if layer not in absent), None)
        if missing is not None:
            raise FmapError(
                f"{first} and {second} are of different layers: {missing[0]} is in {has} "
                f"({_counted(len(present), 'layer')}) and not in {lacks} ({_counted(len(absent), 'layer')}).",
                hint=ALIKE,
            )
    for key, record in ours.items():
        _check_channels(first, record, second, theirs[key])


def _check_channels(first: str, one: LayerRecord, second: str, other: LayerRecord) -> None:
    """Refuse what only another network has; how long an axis of unknown meaning is, may go by the image."""
    ours, theirs = len(one.channels.mean), len(other.channels.mean)
    if ours != theirs and "C" in (*one.axes.names, *other.axes.names):
        raise FmapError(
            f"{one.layer.name} has {_counted(ours, 'channel')} in {first} and {theirs} in {second}.", hint=ALIKE
        )


def _check_counted_once(runs: Sequence[tuple[str, Run]]) -> None:
    contents: dict[str, str] = {}
    lists: dict[tuple[str, int, int], tuple[str, Progress]] = {}
    for name, run in runs:
        if not run.images:
            continue
        # The moments of other images are other numbers, unless a layer puts out the same whatever it is given.
        if any((record.channels.m2 > 0).any() for record in run.layers):
            content = _content(run)
            if content in contents:
                raise FmapError(
                    f"{contents[content]} and {name} are the same run: its images would count twice.",
                    hint="Give each run once.",
                )
            contents[content] = name
        how_far = run.progress
        if how_far is not None:
            key = (how_far.digest, how_far.rank, how_far.ranks)
            if key in lists:
                other, before = lists[key]
                raise FmapError(
                    f"{other} and {name} are of one run, after {before.done} and {how_far.done} of {how_far.total} "
                    "images: those in both would count twice.",
                    hint="Give the later one alone.",
                )
            lists[key] = (name, how_far)


def _content(run: Run) -> str:
    """A digest of what a run has counted."""
    digest = hashlib.sha256(
        repr((run.origin.identity, run.sources, run.images, run.failures, run.progress)).encode("utf-8")
    )
    for record in run.layers:
        digest.update(repr((record.layer.name, record.images, record.channels.count)).encode("utf-8"))
        for name in FIELDS:
            digest.update(getattr(record.channels, name).tobytes())
    return digest.hexdigest()


def _merged(whole: Run, run: Run, name: str) -> Run:
    classes = {each.name: each for each in whole.classes}
    for each in run.classes:
        before = classes.get(each.name, ClassRun(each.name, 0, ()))
        layers = _merged_layers(before.layers, each.layers, name)
        classes[each.name] = ClassRun(each.name, before.images + each.images, layers)
    return Run(
        origin=joined_origin(whole.origin, run.origin),
        sources=whole.sources + run.sources,
        images=whole.images + run.images,
        layers=_merged_layers(whole.layers, run.layers, name),
        failures=whole.failures + run.failures,
        classes=tuple(classes.values()),
    )


def _merged_layers(
    first: tuple[LayerRecord, ...], second: tuple[LayerRecord, ...], name: str
) -> tuple[LayerRecord, ...]:
    """The layers of both; one that only one has (a class in which it did not run) stands after the others."""
    layers = _by_name(first)
    for key, record in _by_name(second).items():
        if key in layers:
            _check_channels("the runs before it", layers[key], name, record)
            layers[key] = join_layers(layers[key], record)
        else:
            layers[key] = record
    return tuple(layers.values())


def _by_name(layers: Iterable[LayerRecord]) -> dict[tuple[str, int], LayerRecord]:
    """Layers by their name, and by which of that name where a file has one twice."""
    seen: dict[str, int] = {}
    named = {}
    for record in layers:
        at = seen[record.layer.name] = seen.get(record.layer.name, -1) + 1
        named[record.layer.name, at] = record
    return named


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
