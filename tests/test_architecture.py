"""Which room may import which: the files' imports, read with `ast`, against one table."""

from __future__ import annotations

import ast
import dataclasses
import functools
import importlib
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import fmap_cli
from fmap_cli.commands.group import COMMANDS
from fmap_cli.comparison.records import Side
from fmap_cli.results import Result

PACKAGE = Path(__file__).parent.parent / "fmap_cli"

PAGE = PACKAGE.parent / "docs" / "architecture.md"

FLOORS = ("ground", "showing", "pass", "subject", "door")


@dataclass(frozen=True)
class Room:
    """A row of the table in docs/architecture.md: a room is a file, or one of the folders, of the package."""

    name: str
    is_folder: bool
    floor: str
    needs: frozenset[str]


def rooms_in(page: str) -> list[Room]:
    rows = re.findall(r"^\| `(\w+)(/?)` \| ([a-z]+) \| .* \| ([^|]*) \|$", page, re.MULTILINE)
    return [
        Room(name, slash == "/", floor, frozenset(needs.replace("–", "").replace(",", " ").split()))
        for name, slash, floor, needs in rows
    ]


ROOMS = {room.name: room for room in rooms_in(PAGE.read_text(encoding="utf-8"))}
SUBJECTS = {room.name for room in ROOMS.values() if room.floor == "subject"}
# What each room may import of this project, whenever it does so: `subjects` in the table are all of them.
ALLOWED: dict[str, str] = {
    room.name: " ".join(sorted(room.needs - {"subjects"} | (SUBJECTS if "subjects" in room.needs else set())))
    for room in ROOMS.values()
}

# Subjects do not build on one another ...
BUILD_ON = {  # ... but for these.
    "cam": {"answers"},
    "comparison": {"answers", "statistics"},
    "effect": {"answers", "statistics"},
    "embedding": {"answers"},
    "explain": {"receptive"},
    "health": {"statistics"},
    "layers": {"receptive"},
    "top": {"receptive"},
    "maps": {"answers", "effect", "receptive", "statistics"},
    "report": {
        *("answers", "attention", "cam", "comparison", "effect", "health", "layers", "memory", "receptive", "reduced"),
        *("statistics", "top"),
    },
}

# Importing these brings in no torch: `--help` is quick, and tables and files need none. Whole rooms,
LIGHT_ROOMS = {
    *(
        "__init__",
        "__main__",
        "api",
        "arguments",
        "cli",
        "commands",
        "documents",
        "drawing",
        "errors",
        "files",
        "foreign",
        "frameworks",
    ),
    *("health", "interrupts", "legible", "models", "results", "tables", "units"),
}
# the files that say and show what a subject found, in every room,
LIGHT_NAMES = {"__init__", "api", "columns", "document", "figure", "records", "table", "words"}
# these, and whatever one of all these imports at once (`light_files`).
LIGHT_FILES = {
    *("inputs/arrays.py", "inputs/images.py", "inputs/limits.py", "inputs/modes.py", "inputs/pictures.py"),
    *("inputs/png.py", "inputs/preprocess.py", "inputs/ranges.py", "inputs/sources.py", "inputs/streams.py"),
    *("network/kinds.py", "network/selection.py", "network/shapes.py"),
    *("running/alike.py", "running/safe.py", "running/team.py", "running/text.py"),
    *("statistics/merging.py", "statistics/run_text.py", "statistics/runs.py"),
    *("maps/inline.py", "maps/raw.py", "memory/request.py"),
}
# Light by their room or name, and torch through and through: what is light imports them when it calls them.
HEAVY_FILES = {"models/same_padding.py", "network/axes/__init__.py", "receptive/__init__.py"}


def is_light(inside: str) -> bool:
    """Whether a file, named by its path in the package, has to be imported without torch."""
    if inside in HEAVY_FILES:
        return False
    path = Path(inside)
    room = path.parts[0].removesuffix(".py")
    return room in LIGHT_ROOMS or path.stem in LIGHT_NAMES or inside in LIGHT_FILES


