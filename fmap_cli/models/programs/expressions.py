"""Sizes written as expressions, in torch.export programs: arithmetic over integers and named sizes, nothing else.

torch hands the text to SymPy, which evaluates it as Python. So it is parsed here first, and everything that is no
number, no name of a size and no function that torch itself writes is refused.
"""

from __future__ import annotations

import ast
import functools
import re

from fmap_cli.models.archive import RefusedError, shown

_LONGEST = 200_000
# As `sympy.srepr` writes them, and torch.utils._sympy.functions.
_FUNCTIONS = {
    *("Integer", "Float", "Rational", "Add", "Mul", "Pow", "Mod", "Abs", "Min", "Max", "floor", "ceiling"),
    *("Equality", "Unequality", "Eq", "Ne", "Lt", "Le", "Gt", "Ge", "GreaterThan", "LessThan"),
    *("StrictGreaterThan", "StrictLessThan", "And", "Or", "Not", "Piecewise", "ExprCondPair", "Tuple", "ITE"),
    *("FloorDiv", "ModularIndexing", "Where", "PythonMod", "CleanDiv", "CeilToInt", "FloorToInt", "CeilDiv", "LShift"),
    *("RShift", "PowByNatural", "FloatPow", "FloatTrueDiv", "IntTrueDiv", "IsNonOverlappingAndDenseIndicator"),
    *("TruncToFloat", "TruncToInt", "RoundToInt", "RoundDecimal", "ToFloat", "Identity"),
}
_NAMES = {"true", "false", "oo", "int_oo", "Infinity", "NegativeInfinity", "IntInfinity", "NegativeIntInfinity"}
_SYMBOL = re.compile(r"(s|u|zf|zuf|f|unbacked|backed|_)\d{1,6}")
_FLOAT = re.compile(r"-?\d{1,40}(\.\d{0,40})?(e[+-]?\d{1,3})?")
_POWERS = ("Pow", "PowByNatural", "FloatPow", "LShift", "RShift")
_LARGEST_POWER = 64
_MOST_ARGUMENTS = 64
_DEEPEST_POWERS = 2

# Conditions on the input, as torch.export notes them down.
_GUARD_CALLS = {
    *("size", "stride", "storage_offset", "dim", "numel", "sym_max", "sym_min", "sym_sqrt", "sym_ite", "sym_not"),
    *("sym_float", "sym_int", "sym_sum", "isnan", "ceil", "floor", "trunc", "sqrt", "max", "min", "float", "int"),
}
_GUARD_NAMES = {"L", "torch", "math", "max", "min", "float", "int"}
_ARITHMETIC = (
    *(ast.Expression, ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.Compare, ast.Load),
    *(ast.operator, ast.unaryop, ast.boolop, ast.cmpop),
)


def check_size(text: object) -> None:
    """Raises RefusedError unless `text` is arithmetic over integers and named sizes.

    >>> check_size("Add(FloorDiv(Symbol('s77', positive=True, integer=True), Integer(2)), Integer(1))")
    >>> check_size("2*s0 + 1")
    """
    if not isinstance(text, str):
        raise _refused(text)
    _check_size(text)


@functools.lru_cache(4096)  # one size is the size of many layers
def _check_size(text: str) -> None:
    _check_node(_parsed(text).body, text, powers=0)


def check_symbol(name: object) -> None:
    """Raises RefusedError unless this is how torch names a size: `s0`, `u3`."""
    if not isinstance(name, str) or not _SYMBOL.fullmatch(name):
        raise RefusedError(f"a size in it is called {shown(str(name))}, which torch does not write")


def check_guard(text: object) -> None:
    """Raises RefusedError unless `text` compares the input's sizes and values with numbers."""
    for node in ast.walk(_parsed(text)):
        if isinstance(node, _ARITHMETIC):
            continue
        if isinstance(node, ast.Name):
            good = node.id in _GUARD_NAMES
        elif isinstance(node, ast.Attribute):
            good = not node.attr.startswith("_")
        elif isinstance(node, ast.Subscript):
            good = isinstance(node.slice, ast.Constant | ast.UnaryOp)
        elif isinstance(node, ast.Call):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", None)
            good = called in _GUARD_CALLS and not node.keywords
        else:
            good = isinstance(node, ast.Constant)
        if not good:
            raise _refused(text)


