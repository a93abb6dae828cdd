"""Which room may import which: the files' imports, read with `ast`, against one table."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "fmap_cli"

# What each room may import of this project, whenever it does so. A room is a file, or one of the folders below.
# A new room gets a line here, with no more in it than it needs, and one in docs/architecture.md.
ALLOWED: dict[str, str] = {
    # What everything stands on.
    "errors": "",
    "records": "",
    "units": "",
    "apart": "errors raised",
    "frameworks": "",
    "grid": "",
    "blank": "",
    "moments": "records",
    "nested": "",
    "raised": "",
    "files": "errors",
    "legible": "",
    "guests": "",
    # One thing each.
    "kinds": "records",
    "layers": "errors kinds records",
    "capture": "guests kinds nested records",
    "axes": "capture errors records shapes",
    "kernels": "moments",
    "reduce": "axes kernels moments records stats",
    "stats": "moments records",
    "health": "errors moments records units",
    "runs": "errors export files moments records",
    "answers": "records",
    "compare": "records",
    "products": "frameworks",
    "costs": "capture products records",
    "inventory": "records",
    "heads": "answers capture records",
    "embed": "answers errors records",
    "memory": "capture frameworks nested records",
    "receptive": "axes records shapes",
    "shapes": "",
    "sources": "errors",
    "ranges": "errors",
    "images": "errors frameworks ranges records",
    "models": "apart blank errors frameworks guests nested raised records",
    "export": "errors files moments records",
    "render": "errors grid legible moments records units",
    "inputs": "errors images records sources",
    # What puts them together.
    "session": (
        "answers axes blank capture costs errors frameworks inputs inventory kinds layers models raised receptive"
        " records stats"
    ),
    "pairs": "axes capture compare errors inputs layers models records session",
    "gather": "capture errors images inputs interrupts kinds layers moments raised records reduce session",
    "shards": "errors raised records runs",
    "forecast": "axes errors frameworks inputs kinds memory models raised records session",
    "interrupts": "",
    "fields": "axes capture errors inputs raised receptive records session",
    "many": "answers axes capture embed errors heads inputs layers records session",
    # The command line.
    "options": "errors export legible records units",
    "commands": (
        "apart errors export fields files gather health inputs interrupts layers many models options pairs records"
        " render runs session shards units"
    ),
    "group": "commands legible",
    "cli": "errors group guests interrupts legible options raised",
    "__main__": "cli",
    "__init__": "",
}
FOLDERS = ("axes", "commands", "health", "memory", "models", "receptive", "render")

# Rooms that compute what there is to see. None builds on another, so each can be read and tested by itself ...
ANALYSES = {"answers", "axes", "compare", "costs", "embed", "inventory", "memory", "receptive", "stats"}
# ... but for these names.
SHARED_BY_ANALYSES = {
    ("embed", "answers"): {"plain"},
    ("receptive", "axes"): {"channel_maps"},
}

# Importing these brings in no torch: `--help` is quick, and tables and files need none.
LIGHT = {
    "apart",
    "health",
    "interrupts",
    "runs",
    "shards",
    "__init__",
    "__main__",
    "cli",
    "commands",
    "errors",
    "ranges",
    "export",
    "files",
    "frameworks",
    "grid",
    "group",
    "guests",
    "moments",
    "images",
    "kinds",
    "layers",
    "legible",
    "models",
    "nested",
    "options",
    "raised",
    "records",
    "render",
    "sources",
    "units",
}
# The one file in a light room that is torch through and through; those that build networks import it when they do.
HEAVY_FILES = {"models/same_padding.py"}


# Hooks that are part of a network as it was loaded, and watch nothing: an exported program of a fixed batch
# gets its one image repeated.
HOOKS_FOR_GOOD = {"models/exported.py": {"register_forward_pre_hook"}}


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
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            for child in node.body:
                visit(child, True, deferred)
            for child in node.orelse:
                visit(child, for_typing, deferred)
            return
        deferred = deferred or isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
        for child in ast.iter_child_nodes(node):
            visit(child, for_typing, deferred)

    visit(ast.parse(source), False, False)
    return found


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


# -- the package as it stands --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("inside", "module", "is_package", "source"), FILES, ids=names)
def test_a_room_imports_what_the_table_allows_and_nothing_else(
    inside: str, module: str, is_package: bool, source: str
) -> None:
    assert room_of(module) in ALLOWED, f"{inside} is a new room: give it a line in ALLOWED and docs/architecture.md"
    assert trespasses(source, module, is_package=is_package) == []


def test_every_room_in_the_table_exists_and_the_table_names_only_rooms() -> None:
    rooms = {room_of(module) for _, module, *_ in FILES}
    assert set(ALLOWED) == rooms
    assert {name for row in ALLOWED.values() for name in row.split()} <= rooms
    assert set(FOLDERS) == {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists()}


def test_the_table_allows_no_more_than_is_used() -> None:
    used: dict[str, set[str]] = {room: set() for room in ALLOWED}
    for _, module, is_package, source in FILES:
        room = room_of(module)
        for each in imports_of(source, module, is_package=is_package):
            target = room_of(each.whole) if each.module == "fmap_cli" else room_of(each.module)
            if target is not None and target != room:
                used[room].add(target)
    idle = {room: set(row.split()) - used[room] for room, row in ALLOWED.items() if set(row.split()) - used[room]}
    idle.pop("commands", None)  # they may show whatever there is
    assert idle == {}


def test_no_analysis_builds_on_another() -> None:
    crossing: dict[tuple[str, str], set[str]] = {}
    for _, module, is_package, source in FILES:
        room = room_of(module)
        for each in imports_of(source, module, is_package=is_package):
            target = room_of(each.module)
            if room in ANALYSES and target in ANALYSES and room != target:
                crossing.setdefault((room, target), set()).add(each.name)
    assert crossing == SHARED_BY_ANALYSES


def test_the_table_has_no_circle() -> None:
    left = {room: set(row.split()) for room, row in ALLOWED.items()}
    while left:
        free = {room for room, needs in left.items() if not needs & set(left)}
        assert free, f"these rooms import each other in a circle: {sorted(left)}"
        left = {room: needs for room, needs in left.items() if room not in free}


@pytest.mark.parametrize(
    ("inside", "source"), [(inside, source) for inside, _, _, source in FILES if inside != "capture.py"]
)
def test_only_capture_hooks_into_a_network(inside: str, source: str) -> None:
    assert set(hooks_in(source)) <= HOOKS_FOR_GOOD.get(inside, set())


def hooks_in(source: str) -> list[str]:
    """The names by which a file gets at hooks: attributes, names and strings, but no comments or docstrings."""
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
        if any(word in text for word in ("register_forward", "register_full_backward", "register_module", "_hooks")):
            found.append(text)
    return found


@pytest.mark.parametrize(
    ("inside", "module", "is_package", "source"),
    [each for each in FILES if each[0].startswith("render/")],
    ids=[name for name in names if name.startswith("render/")],
)
def test_nothing_that_draws_sees_a_network(inside: str, module: str, is_package: bool, source: str) -> None:
    assert networks_in(source, module, is_package=is_package) == []


def networks_in(source: str, module: str, *, is_package: bool = False) -> list[str]:
    """Imports of networks or what they are made of; functions on plain tensors are none."""
    wholes = [each.whole for each in imports_of(source, module, is_package=is_package)]
    return [
        whole
        for whole in wholes
        if whole.startswith(("torchvision", "timm", "fmap_cli.models", "fmap_cli.session", "torch.nn"))
        and not whole.startswith("torch.nn.functional")
    ]


def at_import(source: str, module: str, packages: tuple[str, ...], *, is_package: bool = False) -> list[str]:
    """The imports of these packages that run as soon as the file is imported."""
    return [
        each.whole
        for each in imports_of(source, module, is_package=is_package)
        if each.module.split(".")[0] in packages and not each.deferred and not each.for_typing
    ]


@pytest.mark.parametrize(
    ("inside", "module", "is_package", "source"),
    [each for each in FILES if room_of(each[1]) in LIGHT and each[0] not in HEAVY_FILES],
    ids=[inside for inside, module, *_ in FILES if room_of(module) in LIGHT and inside not in HEAVY_FILES],
)
def test_light_rooms_import_torch_only_when_something_is_called(
    inside: str, module: str, is_package: bool, source: str
) -> None:
    assert at_import(source, module, ("torch", "torchvision", "timm"), is_package=is_package) == []


def test_light_rooms_stay_light_through_what_they_import_of_the_project() -> None:
    for inside, module, is_package, source in FILES:
        if room_of(module) in LIGHT and inside not in HEAVY_FILES:
            for each in imports_of(source, module, is_package=is_package):
                target = room_of(each.whole) if each.module == "fmap_cli" else room_of(each.module)
                if target is not None and not each.deferred and not each.for_typing:
                    assert target in LIGHT, f"{inside} line {each.line} imports {target} at once"
                    assert each.module.replace(".", "/").removeprefix("fmap_cli/") + ".py" not in HEAVY_FILES


@pytest.mark.parametrize("room", ["errors", "records", "units", "sources"])
def test_the_ground_floor_needs_no_array_library_either(room: str) -> None:
    source = (PACKAGE / f"{room}.py").read_text(encoding="utf-8")
    assert at_import(source, f"fmap_cli.{room}", ("torch", "numpy", "PIL", "matplotlib", "rich")) == []


# -- the checks themselves can fail --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("from .session import look", "session"),
        ("from fmap_cli.session import look", "session"),
        ("import fmap_cli.session", "session"),
        ("from fmap_cli import session", "session"),
        ("from . import session", "session"),
        ("def f():\n    from .session import look", "session"),
        ("class A:\n    def f(self):\n        if True:\n            import fmap_cli.render.table as table", "render"),
        ("from .render.table import console", "render"),
        ("try:\n    from .models import catalog\nexcept ImportError:\n    pass", "models"),
        ("import importlib\nimportlib.import_module('fmap_cli.session')", "session"),
        ("import importlib\nimportlib.import_module(f'fmap_cli.commands.{name}')", "commands"),
    ],
)
def test_a_forbidden_import_is_found_however_it_is_written(source: str, target: str) -> None:
    (found,) = trespasses(source, "fmap_cli.stats")
    assert found.endswith(f"stats imports {target}")


def test_an_import_for_typing_counts_and_is_told_apart() -> None:
    source = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .session import Session\n"
    assert trespasses(source, "fmap_cli.stats") == ["line 3: stats imports session, for typing"]


@pytest.mark.parametrize(
    ("source", "module"),
    [
        ("from .records import LayerStats", "fmap_cli.stats"),
        ("import numpy, torch\nfrom torch import nn", "fmap_cli.stats"),
        ("from ..grid import place\nfrom .scene import Scene", "fmap_cli.render.figure"),
        ("from . import building", "fmap_cli.models.checkpoint"),
    ],
)
def test_an_allowed_import_is_not_found_fault_with(source: str, module: str) -> None:
    assert trespasses(source, module) == []


def test_relative_imports_are_resolved_from_where_the_file_lies() -> None:
    assert trespasses("from ..session import look", "fmap_cli.render.figure") == ["line 1: render imports session"]
    assert trespasses("from . import embedded", "fmap_cli.models", is_package=True) == []
    assert trespasses("from .. import session", "fmap_cli.models", is_package=True) == [
        "line 1: models imports session"
    ]


def test_a_hook_is_found_and_one_in_a_docstring_is_not() -> None:
    assert hooks_in("module.register_forward_hook(print)") == ["register_forward_hook"]
    assert hooks_in("getattr(module, 'register_forward_pre_hook')(print)") == ["register_forward_pre_hook"]
    assert hooks_in("module._forward_hooks.clear()") == ["_forward_hooks"]
    assert hooks_in('"""Never calls register_forward_hook."""\n# nor register_forward_pre_hook\n') == []
    assert hooks_in((PACKAGE / "capture.py").read_text(encoding="utf-8")) != []


def test_a_network_in_a_drawing_is_found_and_a_function_on_tensors_is_not() -> None:
    assert networks_in("from torch import nn", "fmap_cli.render.tiles") == ["torch.nn"]
    assert networks_in("def f():\n    import torchvision", "fmap_cli.render.tiles") == ["torchvision"]
    assert networks_in("from torch.nn import Module", "fmap_cli.render.tiles") == ["torch.nn.Module"]
    assert networks_in("from ..models import catalog", "fmap_cli.render.tiles") == ["fmap_cli.models.catalog"]
    assert networks_in("from torch.nn import functional as F\nimport torch", "fmap_cli.render.tiles") == []


def test_torch_at_import_is_found_and_deferred_or_for_typing_is_not() -> None:
    packages = ("torch",)
    assert at_import("import torch", "fmap_cli.records", packages) == ["torch"]
    assert at_import("try:\n    from torch import nn\nfinally:\n    pass", "fmap_cli.records", packages) == ["torch.nn"]
    assert at_import("class A:\n    import torch", "fmap_cli.records", packages) == ["torch"]
    assert at_import("def f():\n    import torch", "fmap_cli.records", packages) == []
    assert at_import("if TYPE_CHECKING:\n    import torch\nelse:\n    import numpy", "fmap_cli.records", packages) == []
