"""Conditions of skipped tests that ask for nothing but facts of the machine, answered for this one."""

import ast
import operator
import os
import platform
import sys
from collections.abc import Callable
from typing import Any

from agentpkg.checks.integrity.facts import Skip

_FACTS: dict[str, Callable[[], Any]] = {
    "sys.platform": lambda: sys.platform,
    "sys.version_info": lambda: tuple(sys.version_info),
    "sys.implementation.name": lambda: sys.implementation.name,
    "sys.maxsize": lambda: sys.maxsize,
    "os.name": lambda: os.name,
    "platform.system()": platform.system,
    "platform.machine()": platform.machine,
    "platform.python_implementation()": platform.python_implementation,
}
_COMPARED: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq, ast.NotEq: operator.ne, ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt,
    ast.GtE: operator.ge, ast.In: lambda a, b: a in b, ast.NotIn: lambda a, b: a not in b,
}  # fmt: skip
#: calls that ask what the machine has; their answer is not known here
_ASKING = ("shutil.which(", "importlib.util.find_spec(", "hasattr(os, ", "hasattr(socket, ")


class _Unknown(Exception):
    pass


def skips(condition: str) -> Skip:
    """When a test with this condition is skipped: ``always`` where it holds on this machine."""
    try:
        return "always" if _value(ast.parse(condition, mode="eval").body) else "platform"
    except (_Unknown, SyntaxError, ValueError, TypeError, AttributeError):
        pass
    plain = condition.removeprefix("not ")
    return "platform" if plain.startswith(_ASKING) and not any(w in plain for w in (" or ", "environ")) else "condition"


def _value(node: ast.expr) -> Any:
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.Tuple | ast.List | ast.Set):
        return tuple(map(_value, node.elts))
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        return not _value(node.operand)
    if isinstance(node, ast.BoolOp):
        return (all if isinstance(node.op, ast.And) else any)([_value(part) for part in node.values])
    if isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in _COMPARED:
        return _COMPARED[type(node.ops[0])](_value(node.left), _value(node.comparators[0]))
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "startswith":
        return str(_value(node.func.value)).startswith(_value(node.args[0]))
    fact = _FACTS.get(ast.unparse(node))
    if fact is None:
        raise _Unknown
    return fact()