# Hooks that are part of a network as it was loaded, and watch nothing: an exported program of a fixed batch
# gets its one image repeated.
HOOKS_FOR_GOOD = {"models/programs/exported.py": {"register_forward_pre_hook"}}


@dataclass(frozen=True)
class Import:
    """One imported name: `module.name`, or `name` empty for `import module`."""

    module: str
    name: str
    line: int
    for_typing: bool  # under `if TYPE_CHECKING`: never run
    deferred: bool  # in a function: run when that is called

    @property
    def whole(self) -> str:
        return f"{self.module}.{self.name}" if self.name else self.module


@functools.cache
def imports_of(source: str, module: str, *, is_package: bool = False) -> list[Import]:
    """Every import in a file's text; relative ones are resolved from `module`, the file's dotted name."""
    found: list[Import] = []

    def visit(node: ast.AST, for_typing: bool, deferred: bool) -> None:
        if isinstance(node, ast.Import):
            found.extend(Import(each.name, "", node.lineno, for_typing, deferred) for each in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = module.split(".") if is_package else module.split(".")[:-1]
                parents = package[: len(package) - node.level + 1]
                base = ".".join([*parents, *filter(None, [node.module])])
            found.extend(Import(base, each.name, node.lineno, for_typing, deferred) for each in node.names)
        elif isinstance(node, ast.Call) and _called(node) == "import_module" and node.args:
            text = _constant_start(node.args[0])
            if text:
                found.append(Import(text.rstrip("."), "", node.lineno, for_typing, deferred))
        if isinstance(node, ast.If) and _asks_for_typing(node.test):
            for child in node.body:
                visit(child, True, deferred)
            for child in node.orelse:
                visit(child, for_typing, deferred)
            return
        deferred = deferred or isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
        for child in ast.iter_child_nodes(node):
            if calls or isinstance(child, (ast.stmt, ast.excepthandler, ast.match_case)):
                visit(child, for_typing, deferred)

    calls = "import_module" in source  # else imports are statements, and nobody looks into expressions
    visit(ast.parse(source), False, False)
    return found


def _asks_for_typing(test: ast.expr) -> bool:
    return any("TYPE_CHECKING" in (getattr(part, "id", ""), getattr(part, "attr", "")) for part in ast.walk(test))


def _called(node: ast.Call) -> str:
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def _constant_start(node: ast.expr) -> str:
    """The text of a string, or of an f-string up to its first hole."""
    if isinstance(node, ast.JoinedStr) and node.values:
        node = node.values[0]
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def room_of(module: str) -> str | None:
    """The room of a dotted name of this project; None for what is not of this project."""
    parts = module.split(".")
    if parts[0] != "fmap_cli":
        return None
    return parts[1] if len(parts) > 1 else "__init__"


def files() -> Iterator[tuple[str, str, bool, str]]:
    """(path in the package, dotted name, whether it is a package, text) of every file."""
    for path in sorted(PACKAGE.rglob("*.py")):
        inside = path.relative_to(PACKAGE)
        parts = ["fmap_cli", *inside.with_suffix("").parts]
        is_package = parts[-1] == "__init__"
        module = ".".join(parts[:-1] if is_package else parts)
        yield inside.as_posix(), module, is_package, path.read_text(encoding="utf-8")


FILES = list(files())
names = [inside for inside, *_ in FILES]


def trespasses(source: str, module: str, *, is_package: bool = False) -> list[str]:
    """The imports of a file that its room may not make, in words."""
    room = room_of(module)
    assert room is not None
    allowed = {room, *ALLOWED.get(room, "").split()}
    wrong = []
    for each in imports_of(source, module, is_package=is_package):
        # `from . import units` names the room; `from .units import number` comes from it.
        target = room_of(each.module)
        if target == "__init__" and each.name:
            target = room_of(each.whole)
        if target is not None and target not in allowed:
            typing = ", for typing" if each.for_typing else ""
            wrong.append(f"line {each.line}: {room} imports {target}{typing}")
    return wrong


def of_files(
    look: Callable[..., list[str]], these: Sequence[tuple[str, str, bool, str]], *more: Any
) -> dict[str, list[str]]:
    """What `look` finds in each of these files that has any of it."""
    found = {inside: look(source, module, *more, is_package=is_package) for inside, module, is_package, source in these}
    return {inside: words for inside, words in found.items() if words}


# -- the package as it stands --------------------------------------------------------------------------------------


def test_a_room_imports_what_the_table_allows_and_nothing_else() -> None:
    new = {inside for inside, module, *_ in FILES if room_of(module) not in ROOMS}
    assert new == set(), "these are of new rooms: give them a row in docs/architecture.md"
    assert of_files(trespasses, FILES) == {}


def test_every_room_in_the_table_exists_and_the_table_names_only_rooms() -> None:
    assert set(ROOMS) == {room_of(module) for _, module, *_ in FILES}
    assert {name for row in ALLOWED.values() for name in row.split()} <= set(ROOMS)
    assert {room.name for room in ROOMS.values() if room.is_folder} == {
        path.parent.name for path in PACKAGE.glob("*/__init__.py")
    }
    # A capability is one subject more; what all of them stand on does not grow with them.
    assert len([room for room in ROOMS.values() if room.floor != "subject" and not room.name.startswith("__")]) <= 20


def test_a_room_imports_from_its_own_floor_and_those_below() -> None:
    assert {room.floor for room in ROOMS.values()} == set(FLOORS)
    upwards = {
        (room.name, need)
        for room in ROOMS.values()
        for need in ALLOWED[room.name].split()
        if FLOORS.index(ROOMS[need].floor) > FLOORS.index(room.floor)
    }
    assert upwards == set()


def test_every_room_whose_records_are_results_is_a_subject() -> None:
    assert {room_of(each.__module__) for each in results()} <= SUBJECTS
    assert SUBJECTS - {room_of(each.__module__) for each in results()} == {"health"}  # its findings are a run's


def test_the_table_allows_no_more_than_is_used() -> None:
    used: dict[str, set[str]] = {room: set() for room in ROOMS}
    for _, module, is_package, source in FILES:
        room = room_of(module)
        assert room is not None
        for each in imports_of(source, module, is_package=is_package):
            target = room_of(each.whole) if each.module == "fmap_cli" else room_of(each.module)
            if target is not None and target != room:
                used[room].add(target)
    for room in ROOMS.values():
        if "subjects" in room.needs:
            used[room.name] = used[room.name] - SUBJECTS | {"subjects"}
    wrong = {name: ", ".join(sorted(found)) or "–" for name, found in used.items() if found != ROOMS[name].needs}
    assert wrong == {}, "docs/architecture.md says otherwise of what these rooms import"


def test_public_names_are_for_type_checkers_what_they_are_when_used() -> None:
    (source,) = (source for inside, _, _, source in FILES if inside == "__init__.py")
    typed = {
        each.name: each.module.removeprefix("fmap_cli").removeprefix(".")
        for each in imports_of(source, "fmap_cli", is_package=True)
        if each.for_typing
    }
    assert typed == fmap_cli._FROM
    for name, module in typed.items():
        there = importlib.import_module(f"fmap_cli.{module or name}")
        assert getattr(fmap_cli, name) is (getattr(there, name) if module else there)


def test_every_command_has_a_file_and_every_file_of_one_is_listed() -> None:
    own = {"__init__", "group", "options", "output", "progress", "running_options"}
    there = {Path(inside).stem for inside in names if inside.startswith("commands/")} - own
    assert there == set(COMMANDS)
    for name in COMMANDS:
        assert importlib.import_module(f"fmap_cli.commands.{name}").command.name == name


def test_no_two_files_of_tests_have_one_name() -> None:
    """pytest imports them by their name alone: of two it runs the first and stops at the second."""
    names = [path.name for path in Path(__file__).parent.rglob("test_*.py")]
    assert sorted({name for name in names if names.count(name) > 1}) == []


def test_subjects_build_on_no_other_but_those_named() -> None:
    crossing = {room: set(ALLOWED[room].split()) & SUBJECTS for room in SUBJECTS}
    assert {room: others for room, others in crossing.items() if others} == BUILD_ON


def test_the_table_has_no_circle() -> None:
    left = {room: set(row.split()) for room, row in ALLOWED.items()}
    while left:
        free = {room for room, needs in left.items() if not needs & set(left)}
        assert free, f"these rooms import each other in a circle: {sorted(left)}"
        left = {room: needs for room, needs in left.items() if room not in free}


def test_no_files_import_each_other_in_a_circle() -> None:
    left = {
        inside: {
            target
            for each in imports_of(source, module, is_package=is_package)
            if room_of(each.module) is not None and not each.deferred and not each.for_typing
            for target in filter(None, {file_of(each.module), file_of(each.whole)})
            if not (target.endswith("__init__.py") and inside.startswith(target.removesuffix("__init__.py")))
        }
        for inside, module, is_package, source in FILES
    }
    while left:
        free = {inside for inside, needs in left.items() if not needs & set(left)}
        assert free, f"these files import each other in a circle: {sorted(left)}"
        left = {inside: needs for inside, needs in left.items() if inside not in free}


def test_only_capture_hooks_into_a_network() -> None:
    found = {inside: set(hooks_in(source)) for inside, _, _, source in FILES if inside != "network/capture.py"}
    wrong = {inside: names - HOOKS_FOR_GOOD.get(inside, set()) for inside, names in found.items()}
    assert {inside: names for inside, names in wrong.items() if names} == {}


def hooks_in(source: str) -> list[str]:
    """The names by which a file gets at hooks: attributes, names and strings, but no comments or docstrings."""
    words = ("register_forward", "register_full_backward", "register_module", "_hooks")
    if not any(word in source for word in words):
        return []
    tree = ast.parse(source)
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and node.body
        if isinstance(node.body[0], ast.Expr)
    }
    found = []
    for node in ast.walk(tree):
        text = getattr(node, "attr", None) or getattr(node, "id", None) or ""
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            text = node.value
        if any(word in text for word in words):
            found.append(text)
    return found


