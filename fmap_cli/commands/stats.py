"""`fmap stats`: what every layer's numbers say, over one image or a million."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import FmapError
from ..models.records import ModelRequest
from ..network.shapes import split_layout
from ..statistics.columns import SORTS
from ..statistics.records import Finding, LayerRecord, Run
from .options import (
    FIGURE_SUFFIXES,
    FileType,
    FiniteRange,
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
    from collections.abc import Callable

    from ..statistics.distributed import Team

_TOP = 50
_NAMED = 10
_OF_A_PASS = {
    *ModelRequest.__dataclass_fields__,
    *("batch", "checkpoint_every", "layout", "limit", "resume", "shuffle", "workers"),
}
FOUND = 3
"""The exit code of `--check` where there is a finding at or above `--fail-on`."""


@click.command("stats")
@click.argument("images", nargs=-1, metavar="[IMAGE|DIR|RUN.fmap...]")
@layer_options
@click.option("--per-channel", is_flag=True, help="A row a channel instead of a row a layer.")
@click.option("--sort", type=click.Choice(SORTS), help="Sort the channels by this.  [default: layer]")
@click.option("--reverse", is_flag=True, help="Sort the other way round: numbers from the smallest on.")
@click.option(
    "--top",
    type=click.IntRange(min=1),
    metavar="N",
    help=f"Show so many channels.  [default: {_TOP}]",
)
@click.option("--by-class", is_flag=True, help="A row a class: classes are the folders in DIR.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Stop after so many images.")
@click.option("--shuffle", is_flag=True, help="Take the images in an order drawn with --seed.")
@click.option("--batch", type=click.IntRange(min=1), default=8, show_default=True, metavar="N", help="Images at once.")
@click.option(
    "--workers",
    type=click.IntRange(min=0),
    metavar="N",
    help="Processes that read images.  [default: one a core, at most 8; 0 for few images]",
)
@click.option("--save", type=FileType((".fmap",)), metavar="RUN.fmap", help="Keep the numbers, to show or merge later.")
@click.option("--load", is_flag=True, help="The arguments are saved runs: show them, several as one.")
@click.option("--resume", is_flag=True, help="Go on where the same command was stopped or killed.")
@click.option(
    "--checkpoint-every",
    type=FiniteRange(0),
    default=60.0,
    show_default=True,
    metavar="SECONDS",
    help="How often a run notes down how far it is.",
)
@click.option("--check", is_flag=True, help=f"Exit with {FOUND} where there is a finding as grave as --fail-on.")
@click.option(
    "--fail-on",
    type=click.Choice(["warning", "error"]),
    default="warning",
    show_default=True,
    help="The least grave finding that --check fails on.",
)
@click.option(
    "--threshold",
    "thresholds",
    multiple=True,
    metavar="NAME=VALUE",
    help="Set a threshold of the findings; docs/health.md names them. Repeatable.",
)
@click.option(
    "--out",
    "-o",
    type=FileType(FIGURE_SUFFIXES),
    metavar="FILE",
    help="Draw the distributions through depth: .png, .jpg, .webp, .pdf or .svg.",
)
@model_options
@layout_option
@json_option
@csv_option
def command(images: tuple[str, ...], request: ModelRequest, as_json: bool, as_csv: bool, **options: Any) -> int:
    """Say what every layer's numbers are, and what is wrong with them.

    Mean, standard deviation, extremes, zeros and distribution of each layer's output, over one image, a folder or
    saved runs; then findings in words: dead channels, saturation, NaN, what float16 would lose. Without an image, the
    bundled sample. An IMAGE may be a pattern, an .npy array, or - for standard input.

    \b
      fmap stats
      fmap stats sample_images --kind conv -o depth.png
      fmap stats sample_images --save run.fmap
      torchrun --nproc-per-node 2 -m fmap_cli stats sample_images
    """
    _refuse_contradictions(images, as_json, as_csv, options)
    from ..files import check_folder
    from ..health import Thresholds, findings, reaches

    thresholds = Thresholds.with_changes(options["thresholds"])
    for path in (options["out"], options["save"]):
        if path is not None:
            check_folder(path)
    exit_code, forget = 0, None
    if options["load"]:
        run = _loaded(images)
    else:
        gathered, exit_code, forget = _gathered(images, request, options)
        if gathered is None:  # another process of the team speaks for all
            return exit_code
        run = gathered
    shown = _shown(run, options)
    found = findings(run.layers, run.images, thresholds)
    try:
        files, failure = _write(run, found, shown, options, save=exit_code == 0), None
    except FmapError as error:  # what took hours to count is shown all the same
        files, failure = [], error
    _print(run, found, shown, files, as_json, as_csv, options)
    if failure is not None:
        raise failure
    if forget is not None:
        forget()
    if exit_code == 0 and options["check"] and reaches(found, options["fail_on"]):
        return FOUND
    return exit_code


def _refuse_contradictions(images: Sequence[str], as_json: bool, as_csv: bool, options: dict[str, Any]) -> None:
    if as_json and as_csv:
        raise click.UsageError("--json and --csv exclude each other.")
    if options["per_channel"] and options["by_class"]:
        raise click.UsageError("--per-channel and --by-class exclude each other.")
    for name in ("sort", "top", "reverse"):
        if options[name] and not options["per_channel"]:
            raise click.UsageError(f"--{name} is about channels: give --per-channel, too.")
    if options["load"]:
        for parameter in click.get_current_context().command.params:
            given = click.get_current_context().get_parameter_source(str(parameter.name))
            if parameter.name in _OF_A_PASS and given is click.core.ParameterSource.COMMANDLINE:
                raise click.UsageError(
                    f"--load shows runs that are over: {max(parameter.opts, key=len)} says nothing about them."
                )
        if not images:
            raise click.UsageError("--load takes saved runs: fmap stats --load run.fmap.")
    elif any(image.lower().endswith(".fmap") for image in images):
        raise click.UsageError("a .fmap file is a saved run: give --load to show it.")


# -- where the numbers come from ---------------------------------------------------------------------------------


def _loaded(arguments: Sequence[str]) -> Run:
    """The saved runs as one."""
    from ..statistics.merging import merge_runs, notes
    from ..statistics.runs import load_run

    runs = [(argument, load_run(Path(argument))) for argument in arguments]
    for name, run in runs:
        for note in notes(name, run):
            remark(note)
    return merge_runs(runs)


def _gathered(
    images: Sequence[str], request: ModelRequest, options: dict[str, Any]
) -> tuple[Run | None, int, Callable[[], None] | None]:
    """The run over the images, by this process alone or by its team; the exit code if it was stopped.

    The last is what to call once the run is saved: it forgets how far the run was.
    """
    from ..interrupts import stoppable
    from ..session.opening import open_session
    from ..statistics.distributed import any_of, device_of, find_team, meeting, merged
    from ..statistics.gather import Gathering, origin_of, statistics
    from ..statistics.plan import plan_run

    team = find_team()
    say = remark if team.leads else _silently
    session = open_session(replace(request, device=device_of(team, request.device)), say)
    with meeting(team):
        plan = plan_run(
            session,
            images,
            limit=options["limit"],
            shuffle_seed=request.seed if options["shuffle"] else None,
            by_class=options["by_class"],
            rank=team.rank,
            ranks=team.ranks,
        )
        _remark_on_repeats(plan.entries, say)
        plan = replace(plan, digest=_digest(plan.digest, options))
        long = len(plan.entries) > options["batch"] or team.ranks > 1
        origin = origin_of(session, digest=long or options["save"] is not None)
        notebook = _Notebook(options["save"], plan.digest, origin, team)
        if long or options["save"] is not None:
            notebook.take(options["resume"])
        earlier = notebook.read(plan.digest, origin, say) if options["resume"] else None
        of_arrays, of_outputs = split_layout(options["layout"])
        gathering = Gathering(
            session,
            patterns=options["patterns"],
            kinds=options["kinds"],
            histogram="channel" if options["per_channel"] else "layer",
            earlier=earlier,
            layout=of_outputs,
        )
        start = earlier.progress.done if earlier is not None and earlier.progress is not None else 0
        with gathering, stoppable() as wish, _progress(len(plan.entries), start, team) as advanced:
            run = statistics(
                session,
                plan,
                gathering,
                origin,
                batch=options["batch"],
                say=say,
                workers=options["workers"],
                layout=of_arrays,
                earlier=earlier,
                advanced=advanced,
                stop=wish,
                checkpoint=notebook.write,
                checkpoint_seconds=options["checkpoint_every"],
            )
        unfinished = run.progress is not None and run.progress.done < run.progress.total
        if unfinished and long:
            notebook.write(run)
        stopped = any_of(team, unfinished)
        run_of_all = merged(team, run)
        if run_of_all is None:
            if not stopped:
                notebook.discard()
            return None, wish.exit_code, None
        if not run_of_all.images:
            _raise_all_failed(run_of_all)
        if stopped:
            known = f"stopped after {run_of_all.images} images"
            if notebook.mine and notebook.path.exists():
                remark(f"{known}; noted in {notebook.path}. The same command with --resume goes on.")
            else:
                remark(f"{known}.")
            return run_of_all, wish.exit_code or 1, None
        return run_of_all, 0, notebook.discard


def _silently(_sentence: str) -> None:
    pass


def _raise_all_failed(run: Run) -> None:
    if not run.failures:
        raise FmapError("there is no image among these to count.", hint="Check the arguments and --limit.")
    name, reason = run.failures[0]
    if len(run.failures) == 1:
        raise FmapError(reason)
    raise FmapError(
        f"none of the {len(run.failures)} images could be read.", hint=f"The first of them, {name}: {reason}"
    )


def _digest(digest: str, options: dict[str, Any]) -> str:
    """Of the list of images and of all that says what is counted, and in which batches."""
    names = ("patterns", "kinds", "per_channel", "by_class", "batch", "layout")
    return _hash((digest, *(options[name] for name in names)))


def _hash(what: object) -> str:
    import hashlib

    return hashlib.sha256(repr(what).encode("utf-8", "backslashreplace")).hexdigest()


def _remark_on_repeats(entries: Sequence[Any], say: Callable[[str], None]) -> None:
    paths = [entry for entry in entries if isinstance(entry, str)]
    if len(set(paths)) < len(paths):
        say(f"{len(paths) - len(set(paths))} of {len(paths)} images are named more than once, and count as often.")


class _Notebook:
    """Where a run notes down how far it is: beside the file it will be saved in, or in the user's cache."""

    def __init__(self, save: Path | None, digest: str, origin: Any, team: Team) -> None:
        self.team = team
        part = f".{team.rank + 1}-of-{team.ranks}" if team.ranks > 1 else ""
        if save is not None:
            self.path = save.with_name(f"{save.name}{part}.part")
        else:
            self.path = _cache() / f"{_hash((digest, origin.identity))[:16]}{part}.part"
        self.save = save
        self.mine = True
        self.failed = False

    def take(self, resume: bool) -> None:
        """No other fmap writes here as long as this command runs. Raises FmapError where another does.

        Two that count the same without saving it do not stand in each other's way: the first one takes the notes.
        """
        from ..files import make_directory, sole_writer

        with suppress(FmapError):
            make_directory(self.path.parent)
        other = click.get_current_context().with_resource(sole_writer(self.path))
        if other is None:
            return
        who = f"another fmap (process {other})" if other else "another fmap"
        if self.save is not None or resume:
            raise FmapError(
                f"{who} is at work on {self.save or self.path}.",
                hint="Wait until it has ended, or give this run a --save of its own.",
            )
        self.mine = False

    def read(self, digest: str, origin: Any, say: Callable[[str], None]) -> Run | None:
        """The run so far, to go on from; None where there is none. Raises FmapError where it is of something else."""
        from ..statistics.merging import check_mergeable
        from ..statistics.runs import load_run

        if not self.path.exists():
            say(f"there is no run to go on with ({self.path} is not there): starting with the first image.")
            return None
        try:
            run = load_run(self.path)
        except FmapError as error:
            raise FmapError(error.message, hint="Without --resume the run starts anew.") from None
        check_mergeable((str(self.path), run), ("this run", Run(origin, (), 0, ())))
        at = run.progress
        if at is None or (at.digest, at.rank, at.ranks) != (digest, self.team.rank, self.team.ranks):
            raise FmapError(
                f"{self.path} is of another list of images than the arguments name now, or of other options.",
                hint="The same images, layers, --batch and the like are needed. Without --resume the run starts anew.",
            )
        say(f"going on after {at.done} of {at.total} images ({self.path}).")
        return run

    def write(self, run: Run) -> None:
        """Note the run down; where that fails it is said once, and the run goes on."""
        from ..files import make_directory
        from ..statistics.runs import save_run

        if not self.mine:
            return
        try:
            make_directory(self.path.parent)
            save_run(self.path, run)
        except FmapError as error:
            if not self.failed:
                remark(f"how far the run is could not be noted down, so --resume will not find it: {error.message}")
            self.failed = True

    def discard(self) -> None:
        with suppress(OSError):
            if self.mine:
                self.path.unlink()


