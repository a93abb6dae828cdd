"""`fmap rf`: what the units of a layer see of the image."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..models.records import ModelRequest
from ..network.shapes import split_layout
from .options import (
    FIGURE_SUFFIXES,
    FileType,
    PlaceType,
    csv_option,
    json_option,
    layer_options,
    layout_option,
    model_options,
    print_csv,
    print_document,
    remark,
)

if TYPE_CHECKING:
    from ..drawing.scene import Scene
    from ..session.opening import Session

_NOISE = 16


@click.command("rf")
@click.argument("images", nargs=-1, metavar="[IMAGE]...")
@layer_options
@click.option(
    "--at",
    "place",
    type=PlaceType(),
    metavar="Y,X|max",
    help="Draw what one unit sees: its row and column (of a clip: frame,row,column), or max for the strongest.",
)
@click.option(
    "--channel", type=click.IntRange(min=0), metavar="C", help="The unit's channel.  [default: the strongest]"
)
@click.option(
    "--effective",
    is_flag=True,
    help="Measure how much each pixel really moves a unit (by default the one in the middle).",
)
@click.option(
    "--noise",
    type=click.IntRange(min=1),
    metavar="N",
    help=f"With --effective: average over N inputs of Gaussian noise.  [default: {_NOISE} where no image is given]",
)
@click.option("--groups", is_flag=True, help="List every group of channels that see differently.")
@click.option(
    "--out",
    "-o",
    type=FileType(FIGURE_SUFFIXES),
    metavar="FILE",
    help="Write a figure: of the unit with --at or --effective, else how fields grow through depth.",
)
@layout_option
@model_options
@json_option
@csv_option
def command(
    images: tuple[str, ...], patterns: tuple[str, ...], kinds: tuple[str, ...], request: ModelRequest, **options: Any
) -> None:
    """Say which pixels of the input make a layer's values: the receptive field.

    Without --at, a row a layer: the field's size in pixels, its stride (how far from one unit to the next), padding
    (how far the first unit's field reaches over the border) and share of the input. No weights are needed.

    With --at, one unit: its exact box drawn on the photo, its value and its channel's map. With --effective, how much
    each pixel in the box counts.

    \b
      fmap rf --layer 'features.?'
      fmap rf --model resnet18 -o growth.png
      fmap rf sample_images/chelsea.png --layer features.4 --at max
      fmap rf sample_images/chelsea.png --layer features.4 --effective
    """
    _check(images, patterns, kinds, options)
    from ..receptive.survey import receptive_fields
    from ..session.opening import open_architecture, open_session, read_image

    if options["place"] is not None or options["effective"]:
        session = open_session(request, remark)
        if options["effective"]:
            _show_effective(session, images, patterns, options, request.seed)
        else:
            _show_unit(session, images, patterns, options)
        return
    session = open_architecture(request, remark)
    of_arrays, of_outputs = split_layout(options["layout"])
    image = read_image(session, images[0], remark, of_arrays) if images else None
    listing = receptive_fields(session, patterns, kinds=kinds, image=image, layout=of_outputs)
    if options["out"] is not None:
        from ..receptive.figure import growth_figure

        _write(growth_figure(listing), options["out"])
    if options["as_json"]:
        from ..receptive.document import fields_document

        print_document(fields_document(listing, options["out"]))
    elif options["as_csv"]:
        from ..receptive.document import fields_csv

        print_csv(fields_csv(listing))
    else:
        from ..receptive.table import print_fields

        print_fields(listing, groups=options["groups"], file=options["out"])


def _check(images: tuple[str, ...], patterns: tuple[str, ...], kinds: tuple[str, ...], options: dict[str, Any]) -> None:
    """What can be refused before torch is imported."""
    one_unit = options["place"] is not None or options["effective"]
    if options["as_json"] and options["as_csv"]:
        raise click.UsageError("--json and --csv exclude each other.")
    if one_unit and options["as_csv"]:
        raise click.UsageError("--csv lists layers; of one unit there is --json.")
    if one_unit and not patterns:
        raise click.UsageError("--at and --effective are about one layer: name it with --layer.")
    if one_unit and (kinds or options["groups"]):
        raise click.UsageError("--kind and --groups are about the table; --at and --effective take one layer's name.")
    if options["channel"] is not None and not one_unit:
        raise click.UsageError("--channel goes with --at or --effective.")
    if options["noise"] and not options["effective"]:
        raise click.UsageError("--noise goes with --effective.")
    if options["noise"] and images:
        raise click.UsageError("--noise takes the place of images: give one or the other.")
    if options["effective"] and options["place"] == "max":
        raise click.UsageError("--effective is of a unit at a place: give --at Y,X, or leave it out for the middle.")
    if len(images) > 1 and not options["effective"]:
        raise click.UsageError(f"there are {len(images)} images: give one; only --effective averages over several.")


def _show_unit(session: Session, images: tuple[str, ...], patterns: tuple[str, ...], options: dict[str, Any]) -> None:
    from ..receptive.unit import unit_view
    from ..receptive.unit_figure import unit_figure
    from ..session.opening import read_image

    of_arrays, of_outputs = split_layout(options["layout"])
    image = read_image(session, images[0] if images else None, remark, of_arrays)
    view = unit_view(session, image, patterns, options["place"], options["channel"], layout=of_outputs)
    path = options["out"] or _path(image.stem, session, view.row.layer.name, "unit")
    _write(unit_figure(view), path)
    if options["as_json"]:
        from ..receptive.document import unit_document

        print_document(unit_document(view, path))
    else:
        from ..receptive.table import print_unit

        print_unit(view, path)


def _show_effective(
    session: Session, images: tuple[str, ...], patterns: tuple[str, ...], options: dict[str, Any], seed: int
) -> None:
    from ..receptive.effective_figure import effective_figure
    from ..receptive.unit import effective_field
    from ..session.opening import groups, read_image
    from ..tables.table import console
    from .progress import progress_bar

    sources = groups(session, images)
    noise = options["noise"] or (0 if images else _NOISE)
    of_arrays, of_outputs = split_layout(options["layout"])
    inputs = [read_image(session, each, (lambda _: None) if noise else remark, of_arrays) for each in sources]
    count = noise or len(inputs)
    out = console(stderr=True)
    with progress_bar(out, count) if out.is_terminal and count > 1 else nullcontext(_not_shown) as advance:
        found = effective_field(
            session,
            inputs,
            patterns,
            noise=noise,
            seed=seed,
            place=options["place"],
            channel=options["channel"],
            layout=of_outputs,
            say=lambda done: advance(done, 0),
        )
    stem = "noise" if noise else inputs[0].stem
    path = options["out"] or _path(stem, session, found.row.layer.name, "effective")
    _write(effective_figure(found), path)
    if options["as_json"]:
        from ..receptive.document import effective_document

        print_document(effective_document(found, path))
    else:
        from ..receptive.table import print_effective

        print_effective(found, path)


def _not_shown(done: int, failed: int) -> None:
    """For runs whose progress nobody watches."""


def _path(stem: str, session: Session, layer: str, what: str) -> Path:
    from ..drawing.files import figure_name

    return Path(figure_name(stem, session.model.name, f"{layer}-{what}"))


def _write(scene: Scene, path: Path) -> None:
    from ..drawing.files import write_scene
    from ..files import write_file

    write_file(path, lambda file: write_scene(scene, file, path.suffix.lower()))