def _parsed(text: object) -> ast.Expression:
    if not isinstance(text, str) or not text.isascii() or len(text) > _LONGEST:
        raise _refused(text)
    try:
        return ast.parse(text, mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise _refused(text) from error


def _refused(text: object) -> RefusedError:
    return RefusedError(f"the size {shown(str(text))} is not arithmetic over integers and named sizes")


def _check_node(node: ast.expr, text: object, *, powers: int) -> None:
    if isinstance(node, ast.Constant):
        if type(node.value) is not int or abs(node.value) >= 1 << 64:
            raise _refused(text)
    elif isinstance(node, ast.Name):
        if node.id not in _NAMES and not _SYMBOL.fullmatch(node.id):
            raise _refused(text)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd | ast.Not | ast.Invert):
        _check_node(node.operand, text, powers=powers)
    elif isinstance(node, ast.BinOp):
        if isinstance(node.op, ast.Pow | ast.LShift | ast.RShift):
            powers = _one_more(powers, node.right, text)
        _check_node(node.left, text, powers=powers)
        _check_node(node.right, text, powers=powers)
    elif isinstance(node, ast.Compare):
        for each in (node.left, *node.comparators):
            _check_node(each, text, powers=powers)
    elif isinstance(node, ast.Tuple):
        for each in node.elts:
            _check_node(each, text, powers=powers)
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        _check_call(node, node.func.id, text, powers=powers)
    else:
        raise _refused(text)


def _check_call(node: ast.Call, name: str, text: object, *, powers: int) -> None:
    first = node.args[0] if node.args else None
    if name in ("Symbol", "Dummy"):
        plain = len(node.args) == 1 and isinstance(first, ast.Constant) and isinstance(first.value, str)
        if not plain or not _SYMBOL.fullmatch(first.value) or not all(map(_is_assumption, node.keywords)):  # type: ignore[union-attr]
            raise _refused(text)
        return
    if name == "Float" and isinstance(first, ast.Constant) and isinstance(first.value, str):
        if not _FLOAT.fullmatch(first.value) or len(node.args) != 1 or not all(map(_is_precision, node.keywords)):
            raise _refused(text)
        return
    if name not in _FUNCTIONS or node.keywords or len(node.args) > _MOST_ARGUMENTS:
        raise _refused(text)
    if name in _POWERS:
        if len(node.args) != 2:
            raise _refused(text)
        powers = _one_more(powers, node.args[1], text)
    for each in node.args:
        _check_node(each, text, powers=powers)


def _one_more(powers: int, exponent: ast.expr, text: object) -> int:
    """One more power around: few, and none to a large number, which would fill the memory with digits."""
    value: ast.expr | None = exponent
    if isinstance(value, ast.Call) and getattr(value.func, "id", "") in ("Integer", "Rational") and value.args:
        value = value.args[0]
    if isinstance(value, ast.UnaryOp):
        value = value.operand
    if isinstance(value, ast.Constant):
        small = type(value.value) is int and value.value <= _LARGEST_POWER
    else:
        small = getattr(getattr(exponent, "func", exponent), "id", "") == "Symbol" or isinstance(exponent, ast.Name)
    if not small or powers >= _DEEPEST_POWERS:
        raise _refused(text)
    return powers + 1


def _is_assumption(keyword: ast.keyword) -> bool:
    known = keyword.arg in ("positive", "integer", "nonnegative", "real", "negative", "finite")
    return known and isinstance(keyword.value, ast.Constant) and isinstance(keyword.value.value, bool)


def _is_precision(keyword: ast.keyword) -> bool:
    value = keyword.value.value if isinstance(keyword.value, ast.Constant) else None
    return keyword.arg in ("precision", "dps") and type(value) is int and 0 < value <= 64
