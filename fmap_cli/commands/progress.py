"""How far a long run is: a bar, the rate and the time left."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.progress import BarColumn, MofNCompleteColumn, Progress, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

if TYPE_CHECKING:
    from rich.console import Console


class _Rate(TextColumn):
    def __init__(self) -> None:
        super().__init__("")

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:.3g} images/s", style="dim")


@contextmanager
def progress_bar(out: Console, total: int, start: int = 0) -> Iterator[Callable[[int, int], None]]:
    """A bar of `total` images, gone when done; what it yields is told how many are done and how many of them failed."""
    columns = (
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        _Rate(),
        TimeRemainingColumn(),
        TextColumn("[yellow]{task.fields[failed]}"),
    )
    with Progress(*columns, console=out, transient=True) as bar:
        task = bar.add_task("", total=total, completed=start, failed="")

        def advanced(done: int, failed: int) -> None:
            bar.update(task, completed=done, failed=f"{failed} not read" if failed else "")

        yield advanced