SHOWING = [
    each
    for each in FILES
    if each[0].startswith(("drawing/", "tables/")) or Path(each[0]).stem in LIGHT_NAMES - {"__init__", "api"}
]


def test_nothing_that_draws_sees_a_network() -> None:
    assert of_files(networks_in, SHOWING) == {}


def networks_in(source: str, module: str, *, is_package: bool = False) -> list[str]:
    """Imports of networks or what they are made of; functions on plain tensors are none."""
    wholes = [each.whole for each in imports_of(source, module, is_package=is_package)]
    return [
        whole
        for whole in wholes
        if whole.startswith(("torchvision", "timm", "fmap_cli.models", "fmap_cli.session", "torch.nn"))
        and not whole.startswith("torch.nn.functional")
        and not re.match(r"fmap_cli\.models\.(columns|input_words|records(?!\.LoadedModel)|table|document)\b", whole)
    ]


def test_every_result_knows_where_it_comes_from() -> None:
    found = set(results())
    assert {"Look", "Listing", "FieldListing", "UnitView", "EffectiveField", "Run", "Predictions"} <= {
        each.__name__ for each in found
    }
    without = {each.__name__ for each in found if "origin" not in {field.name for field in dataclasses.fields(each)}}
    assert without == {"Comparison"}  # which has one a side
    assert "origin" in {field.name for field in dataclasses.fields(Side)}


