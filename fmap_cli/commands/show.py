"""`fmap show`: one labelled figure a layer."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import FmapError, ImageError, ModelError
from ..maps.records import Choice, Drawing
from ..models.records import ModelRequest
from ..network.shapes import split_layout
from .options import (
    FIGURE_SUFFIXES,
    ChannelsType,
    ColourMapType,
    FileType,
    FiniteRange,
    json_option,
    layout_option,
    model_options,
    print_document,
    remark,
    report,
)

if TYPE_CHECKING:
    from ..maps.records import FeatureMap, Look
    from ..receptive.records import FieldRow
    from ..session.opening import Session

RAW_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
ARRAY_SUFFIXES = (".npz", ".safetensors", ".pt")


@click.command("show")
@click.argument("images", nargs=-1, metavar="[IMAGE]...")
@click.option(
    "--layer",
    "-l",
    "layers",
    multiple=True,
    metavar="PATTERN",
    help="A layer's name, a glob ('layer?.0.conv1'), conv3 (the third convolution), first or last. Repeatable."
    "  [default: conv1]",
)
@model_options
@click.option("--channels", type=ChannelsType(), metavar="LIST", help="Draw these channels, e.g. 0-15,31.")
@click.option("--top", type=click.IntRange(min=1), metavar="N", help="Draw the N channels with the largest --by.")
@click.option(
    "--by",
    type=click.Choice(["std", "mean", "max", "l2"]),
    default="std",
    show_default=True,
    help="What channels are ranked by where not all are drawn.",
)
@click.option("--all", "every", is_flag=True, help="Draw every channel, in order.  [default: up to 64]")
@click.option(
    "--scale",
    type=click.Choice(["channel", "layer"]),
    default="channel",
    show_default=True,
    help="Whose lowest and highest value the colours span.",
)
@click.option(
    "--clip",
    type=FiniteRange(0, 50, max_open=True),
    default=0.0,
    metavar="PCT",
    help="Leave this percentage of values at either end out of the scale.",
)
@click.option(
    "--cmap",
    type=ColourMapType(),
    metavar="NAME",
    help="Matplotlib colour map.  [default: viridis; RdBu_r around zero for a shared scale with negative values]",
)
@click.option("--overlay", is_flag=True, help="Lay each map over the photo.")
@click.option("--raw", is_flag=True, help="Write the bare tiles, one pixel a unit, without any text.")
@click.option("--tile", type=click.IntRange(1, 2048), metavar="PX", help="Height of a tile in pixels.")
@click.option(
    "--out",
    "-o",
    type=FileType(FIGURE_SUFFIXES),
    metavar="FILE",
    help="Write the figure here: .png, .jpg, .webp, .pdf or .svg.",
)
@click.option(
    "--out-dir",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Write figures here, under names made of image, model and layer.  [default: the current directory]",
)
@click.option(
    "--save",
    type=FileType(ARRAY_SUFFIXES),
    metavar="FILE",
    help="Also write the layers' whole outputs: .npz, .safetensors or .pt.",
)
@layout_option
@click.option(
    "--score",
    type=FiniteRange(0, 1),
    default=0.5,
    show_default=True,
    help="Least score of the boxes a detector's figures show.",
)
@click.option(
    "--rf", "with_fields", is_flag=True, help="Mark each tile's strongest unit, and box on the photo what it sees."
)
@click.option("--inline", is_flag=True, help="Also draw the figure in the terminal.")
@json_option
def command(
    images: tuple[str, ...], layers: tuple[str, ...], request: ModelRequest, as_json: bool, **options: Any
) -> int:
    """Draw what chosen layers see in an image.

    There is one figure for each image and layer: the picture the network saw, a tile for each channel with its
    index and range of values, and what the colours mean. The terminal gets the layers' numbers and the model's
    top answers. An IMAGE is a picture, an .npy array, or - for standard input; without one, a bundled photo is
    shown.

    \b
      fmap show sample_images/coffee.png --layer conv1
    """
    _check(options)
    choice = Choice(options["channels"], options["top"], options["by"], options["every"])
    drawing = Drawing(options["scale"], options["clip"], options["cmap"], options["tile"], options["overlay"])

    from ..maps.look import look
    from ..session.opening import groups, open_session, read_image

    of_arrays, of_outputs = split_layout(options["layout"])
    session = open_session(request, remark)
    sources = groups(session, images)
    if options["out"] is not None and len(sources) > 1:
        raise click.UsageError(f"--out names one file, and there are {len(sources)} images: use --out-dir.")
    output = _Output(session, drawing, options, several=len(sources) > 1)
    failures: list[FmapError] = []
    for source in sources:
        try:
            image = read_image(session, source, remark, of_arrays)
        except ImageError as error:
            failures.append(error.bare())
            if len(sources) > 1:
                report(error)
            continue
        output.add(
            look(
                session,
                image,
                layers,
                choice,
                keep_arrays=options["save"] is not None,
                least_score=options["score"],
                layout=of_outputs,
            )
        )
    if len(failures) == len(sources) == 1:
        raise failures[0]
    output.finish(as_json, inline=options["inline"])
    return 1 if failures else 0


def _check(options: dict[str, Any]) -> None:
    """What can be refused before torch is imported."""
    if options["out"] is not None and options["out_dir"] is not None:
        raise click.UsageError("--out names one file and --out-dir a directory: give one of them.")
    if options["raw"] and options["out"] is not None and options["out"].suffix.lower() not in RAW_SUFFIXES:
        raise click.UsageError(f"--raw writes pixels: --out has to end in {', '.join(RAW_SUFFIXES)}.")
    if sum([options["channels"] is not None, options["top"] is not None, options["every"]]) > 1:
        raise click.UsageError("--channels, --top and --all exclude one another.")
    if options["raw"] and options["with_fields"]:
        raise click.UsageError("--raw writes bare tiles, --rf draws on the photo beside them: give one of them.")
    if options["raw"] and options["overlay"]:
        raise click.UsageError("--raw writes bare tiles, --overlay puts them over the photo: give one of them.")


class _Output:
    """Writes the figures as the looks come in, then prints them all."""

    def __init__(self, session: Session, drawing: Drawing, options: dict[str, Any], several: bool) -> None:
        from ..files import make_directory
        from ..inputs.feeds import feed_of

        self.session = session
        self.drawing = drawing
        self.out: Path | None = options["out"]
        self.directory: Path = options["out_dir"] or Path()
        self.save: Path | None = options["save"]
        self.raw: bool = options["raw"]
        self.with_fields: bool = options["with_fields"]
        if self.with_fields and session.model.input_kind == "images":
            raise ModelError(
                f"{session.model.name} is a detector: its figures show a resized picture, --rf boxes the given one.",
                hint="`fmap rf IMAGE --layer L --at max` draws the box of a detector's unit.",
            )
        if self.with_fields and feed_of(session.model).axes[-2:] != ("H", "W"):
            raise ModelError(f"--rf boxes what units see on the picture, and {session.model.name} takes none.")
        self.fields: dict[tuple[int, ...], dict[str, FieldRow]] = {}
        self.several = several
        self.looks: list[tuple[Look, list[str | None]]] = []
        self.names: set[Path] = set()
        if options["out_dir"] is not None:
            make_directory(self.directory)

    def add(self, look: Look) -> None:
        """Write this look's figures."""
        if self.out is not None and len(look.maps) > 1:
            raise click.UsageError(f"--out names one file, and {len(look.maps)} layers match: use --out-dir.")
        self.looks.append((look, [self._write(look, feature_map) for feature_map in look.maps]))

    def _write(self, look: Look, feature_map: FeatureMap) -> str | None:
        """The file written; None for an output without values, of which there is no picture."""
        from ..drawing.files import write_scene
        from ..files import write_file
        from ..maps.raw import write_raw

        if not feature_map.maps.size:
            remark(f"{feature_map.layer.name} puts out nothing here, {list(feature_map.shape)}: no figure.")
            return None
        if self.drawing.overlay and not feature_map.is_map:
            remark(f"{feature_map.layer.name} has no height and width to lay over the photo.")
        path = self.out or self._free_name(look, feature_map)
        suffix = path.suffix.lower()
        if self.raw:
            write_file(path, lambda file: write_raw(feature_map, self.drawing, file, suffix))
        else:
            write_file(path, lambda file: write_scene(self._figure(look, feature_map), file, suffix))
        return str(path)

    def _figure(self, look: Look, feature_map: FeatureMap) -> Any:
        from ..maps.figure import layer_figure

        units = self._strongest_units(look, feature_map) if self.with_fields and feature_map.is_map else ()
        return layer_figure(look, feature_map, self.drawing, units=units)

    def _strongest_units(self, look: Look, feature_map: FeatureMap) -> Any:
        """Each tile's strongest unit with what it sees, of an input as large as this one."""
        from ..receptive.survey import receptive_fields
        from ..receptive.unit import strongest_units

        size = tuple(look.image.tensor.shape)
        if size not in self.fields:
            rows = receptive_fields(self.session, image=look.image).layers
            self.fields[size] = {row.layer.name: row for row in rows}
        return strongest_units(feature_map.maps, feature_map.drawn, self.fields[size][feature_map.layer.name])

    def _free_name(self, look: Look, feature_map: FeatureMap) -> Path:
        """A name that this run has not used: two images may share a stem."""
        from ..drawing.files import figure_name

        stem, model = look.image.stem, self.session.model.name
        path = self.directory / figure_name(stem, model, feature_map.layer.name)
        number = 2
        while path in self.names:
            path = self.directory / figure_name(stem, model, feature_map.layer.name, number)
            number += 1
        self.names.add(path)
        return path

    def finish(self, as_json: bool, *, inline: bool) -> None:
        """Save the arrays asked for, then print every look as a table or as JSON; nothing where none succeeded."""
        if not self.looks:
            return
        from ..maps.document import save_looks, show_document

        looks = [look for look, _ in self.looks]
        if self.save is not None:
            save_looks(self.save, looks)
        if inline:
            self._draw_inline(as_json)
        if as_json:
            files = [files for _, files in self.looks]
            print_document(show_document(looks, files, several=self.several))
            return
        from ..maps.table import print_looks

        written = [(look, [file for file in files if file is not None]) for look, files in self.looks]
        print_looks(written, str(self.save) if self.save else None)

    def _draw_inline(self, as_json: bool) -> None:
        from ..maps.inline import print_inline
        from ..tables.table import console

        out = console(stderr=as_json)
        for look, _ in self.looks:
            for each in look.maps:
                if each.maps.size:
                    print_inline(out, partial(self._pixels, look, each), each, look.image, self.drawing)

    def _pixels(self, look: Look, feature_map: FeatureMap) -> Any:
        from ..drawing.raster import rasterise

        return rasterise(self._figure(look, feature_map))
