"""What all commands have in common: thin callbacks, typed options, one door, documented exit codes."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import click
import pytest

from fmap_cli import errors
from fmap_cli.commands import output
from fmap_cli.commands.group import COMMANDS, group
from fmap_cli.commands.options import Options, collect, model_options, vs_options, with_options
from fmap_cli.models.records import ModelRequest

ROOT = Path(__file__).parent.parent.parent
FILES = {name: (ROOT / "fmap_cli" / "commands" / f"{name}.py").read_text(encoding="utf-8") for name in COMMANDS}


def callback_lines(source: str) -> int:
    """How many lines a file's `command` has between its docstring and its end."""
    (function,) = (
        node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef) and node.name == "command"
    )
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    return (body[-1].end_lineno or 0) - body[0].lineno + 1


@pytest.mark.parametrize("name", COMMANDS)
def test_a_callback_gathers_calls_and_hands_over(name: str) -> None:
    assert callback_lines(FILES[name]) < 25


def test_a_long_callback_is_noticed() -> None:
    assert callback_lines("def command():\n    '''Help.'''\n\n" + "    pass\n" * 25) == 25


def untyped(source: str) -> list[str]:
    """Where a file looks options up by their name, or passes them on as a dictionary."""
    found = [
        ast.unparse(node)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Subscript) and ast.unparse(node.value) in ("options", "kwargs", "given")
    ]
    return found + re.findall(r"dict\[str, Any\]|\*\*options", source)


@pytest.mark.parametrize("name", COMMANDS)
def test_no_option_is_looked_up_by_a_string(name: str) -> None:
    assert untyped(FILES[name]) == []


def test_an_untyped_option_is_noticed() -> None:
    assert untyped("def f(options): return options['top']") == ["options['top']"]
    assert untyped("def f(**options: Any): pass") == ["**options"]


@pytest.mark.parametrize("name", COMMANDS)
def test_a_commands_record_has_a_field_for_each_parameter_and_no_other(name: str) -> None:
    module = importlib.import_module(f"fmap_cli.commands.{name}")
    (record,) = (
        each
        for each in vars(module).values()
        if isinstance(each, type) and issubclass(each, Options) and each.__module__ == module.__name__
    )
    has = {each.name for each in fields(record)} - {"as_json", "as_csv"}
    command = group.get_command(None, name)  # type: ignore[arg-type]
    assert command is not None
    given = {each.name for each in command.params} - {"as_json", "as_csv"}
    if "request" in has:
        given = given - {each.name for each in fields(ModelRequest)} | {"request"}
    if "other" in has:
        given = {each for each in given if not each.startswith("vs_")} | {"other", "changed"}
    assert has == given


# -- options as records --------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Toy(Options):
    request: ModelRequest
    other: ModelRequest
    changed: tuple[str, ...]
    top: int

    def refuse_contradictions(self) -> None:
        super().refuse_contradictions()
        if self.top > 3:
            raise click.UsageError("too many")


def toy() -> click.Command:
    @click.command("toy")
    @click.option("--top", type=int, default=1)
    @click.option("--json", "as_json", is_flag=True)
    @click.option("--csv", "as_csv", is_flag=True)
    @model_options
    @vs_options
    @with_options(Toy)
    def command(options: Toy) -> Any:
        return options

    return command


def run(*arguments: str) -> Toy:
    found: Toy = toy().main(list(arguments), standalone_mode=False)
    return found


def test_what_click_read_is_one_record() -> None:
    found = run("--top", "2", "-m", "resnet18", "--size", "64", "--json")
    assert (found.top, found.form) == (2, "json")
    assert found.request == ModelRequest("resnet18", size=64)
    assert found.other == found.request and found.changed == ()


def test_contradictions_are_the_records_own_and_the_shared_ones_too() -> None:
    with pytest.raises(click.UsageError, match="too many"):
        run("--top", "4")
    with pytest.raises(click.UsageError, match="--json and --csv exclude each other"):
        run("--json", "--csv")
    with pytest.raises(click.UsageError, match="both say how large"):
        run("--size", "32", "--input-shape", "3,32,32")


def test_the_other_side_is_as_the_first_but_for_what_is_said_and_has_the_same_types() -> None:
    found = run("-m", "resnet18", "-w", "random", "--vs-seed", "3", "--vs-size", "32x48", "--input-shape", "3,8,8")
    assert found.other == ModelRequest("resnet18", "random", seed=3, size=(32, 48))
    assert found.changed == ("seed", "size")
    assert run("-w", "random", "--vs-model", "net.pt2").other.weights is None  # a program's are in its file
    assert run("-w", "random", "--vs-model", "resnet18").other.weights == "random"
    with pytest.raises(click.BadParameter, match="not a size"):
        run("--vs-size", "large")
    types = {each.name: each.type for each in toy().params}
    assert isinstance(types["dtype"], click.Choice) and isinstance(types["vs_dtype"], click.Choice)
    assert types["vs_dtype"].choices == types["dtype"].choices


def test_a_parameter_without_a_field_is_a_fault() -> None:
    collected = collect(Options, "options", Options.refuse_contradictions)(lambda options: options)
    assert collected(as_json=True).form == "json"
    with pytest.raises(TypeError, match="misspelt"):
        collected(as_json=True, misspelt=1)


# -- the door and the exit codes -----------------------------------------------------------------------------------


def put_out(options: Options, **more: Any) -> int:
    return output.put_out(options, table=lambda: print("table"), document=lambda: {"a": 1}, csv=lambda: "a,b\n", **more)


def test_the_form_asked_for_is_the_only_one_made(capsys: pytest.CaptureFixture[str]) -> None:
    for options, printed in ((Options(), "table\n"), (Options(as_csv=True), "a,b\n")):
        assert put_out(options) == 0
        assert capsys.readouterr().out == printed
    assert put_out(Options(as_json=True)) == 0
    assert '"a": 1' in capsys.readouterr().out


def test_the_exit_code_goes_by_the_result(capsys: pytest.CaptureFixture[str]) -> None:
    assert put_out(Options(), found=True) == 3
    failures = [("a.png", errors.ImageError("no such file: a.png"))]
    assert put_out(Options(), failures=failures, of_images=3, found=True) == 1
    said = capsys.readouterr().err
    assert said == "fmap: no such file: a.png\nfmap: 1 of 3 images failed: a.png\n"


def test_every_exit_code_is_in_the_table_of_the_docs() -> None:
    page = (ROOT / "docs" / "exit-codes.md").read_text(encoding="utf-8")
    rows = [int(code) for code in re.findall(r"^\| (\d+) \|", page, re.MULTILINE)]
    codes = {value for name, value in vars(errors).items() if name.isupper() and isinstance(value, int)}
    assert set(rows) == codes | {errors.ended_by(15)}
    assert rows == sorted(rows)


def test_exit_codes_stand_in_one_place() -> None:
    files = list((ROOT / "fmap_cli" / "commands").glob("*.py"))
    assert len(files) > 20
    for file in files:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Return):
                assert not (isinstance(node.value, ast.Constant) and type(node.value.value) is int), file


def test_several_images_that_all_fail_are_each_named(fmap: Callable[..., Any]) -> None:
    ran = fmap("embed", "gone.png", "lost.png")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.splitlines()[-1] == "fmap: 2 of 2 images failed: gone.png, lost.png"
    fmap("embed", "gone.png").refused("no such file: gone.png")