def results() -> Iterator[type[Any]]:
    """The records of all rooms that a verb returns."""
    for inside, module, *_ in FILES:
        if Path(inside).name == "records.py":
            for each in vars(importlib.import_module(module)).values():
                if isinstance(each, type) and issubclass(each, Result) and each.__module__ == module:
                    yield each


def at_import(source: str, module: str, packages: tuple[str, ...], *, is_package: bool = False) -> list[str]:
    """The imports of these packages that run as soon as the file is imported."""
    return [
        each.whole
        for each in imports_of(source, module, is_package=is_package)
        if each.module.split(".")[0] in packages and not each.deferred and not each.for_typing
    ]


@functools.cache
def file_of(module: str) -> str | None:
    """The path in the package of a module of this project; None for what is none."""
    path = PACKAGE.joinpath(*module.split(".")[1:])
    for found in (path / "__init__.py", path.with_suffix(".py")):
        if found.exists():
            return found.relative_to(PACKAGE).as_posix()
    return None


def light_files() -> dict[str, str]:
    """The files that have to be imported without torch, each with the one that imports it at once: those named
    above, and whatever they import.
    """
    by_name = {each[0]: each for each in FILES}
    found = {inside: "itself" for inside in by_name if is_light(inside)}
    waiting = list(found)
    while waiting:
        inside, module, is_package, source = by_name[waiting.pop()]
        for each in imports_of(source, module, is_package=is_package):
            if each.deferred or each.for_typing:
                continue
            for target in filter(None, {file_of(each.module), file_of(each.whole)}):
                if room_of(each.module) is not None and target not in found:
                    found[target] = inside
                    waiting.append(target)
    return found


