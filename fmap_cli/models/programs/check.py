"""torch.export programs, held against an allow-list before torch's own loader sees them.

That loader turns text of the file into code in many ways: it evaluates sizes, looks operators up by dotted name,
imports the modules of types, writes Python source with the names of values in it and runs that, unpickles objects, and
opens the native libraries of `data/aotinductor/`. Here every member of the archive, every field of its JSON and every
name, operator, type and expression in those has to be one that torch.export.save writes for a network's arithmetic.
What is not known is refused.
"""

from __future__ import annotations

import functools
import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fmap_cli.models import archive, tensor_files
from fmap_cli.models.archive import RefusedError, shown
from fmap_cli.models.programs import expressions

_MOST_JSON_BYTES = 64 << 20
_MOST_SIDE_BYTES = 256 << 20  # example inputs, and whole state dicts of older versions
_DEEPEST = 100
_MOST_NODES = 6_000  # each takes two milliseconds; torchvision's swin_v2_b has 2,624

# What torch 2.8 and newer write, below one folder; and 2.6 and 2.7, without one.
_MEMBERS = re.compile(
    r"models/[^/]+\.json|data/(weights|constants)/[^/]+|data/sample_inputs/[^/]+\.pt|extra/.+"
    r"|archive_format|archive_version|version|byteorder|\.data/(version|serialization_id)|\.format_version"
    r"|\.storage_alignment"
)
_OLD_MEMBERS = re.compile(
    r"version|serialized_exported_program\.json|serialized_(state_dict|constants|example_inputs)\.pt|extra_files/[^/]+"
)

_NAMESPACES = ("aten", "prims", "torchvision", "quantized", "quantized_decomposed")
# They read and write files, or are no operators of tensors.
_REFUSED_OPERATORS = {"aten.from_file", "aten.save", "aten._print", "aten.warn", "aten.load", "aten.open"}
# Calls of graphs that lie in the file too. Absent: what repeats a graph and may never end (`while_loop`; `map` and
# `scan` over an axis of any length), and all that calls compiled code.
_GRAPH_CALLS = {
    *("cond", "wrap", "hints_wrapper", "strict_mode"),
    *("wrap_with_set_grad_enabled", "wrap_with_autocast", "wrap_activation_checkpoint", "invoke_subgraph"),
    *("auto_functionalized", "auto_functionalized_v2", "autograd_function_apply", "tag_activation_checkpoint"),
}
_PYTHON_OPERATORS = {
    *(f"_operator.{name}" for name in ("eq ne le ge lt gt neg pos mul add sub floordiv mod pow truediv".split())),
    *(f"_operator.{name}" for name in ("and_ or_ xor not_ lshift rshift abs getitem index".split())),
    *(f"math.{name}" for name in ("trunc", "ceil", "floor", "sqrt")),
    *(f"torch.sym_{name}" for name in ("not", "int", "float", "ite", "max", "min", "sqrt", "sum")),
    *(f"torch._sym_{name}" for name in ("sqrt", "log2", "cos", "cosh", "sin", "sinh", "tan", "tanh", "asin", "acos")),
}
_GROWING = ("_operator.pow", "_operator.lshift")
_DUNDERS = {f"__{name}__" for name in ("and or xor lshift rshift iand ior ixor ilshift irshift".split())}
_DEVICES = ("cpu", "cuda", "meta", "mps", "xpu", "hpu", "xla", "mtia", "privateuseone")
_TYPES = {
    *("builtins.tuple", "builtins.list", "builtins.dict", "collections.OrderedDict", "collections.deque"),
    *("collections.namedtuple", "torch.Size", "immutable_list", "immutable_dict"),
    *("torch.fx.immutable_collections.immutable_list", "torch.fx.immutable_collections.immutable_dict"),
}


def check(file: Path) -> None:
    """Raises RefusedError unless all that torch's loader would look at is data."""
    try:
        with archive.opened(file) as held:
            if "archive_format" in held.names and held.root:
                _check_members(held, _MEMBERS)
                _check_new(held)
            else:
                _check_members(held, _OLD_MEMBERS)
                _check_old(held)
    except RecursionError as error:
        raise RefusedError(f"it is nested deeper than {_DEEPEST} levels") from error


def _check_members(held: archive.Archive, known: re.Pattern[str]) -> None:
    for name in held.names:
        if name.startswith("data/aotinductor/"):
            raise RefusedError(f"it brings compiled code, {shown(name)}")
        if not known.fullmatch(name):
            raise RefusedError(f"its member {shown(name)} is none that torch.export.save writes for a network")


