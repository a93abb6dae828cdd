"""The files of `fmap show`: one a layer, under names made of image, model and layer."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from ..drawing.files import FreeNames
from ..files import make_directory, write_file
from ..session.ahead import without_team
from .raw import write_raw
from .records import Drawing, FeatureMap, Look

_MOST_WAITING = 2
"""How many figures may wait to be drawn: enough for a layer that is drawn longer than the network runs."""


@dataclass(frozen=True, slots=True)
class FigureFiles:
    """Writes the figures of looks, or the bare tiles (`raw`), into one `file`, or into a directory.

    A thread draws and writes them, so that the network can run on the next image meanwhile: within a `with`, at whose
    end all are written. What cannot be written raises OutputError when the next ones are asked for, or at the end.
    `say` is told what is not drawn as one might expect.
    """

    drawing: Drawing
    file: Path | None
    directory: Path | None
    raw: bool
    say: Callable[[str], None]
    _names: FreeNames = field(init=False)
    _pool: ThreadPoolExecutor = field(init=False)
    _waiting: deque[Future[object]] = field(init=False, default_factory=deque)

    def __post_init__(self) -> None:
        if self.directory is not None:
            make_directory(self.directory)
        object.__setattr__(self, "_names", FreeNames(self.directory or Path()))
        pool = ThreadPoolExecutor(1, thread_name_prefix="fmap-draw", initializer=without_team)
        object.__setattr__(self, "_pool", pool)

    def __enter__(self) -> FigureFiles:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._wait_until_at_most(0)
        finally:
            self._pool.shutdown(cancel_futures=True)

    def write(self, look: Look) -> list[str | None]:
        """The file of each layer, in order; None for an output without values, of which there is no picture."""
        return [self._write(look, each) for each in look.maps]

    def _write(self, look: Look, feature_map: FeatureMap) -> str | None:
        name = feature_map.layer.name
        if not feature_map.maps.size:
            self.say(f"{name} has an empty output here, {list(feature_map.shape)}: no figure.")
            return None
        if self.drawing.overlay and not feature_map.is_map:
            called = look.origin.called
            what = "height and width to lay over the photo"
            self.say(
                f"{name} has no {what}."
                if called.is_picture
                else f"{name} has no {what}: the input is a {called.noun}."
            )
        if feature_map.is_map and len(feature_map.pictures) > 1 and (self.drawing.overlay or look.units):
            pictures = " and ".join(each.shown_name for each in look.seen_by(feature_map))
            what = "laid over neither of them" if self.drawing.overlay else "boxed on neither of them"
            self.say(f"{name} is made of {pictures}: {what}.")
        path = self.file or self._names.path(look.image.stem, look.origin.model, f"{name}-raw" if self.raw else name)
        self._wait_until_at_most(_MOST_WAITING)
        self._waiting.append(self._pool.submit(self._draw, look, feature_map, path))
        return str(path)

    def _draw(self, look: Look, feature_map: FeatureMap, path: Path) -> None:
        if self.raw:
            write_file(path, lambda file: write_raw(feature_map, self.drawing, file, path.suffix.lower()))
        else:
            look.figure(feature_map.layer.name, self.drawing).save(path)

    def _wait_until_at_most(self, waiting: int) -> None:
        while len(self._waiting) > waiting:
            self._waiting.popleft().result()