def test_light_files_import_torch_only_when_something_is_called() -> None:
    through = light_files()
    light = [each for each in FILES if each[0] in through]
    found = of_files(at_import, light, ("torch", "torchvision", "timm"))
    assert {f"{inside}, which {through[inside]} imports": words for inside, words in found.items()} == {}


GROUND = [each for each in FILES if Path(each[0]).stem in ("errors", "units", "sources", "records")]


def test_the_ground_floor_needs_no_array_library_either() -> None:
    assert of_files(at_import, GROUND, ("torch", "numpy", "PIL", "matplotlib", "rich")) == {}


# -- the checks themselves can fail --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("from ..session.opening import Session", "session"),
        ("from fmap_cli.session.opening import Session", "session"),
        ("import fmap_cli.session.opening", "session"),
        ("from fmap_cli import session", "session"),
        ("from .. import session", "session"),
        ("def f():\n    from ..session.passes import run", "session"),
        ("class A:\n    def f(self):\n        if True:\n            import fmap_cli.tables.table as table", "tables"),
        ("try:\n    from ..models import catalog\nexcept ImportError:\n    pass", "models"),
        ("import importlib\nimportlib.import_module('fmap_cli.session.opening')", "session"),
        ("import importlib\nimportlib.import_module(f'fmap_cli.commands.{name}')", "commands"),
    ],
)
def test_a_forbidden_import_is_found_however_it_is_written(source: str, target: str) -> None:
    (found,) = trespasses(source, "fmap_cli.drawing.scene")
    assert found.endswith(f"drawing imports {target}")


def test_an_import_for_typing_counts_and_is_told_apart() -> None:
    source = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from ..session.opening import Session\n"
    assert trespasses(source, "fmap_cli.drawing.scene") == ["line 3: drawing imports session, for typing"]


@pytest.mark.parametrize(
    ("source", "module"),
    [
        ("from .records import LayerStats", "fmap_cli.statistics.reference"),
        ("import numpy, torch\nfrom torch import nn", "fmap_cli.statistics.reference"),
        ("from ..drawing.grid import place\nfrom .tiles import Scale", "fmap_cli.maps.figure"),
        ("from . import building", "fmap_cli.models.checkpoint"),
    ],
)
def test_an_allowed_import_is_not_found_fault_with(source: str, module: str) -> None:
    assert trespasses(source, module) == []