def _check_new(held: archive.Archive) -> None:
    programs = [name for name in held.names if name.startswith("models/")]
    if not programs:
        raise RefusedError("it holds no program")
    for name in programs:
        _check_program(_json(held, name))
    for name in held.names:
        if name.endswith("_config.json") and name.startswith("data/"):
            _check_payloads(held, name.rpartition("/")[0] + "/", _json(held, name))
        elif name.endswith(".pt") and name.startswith("data/"):
            _check_side(held, name)


def _check_old(held: archive.Archive) -> None:
    # torch first tries the newer layout, whose folder is that of the first member: here it has none.
    if held.root or "/" in held.names[0]:
        raise RefusedError("its members are in another order than torch.export.save writes")
    _check_program(_json(held, "serialized_exported_program.json"))
    for name in held.names:
        if name.endswith(".pt"):
            _check_side(held, name)


def _check_side(held: archive.Archive, name: str) -> None:
    """Tensors that torch.save wrote into a member of their own."""
    content = held.read(name, most_bytes=_MOST_SIDE_BYTES)
    if content:
        with archive.opened(content) as inner:
            tensor_files.check_archive_pickle(inner, "data.pkl", "data/")


def _json(held: archive.Archive, name: str) -> Any:
    try:
        return json.loads(held.read(name, most_bytes=_MOST_JSON_BYTES).decode())
    except (ValueError, UnicodeDecodeError) as error:
        raise RefusedError(f"its member {shown(name)} is damaged") from error


# --- The program ---------------------------------------------------------------------------------------


def _check_program(program: Any) -> None:
    if not isinstance(program, dict):
        raise RefusedError("its program is damaged")
    nodes = _nodes(program)
    if nodes > _MOST_NODES:
        raise RefusedError(f"its program has {nodes:,} operations; {_MOST_NODES:,} are run")
    _check_fields(program, 0)


def _nodes(program: dict[str, Any]) -> int:
    """How many operations a program has, those of graphs within its graphs included."""
    nodes = 0
    todo: list[Any] = [program]
    while todo:
        each = todo.pop()
        if isinstance(each, dict):
            within = each.get("nodes")
            nodes += len(within) if isinstance(within, list) else 0
            todo.extend(each.values())
        elif isinstance(each, list):
            todo.extend(each)
    return nodes


def _check_fields(record: dict[str, Any], depth: int) -> None:
    """Every field of a record is known, and holds what that field may hold."""
    if depth > _DEEPEST:
        raise RefusedError(f"it is nested deeper than {_DEEPEST} levels")
    for field, value in record.items():
        rule = _RULES.get(field)
        if rule is None:
            raise RefusedError(f"its program has a field {shown(field)}, which fmap does not know")
        if value is not None:
            rule(value, depth)
    if record.get("target") in _GROWING:
        _check_growth(record)


def _check_growth(node: dict[str, Any]) -> None:
    """A power of constants, such as 9 ** 9 ** 9, would never end."""
    for each in node.get("inputs") or ():
        number = (each.get("arg") or {}).get("as_int", 0)
        if abs(number) > 64:
            raise RefusedError(f"{shown(node['target'])} is given {number}")


Rule = Callable[[Any, int], None]


def _damaged(field: str) -> RefusedError:
    return RefusedError(f"the field {shown(field)} of its program is damaged")


def _nested(value: Any, depth: int) -> None:
    """A record, or a list of records (of lists of them)."""
    if isinstance(value, dict):
        _check_fields(value, depth + 1)
    elif isinstance(value, list):
        if depth > _DEEPEST:
            raise RefusedError(f"it is nested deeper than {_DEEPEST} levels")
        for each in value:
            _nested(each, depth + 1)
    else:
        raise RefusedError(f"its program has {shown(str(value))} where a record belongs")


def _by_name(check_name: Callable[[Any], None]) -> Rule:
    """Records by names, which `check_name` looks at."""

    def rule(value: Any, depth: int) -> None:
        if not isinstance(value, dict):
            raise RefusedError("a table of its program is damaged")
        for name, each in value.items():
            check_name(name)
            _nested(each, depth + 1)

    return rule


def _all(check_one: Callable[[Any], None]) -> Rule:
    """One value, or a list of them (of lists of them)."""

    def rule(value: Any, depth: int) -> None:
        if isinstance(value, list):
            for each in value:
                rule(each, depth + 1)
        else:
            check_one(value)

    return rule


def _typed(*types: type) -> Callable[[Any], None]:
    def check_type(value: Any) -> None:
        if type(value) not in types:
            raise RefusedError(f"its program has {shown(str(value))} where {types[0].__name__} belongs")

    return check_type


def _number(value: Any) -> None:
    if type(value) not in (int, float) and value not in ("Infinity", "-Infinity", "NaN"):
        raise RefusedError(f"its program has {shown(str(value))} where a number belongs")


