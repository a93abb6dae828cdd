"""How far a long run is: a bar, the rate and the time left."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from rich.progress import BarColumn, MofNCompleteColumn, Progress, Task, TaskID, TextColumn, TimeRemainingColumn
from rich.text import Text

from ..tables.table import console


class _Rate(TextColumn):
    def __init__(self, counted: str) -> None:
        super().__init__("")
        self._counted = counted

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:.3g} {self._counted}/s", style="dim")


@contextmanager
def progress_bar(counted: str = "images") -> Iterator[Callable[..., None]]:
    """A bar on stderr, gone when done, where that is a terminal and there is something to wait for.

    What it yields is told how many of how many are done, for the first time before the first of them is, and how many
    of those failed.
    """
    columns = (
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        _Rate(counted),
        TimeRemainingColumn(),
        TextColumn("[yellow]{task.fields[failed]}"),
    )
    out = console(stderr=True)
    with ExitStack() as shown:
        bars: list[tuple[Progress, TaskID]] = []

        def advanced(done: int, total: int, failed: int = 0) -> None:
            if total < 2 or not out.is_terminal:
                return
            if not bars:
                bar = shown.enter_context(Progress(*columns, console=out, transient=True))
                bars.append((bar, bar.add_task("", total=total, completed=done, failed="")))
            bar, task = bars[0]
            bar.update(task, completed=done, failed=f"{failed} not read" if failed else "")

        yield advanced