def test_relative_imports_are_resolved_from_where_the_file_lies() -> None:
    assert trespasses("from ..session import opening", "fmap_cli.drawing.scene") == ["line 1: drawing imports session"]
    assert trespasses("from ...session import opening", "fmap_cli.network.axes.factors") == [
        "line 1: network imports session"
    ]
    assert trespasses("from . import embedded", "fmap_cli.models", is_package=True) == []
    assert trespasses("from .. import session", "fmap_cli.models", is_package=True) == [
        "line 1: models imports session"
    ]


def test_a_hook_is_found_and_one_in_a_docstring_is_not() -> None:
    assert hooks_in("module.register_forward_hook(print)") == ["register_forward_hook"]
    assert hooks_in("getattr(module, 'register_forward_pre_hook')(print)") == ["register_forward_pre_hook"]
    assert hooks_in("module._forward_hooks.clear()") == ["_forward_hooks"]
    assert hooks_in('"""Never calls register_forward_hook."""\n# nor register_forward_pre_hook\n') == []
    assert hooks_in((PACKAGE / "network" / "capture.py").read_text(encoding="utf-8")) != []


def test_a_network_in_a_drawing_is_found_and_a_function_on_tensors_is_not() -> None:
    assert networks_in("from torch import nn", "fmap_cli.maps.tiles") == ["torch.nn"]
    assert networks_in("def f():\n    import torchvision", "fmap_cli.maps.tiles") == ["torchvision"]
    assert networks_in("from ..models.records import LoadedModel", "fmap_cli.maps.table") == [
        "fmap_cli.models.records.LoadedModel"
    ]
    assert networks_in("from ..models.records import Origin", "fmap_cli.maps.table") == []
    assert networks_in("from torch.nn import Module", "fmap_cli.maps.tiles") == ["torch.nn.Module"]
    assert networks_in("from ..models import catalog", "fmap_cli.maps.tiles") == ["fmap_cli.models.catalog"]
    assert networks_in("from torch.nn import functional as F\nimport torch", "fmap_cli.maps.tiles") == []


def test_torch_at_import_is_found_and_deferred_or_for_typing_is_not() -> None:
    packages = ("torch",)
    assert at_import("import torch", "fmap_cli.models.records", packages) == ["torch"]
    assert at_import("try:\n    from torch import nn\nfinally:\n    pass", "fmap_cli.models.records", packages) == [
        "torch.nn"
    ]
    assert at_import("class A:\n    import torch", "fmap_cli.models.records", packages) == ["torch"]
    assert at_import("def f():\n    import torch", "fmap_cli.models.records", packages) == []
    assert (
        at_import("if TYPE_CHECKING:\n    import torch\nelse:\n    import numpy", "fmap_cli.models.records", packages)
        == []
    )


def test_the_table_of_rooms_is_read_from_the_page() -> None:
    page = "| `units` | ground | numbers | – |\n| `maps/` | subject | a \\| b | units, results |\n| other | x |\n"
    assert rooms_in(page) == [
        Room("units", False, "ground", frozenset()),
        Room("maps", True, "subject", frozenset({"units", "results"})),
    ]


_BY_BLAS = {"convolve", "corrcoef", "correlate", "cov", "dot", "inner", "linalg", "matmul", "tensordot", "vdot"}


def test_nothing_is_computed_by_numpys_blas() -> None:
    """Its threads go on waiting busily after a long product: a pass of the network that follows takes twice as long.

    (Products of matrices, `a @ b`, are left: of arrays there are some in `filters`, `attention` and `embedding`, made
    once after all passes.)
    """
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and node.attr in _BY_BLAS and ast.unparse(node.value) == "np":
                found.append(f"{path.name}:{node.lineno}: np.{node.attr}")
    assert not found
