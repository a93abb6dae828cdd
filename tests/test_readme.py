"""The README is true: its commands run as they stand there, and so do the examples in the help and the notebook."""

from __future__ import annotations

import ast
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import nbformat
import pytest
from nbclient import NotebookClient

from fmap_cli import cli
from fmap_cli.commands.group import COMMANDS as EVERY_COMMAND
from fmap_cli.commands.group import group

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def commands_of(text: str) -> list[str]:
    """The `fmap …` lines of fenced blocks, but for blocks that need a network.

    >>> commands_of("```sh\\nfmap a  # why\\npip install fmap\\n```\\n<!-- needs network -->\\n```sh\\nfmap b\\n```")
    ['fmap a  # why']
    """
    found = []
    for before, block in re.findall(r"(?:(<!--[^\n]*-->)\n)?^```(?:sh)?\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        if "needs network" in before:
            continue
        lines = block.replace("\\\n", " ").splitlines()
        found += [line.removeprefix("$ ") for line in lines if re.match(r"(\$ )?fmap\b", line)]
    return found


COMMANDS = commands_of(README)


def test_the_readme_has_commands_once_it_says_fmap_in_a_block() -> None:
    blocks = re.findall(r"^```[a-z]*\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
    if any(re.search(r"^fmap ", block, re.MULTILINE) for block in blocks):
        assert COMMANDS


def test_that_finds_what_it_should() -> None:
    text = "```sh\nfmap a \\\n  b\n$ fmap c\npip install .\n```\n\n<!-- needs network -->\n```\nfmap d\n```\n fmap e\n"
    assert [shlex.split(line) for line in commands_of(text)] == [["fmap", "a", "b"], ["fmap", "c"]]


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory that looks like a clone to the README's commands."""
    folder = tmp_path_factory.mktemp("clone")
    (folder / "sample_images").symlink_to(ROOT / "sample_images")
    return folder


@pytest.fixture(autouse=True)
def here(estimates_here: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """What runs in this process makes its estimates here, and opens no browser, which would outlive the test."""
    monkeypatch.setattr("click.launch", lambda file: 0 if Path(file).is_file() else pytest.fail(f"no file {file}"))


def run(line: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    """What a line prints, run in a shell where it needs one, otherwise in this process, which is quicker."""
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # nothing is downloaded
    monkeypatch.chdir(folder)
    bare = re.sub(r"'[^']*'|\s#.*", "", line)
    shell = ["bash", "-euo", "pipefail", "-c"]
    if any(sign in bare for sign in "|<>;&$"):
        done = subprocess.run([*shell, line], capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=300)
        code, out, err = done.returncode, done.stdout, done.stderr
    else:
        split = subprocess.run([*shell, f"printf '%s\\0' {line}"], capture_output=True, text=True, check=True)
        capsys.readouterr()
        code = cli.run(split.stdout.split("\0")[1:-1])
        out, err = capsys.readouterr()
    assert code == 0, err
    assert "Traceback" not in err
    return out


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_of_the_readme_runs(
    line: str, clone: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On pictures of 128 pixels, unless it names a place; under `-m slow` whole."""
    assert run(smaller(line), clone, monkeypatch, capsys)


@pytest.mark.slow
@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_of_the_readme_runs_whole(
    line: str, clone: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(line, clone, monkeypatch, capsys)


def smaller(line: str) -> str:
    """A command with pictures of 128 pixels, where it takes any size: its options and layers are there for them too."""
    words = shlex.split(line, comments=True)
    command = group.get_command(None, words[1])  # type: ignore[arg-type]
    assert command is not None
    sized = any("--size" in option.opts for option in command.params)
    fixed = {"--size", "--at", "--similar", "vit_b_16"} & set(words) and words[1] != "embed"
    bare, sign, comment = line.partition(" #")
    return f"{bare.rstrip()} --size 128 {sign}{comment}" if sized and not fixed else line


def test_what_the_first_look_promises(
    clone: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    marked = re.search(r"<!-- first-look -->\n```sh\n(.*?)\n```", README, re.DOTALL)
    if marked is None:
        pytest.skip("no first look yet")
    last = marked[1].split("&&")[-1].strip()
    out = run(re.sub(r"\S*/fmap\b", "fmap", last), clone, monkeypatch, capsys)
    promised = README[marked.end() :].split("\n\n")[1]
    for word in re.findall(r"\*(\w+)\*|`(\S+\.png)`", promised):
        assert (word[0] or word[1]) in out, word
    for name in re.findall(r"`(\S+\.png)`", promised):
        assert (clone / name).stat().st_size > 50_000


def test_pictures_and_pages_the_readme_names_are_there() -> None:
    targets = re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", README)
    for target in targets:
        if not target.startswith(("http:", "https:", "mailto:")):
            assert (ROOT / target).exists(), target


def examples() -> list[tuple[str, str]]:
    found = []
    for name in EVERY_COMMAND:
        command = group.get_command(None, name)  # type: ignore[arg-type]
        assert command is not None
        lines = [line.strip() for line in (command.help or "").splitlines()]
        found += [(name, line) for line in lines if line.startswith("fmap ")]
    return found


def test_every_command_has_an_example_in_its_help() -> None:
    assert {name for name, _ in examples()} == set(EVERY_COMMAND)


def test_examples_are_of_their_own_command() -> None:
    for name, line in examples():
        assert line.split()[1] == name


def example_params() -> list[object]:
    """The examples that are no commands of the README: of each command the first and what nothing else runs, under
    `-m slow` the others.
    """
    seen = {re.sub(r"\s+#.*", "", line) for line in COMMANDS}
    found: list[object] = []
    begun: set[str] = set()
    for name, line in dict.fromkeys(examples()):
        if line not in seen:
            found.append(
                pytest.param(line, marks=[pytest.mark.slow] if name in begun and "--rollout" not in line else [])
            )
            begun.add(name)
    return found


@pytest.mark.parametrize("line", example_params())
def test_an_example_of_the_help_runs(
    line: str, clone: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On pictures of 96 pixels, which every option and layer is there for as well; what the README shows runs whole."""
    command = group.get_command(None, line.split()[1])  # type: ignore[arg-type]
    assert command is not None
    small = any("--size" in option.opts for option in command.params) and "--size" not in line
    run(f"{line} --size 96" if small else line, clone, monkeypatch, capsys)


def test_every_example_of_the_help_is_of_options_that_there_are(clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Click reads it, files and numbers included; running it takes longer."""
    monkeypatch.chdir(clone)
    for name, line in examples():
        command = group.get_command(None, name)  # type: ignore[arg-type]
        assert command is not None
        # Click keeps a command's help option as in its first context: one without the group's settings has no -h.
        parent = click.Context(group, info_name="fmap", **group.context_settings)
        command.make_context(name, shlex.split(line, comments=True)[2:], parent=parent)


def test_every_command_is_written_about() -> None:
    pages = README + "".join(page.read_text() for page in (ROOT / "docs").glob("*.md"))
    for name in EVERY_COMMAND:
        assert f"fmap {name}" in pages, f"neither the README nor docs/ mentions fmap {name}"


def test_the_readmes_python_runs(clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
    assert len(blocks) == 2
    monkeypatch.chdir(clone)
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, "README.md", "exec"), names)
    for written in ("run.json", "layers.csv", "maps.png"):
        assert (clone / written).stat().st_size > 0


# -- the notebook in docs/ --------------------------------------------------------------------------------------------


def test_the_notebooks_cells_run_and_show_pictures_and_tables(monkeypatch: pytest.MonkeyPatch) -> None:
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
    shows(shown)


@pytest.mark.slow
def test_the_notebook_runs_in_a_fresh_kernel() -> None:
    notebook = nbformat.read(ROOT / "docs" / "notebook.ipynb", as_version=4)
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(ROOT / "docs")}}).execute()
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    shows([kind for cell in cells for output in cell.outputs for kind in output.get("data", {})])


def shows(shown: list[str]) -> None:
    assert shown.count("image/png") >= 4
    assert shown.count("text/html") >= 3