def _identifier(value: Any) -> None:
    """A name that torch writes into the Python source that it runs."""
    if not isinstance(value, str) or (value and not value.isidentifier()):
        raise RefusedError(f"its program calls a value {shown(str(value))}, which is not a name")


def _path(value: Any) -> None:
    """A module's or parameter's place, `layer1.0.conv1`: in that source it stands between quotation marks."""
    if not isinstance(value, str) or re.search(r'["\\\x00-\x1f\x7f]', value):
        raise RefusedError(f"its program has a module or parameter called {shown(str(value))}")
    if any(re.fullmatch(r"__\w*__", part) for part in value.split(".")):
        raise RefusedError(f"its program has a module or parameter called {shown(value)}")


def _operator(value: Any) -> None:
    if value in _PYTHON_OPERATORS:
        return
    match = re.fullmatch(r"torch\.ops\.(\w+)\.(\w+)(?:\.(\w+))?", value) if isinstance(value, str) else None
    namespace, name, overload = match.groups() if match else ("", "", None)
    if namespace == "higher_order":
        known = name in _GRAPH_CALLS and overload is None
    else:
        plain = not name.startswith("__") or name in _DUNDERS
        known = namespace in _NAMESPACES and f"{namespace}.{name}" not in _REFUSED_OPERATORS and plain
        known = known and _is_registered(f"{namespace}::{name}", "" if overload == "default" else str(overload))
    if not known:
        raise RefusedError(
            f"its program calls {shown(str(value))}, which is not an operator on tensors that fmap knows"
        )


@functools.lru_cache(4096)
def _is_registered(name: str, overload: str) -> bool:
    import torch

    return any(schema.overload_name == overload for schema in torch._C._jit_get_schemas_for_operator(name))


def _device(value: Any) -> None:
    if value not in _DEVICES:
        raise RefusedError(f"its program names the device {shown(str(value))}")


def _refused(what: str) -> Rule:
    def rule(value: Any, depth: int) -> None:
        if value not in ({}, []):
            raise RefusedError(f"it brings {what}")

    return rule


def _tree(value: Any, *, names: bool) -> None:
    """How inputs or outputs are nested, in JSON within JSON: plain containers only, which torch need not import."""
    try:
        protocol, spec = json.loads(value)
    except (TypeError, ValueError) as error:
        raise _damaged("in_spec") from error
    if type(protocol) is not int:
        raise _damaged("in_spec")
    todo = [spec]
    while todo:
        node = todo.pop()
        if not isinstance(node, dict) or set(node) != {"type", "context", "children_spec"}:
            raise _damaged("in_spec")
        if not isinstance(node["children_spec"], list):
            raise _damaged("in_spec")
        todo.extend(node["children_spec"])
        if node["type"] is not None and node["type"] not in _TYPES:
            raise RefusedError(f"its inputs or outputs are of the type {shown(str(node['type']))}")
        _check_keys(node, names=names)


def _check_keys(node: dict[str, Any], *, names: bool) -> None:
    context = node["context"]
    if context is None or node["type"] == "collections.namedtuple":
        keys = [context]  # the registered name of a type
    else:
        try:
            keys = json.loads(context)
        except (TypeError, ValueError) as error:
            raise _damaged("in_spec") from error
        keys = keys if isinstance(keys, list) else [keys]
    for key in keys:
        if key is None or type(key) in (int, bool):
            continue
        if names and node["type"] != "collections.namedtuple":
            _identifier(key)
        else:
            _path(key)


def _metadata(value: Any, depth: int) -> None:
    if not isinstance(value, dict):
        raise _damaged("metadata")
    for key, text in value.items():
        rule = _METADATA.get(key)
        if rule is None:
            raise RefusedError(f"its program has notes on {shown(key)}, which fmap does not know")
        _typed(str)(text)
        rule(text)


def _sources(text: str) -> None:
    """`name,dotted.name;...`: torch follows the dots from `torch` on."""
    for item in text.split(";"):
        if not re.fullmatch(r"[^\x00-\x1f#]*", item) or re.search(r"(^|[.,])__\w*", item.replace("__main__", "main")):
            raise RefusedError(f"its program names a source {shown(item)}")


def _versions(value: Any) -> None:
    if not isinstance(value, dict):
        raise _damaged("opset_version")
    for each in value.values():
        _typed(int)(each)


def _anything(value: Any) -> None:
    """Text that torch keeps, and does nothing with."""


_METADATA: dict[str, Callable[[Any], None]] = {
    "stack_trace": _anything,
    "nn_module_stack": _path,
    "source_fn_stack": _sources,
    "torch_fn": _anything,
    "custom": _anything,
    "from_node": _anything,
    "forward_arg_names": _anything,
}