def _cache() -> Path:
    import os

    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fmap" / "runs"


@contextmanager
def _progress(total: int, start: int, team: Team) -> Iterator[Callable[[int, int], None]]:
    """A bar with rate and time left on stderr, where that is a terminal and there is something to wait for."""
    from ..tables.table import console

    out = console(stderr=True)
    if total < 2 or not out.is_terminal or not team.leads:
        yield lambda done, failed: None
        return
    from .progress import progress_bar

    with progress_bar(out, total, start) as advanced:
        yield advanced


# -- what is shown -----------------------------------------------------------------------------------------------


def _shown(run: Run, options: dict[str, Any]) -> list[LayerRecord]:
    """The layers to show: those asked for; else all that put out a tensor of their own."""
    if options["patterns"] and not options["load"]:
        return list(run.layers)  # no others were counted
    from ..network.selection import pick_names

    whole = [each for each in run.layers if each.same_as is None or options["patterns"]]
    names = pick_names({each.layer.name: each.layer.kind for each in whole}, options["patterns"], options["kinds"])
    return [each for each in whole if each.layer.name in names]


def _write(
    run: Run, found: Sequence[Finding], shown: Sequence[LayerRecord], options: dict[str, Any], *, save: bool
) -> list[str]:
    files = []
    if save and options["save"] is not None:
        from ..statistics.runs import save_run

        save_run(options["save"], run)
        files.append(str(options["save"]))
    if options["out"] is not None:
        from ..drawing.files import write_scene
        from ..files import write_file
        from ..statistics.figure import lay_out_depth

        out: Path = options["out"]
        scene = lay_out_depth(run, found, shown)
        write_file(out, lambda file: write_scene(scene, file, out.suffix.lower()))
        files.append(str(out))
    return files


