"""The notebook in docs/ runs from its first cell to its last, and shows pictures and tables."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parent.parent


def test_the_notebooks_cells_run_and_show_pictures_and_tables(
    estimates_here: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One after another in this process, as a kernel would run them: what a cell ends with is shown."""
    monkeypatch.chdir(ROOT / "docs")
    names: dict[str, Any] = {}
    shown = []
    for cell in nbformat.read("notebook.ipynb", as_version=4).cells:
        if cell.cell_type != "code":
            continue
        code = ast.parse(cell.source)
        last = code.body.pop() if isinstance(code.body[-1], ast.Expr) else None
        exec(compile(code, "notebook.ipynb", "exec"), names)
        if last is not None:
            value = eval(compile(ast.Expression(last.value), "notebook.ipynb", "eval"), names)
            ways = {"image/png": "_repr_png_", "text/html": "_repr_html_"}
            shown += [kind for kind, way in ways.items() if (show := getattr(value, way, None)) and show() is not None]
    check(shown)


@pytest.mark.slow
def test_the_notebook_runs_in_a_fresh_kernel() -> None:
    notebook = nbformat.read(ROOT / "docs" / "notebook.ipynb", as_version=4)
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(ROOT / "docs")}}).execute()
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    check([kind for cell in cells for output in cell.outputs for kind in output.get("data", {})])


def check(shown: list[str]) -> None:
    assert shown.count("image/png") >= 4
    assert shown.count("text/html") >= 3