_INTEGER, _TRUTH, _TEXT = _all(_typed(int)), _all(_typed(bool)), _all(_typed(str))
_RULES: dict[str, Rule] = {
    # Records within records.
    **dict.fromkeys(
        "graph_module graph signature arg as_sym_int as_sym_ints as_sym_float as_sym_floats as_sym_bool as_sym_bools "
        "as_tensor as_tensors as_optional_tensor as_optional_tensors as_nested_tensors as_graph as_device as_complex "
        "nodes inputs outputs input_specs output_specs user_input parameter buffer tensor_constant "
        "constant_input token user_output loss_output buffer_mutation parameter_mutation gradient_to_parameter "
        "gradient_to_user_input user_input_mutation module_call_graph schema_version device sizes strides "
        "storage_offset as_expr hint value tensor_meta".split(),
        _nested,
    ),
    # Names.
    **dict.fromkeys(("name", "as_name", "user_input_name", "forward_arg_names"), _all(_identifier)),
    **dict.fromkeys(("parameter_name", "buffer_name", "tensor_constant_name", "fqn"), _all(_path)),
    **dict.fromkeys(("target", "as_operator"), _all(_operator)),
    **dict.fromkeys(("tensor_values", "sym_int_values", "sym_float_values", "sym_bool_values"), _by_name(_identifier)),
    "range_constraints": _by_name(expressions.check_symbol),
    "as_string_to_argument": _by_name(_path),
    "treespec_namedtuple_fields": _by_name(_path),
    "field_names": _all(_identifier),
    "type": _all(_device),
    "in_spec": lambda value, _: _tree(value, names=True),
    "out_spec": lambda value, _: _tree(value, names=False),
    "metadata": _metadata,
    # Expressions.
    "expr_str": lambda value, _: expressions.check_size(value),
    "guards_code": _all(expressions.check_guard),
    # Plain values.
    **dict.fromkeys(
        "as_int as_ints as_int_lists as_scalar_type as_memory_format as_layout dtype layout index major minor "
        "min_val max_val kind".split(),
        _INTEGER,
    ),
    **dict.fromkeys(
        "as_bool as_bools as_none persistent requires_grad is_single_tensor_return is_hop_single_tensor_return".split(),
        _TRUTH,
    ),
    **dict.fromkeys(("as_float", "as_floats", "as_float_lists", "real", "imag"), _all(_number)),
    **dict.fromkeys(("as_string", "as_strings", "torch_version", "verifiers", "dialect"), _TEXT),
    "opset_version": lambda value, _: _versions(value),
    # Objects that only their own class can bring back.
    **dict.fromkeys(("custom_obj", "as_custom_obj", "custom_obj_values", "class_fqn"), _refused("objects of a class")),
}


# --- The tensors beside it ----------------------------------------------------------------------------


def _check_payloads(held: archive.Archive, folder: str, content: Any) -> None:
    """Each tensor lies in a member beside its table, and claims no more than that has."""
    config = content.get("config") if isinstance(content, dict) else None
    if not isinstance(config, dict):
        raise _damaged("config")
    for name, entry in config.items():
        _path(name)
        if not isinstance(entry, dict) or not isinstance(entry.get("path_name"), str):
            raise _damaged("config")
        path = entry["path_name"]
        if not re.fullmatch(r"(weight|tensor)_\w+", path):
            raise RefusedError(f"it brings an object, {shown(path)}, that is not a tensor")
        meta = entry.get("tensor_meta")
        if entry.get("use_pickle") is True:
            _check_side(held, folder + path)
        elif isinstance(meta, dict):
            _check_fields(meta, 0)
            _check_extent(held.bytes_in(folder + path), meta, name)
        else:
            raise _damaged("tensor_meta")


def _check_extent(bytes_: int, meta: dict[str, Any], name: str) -> None:
    try:
        sizes, strides = ([each["as_int"] for each in meta[field]] for field in ("sizes", "strides"))
        offset = meta["storage_offset"]["as_int"]
        last = offset + sum((length - 1) * step for length, step in zip(sizes, strides, strict=True))
    except (KeyError, TypeError, ValueError) as error:
        raise RefusedError(f"the sizes of its tensor {shown(name)} are damaged") from error
    if min([offset, *sizes, *strides]) < 0 or len(sizes) > 64:
        raise RefusedError(f"its tensor {shown(name)} has a negative size")
    values = math.prod(sizes)
    if values and (last >= bytes_ or values > max(bytes_, _MOST_JSON_BYTES)):
        raise RefusedError(f"its tensor {shown(name)} claims {values:,} values, and the file has {bytes_:,} bytes")