def _print(
    run: Run,
    found: Sequence[Finding],
    shown: Sequence[LayerRecord],
    files: Sequence[str],
    as_json: bool,
    as_csv: bool,
    options: dict[str, Any],
) -> None:
    names = {each.layer.name for each in shown}
    classes = [
        replace(each, layers=tuple(record for record in each.layers if record.layer.name in names))
        for each in run.classes
    ]
    only = replace(run, layers=tuple(shown), classes=tuple(classes))
    if run.failures and (as_json or as_csv):  # the tables name them themselves
        named = ", ".join(name for name, _ in run.failures[:_NAMED])
        more = f" and {len(run.failures) - _NAMED} more" if len(run.failures) > _NAMED else ""
        remark(f"{len(run.failures)} of {run.images + len(run.failures)} images could not be read: {named}{more}.")
    if as_json:
        from ..statistics.document import stats_document

        print_document(stats_document(only, found, channels=options["per_channel"], files=files))
    elif as_csv:
        from ..statistics.document import stats_csv

        print_csv(stats_csv(only, channels=options["per_channel"]))
    elif options["per_channel"]:
        from ..statistics.table import print_channels

        sort, top = options["sort"] or "layer", options["top"] or _TOP
        print_channels(run, shown, sort=sort, reverse=options["reverse"], top=top, written=files)
    elif options["by_class"]:
        from ..statistics.table import print_classes

        print_classes(run, shown, written=files)
    else:
        from ..statistics.table import notes_on, print_run

        print_run(run, found, shown=shown, written=files, notes=notes_on(run, shown))
