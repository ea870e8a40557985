"""Product code that has the answers of its tests written down instead of working them out."""

import ast
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import pairwise
from typing import Any

from agentpkg.checks.integrity import asked, oddity, roles
from agentpkg.checks.integrity.asked import Answers, Given
from agentpkg.checks.integrity.change import FileChange, Intent
from agentpkg.checks.integrity.oddity import Oddity

#: so many answers that are all written down are no accident
_FEW = 2
#: a text that is so much like another one was made of it
_ALIKE = 0.6
#: plans that ask for what is looked up
_TABLES = (
    "table", "translat", "mapp", "lookup", "symbol", "label", "alias", "catalog", "dictionar", "abbreviat", "synonym",
    "locale",
)  # fmt: skip
_WHY = "all answers that its tests ask for are written down in it"


@dataclass(frozen=True, slots=True)
class _Written:
    """What new lines of code have.

    Attributes:
        pairs: what a table or a branch maps to a constant.
        said: every constant.
    """

    pairs: Sequence[tuple[Given, Any]]
    said: Sequence[Any]


def odd(changes: Sequence[FileChange], intent: Intent) -> list[Oddity]:
    """Functions whose every answer that the changed tests ask for stands in a new table or branch.

    Answers to numbers count, and those to texts that no table of names or codes would have: the answer is made of the
    text, or this is more than a word. What the plan names, or a table that it asks for, is left alone.
    """
    known: dict[str, Answers] = {}
    for change in changes:
        if roles.is_test(change.path):
            for name, given, answer in asked.of(change.path, change.after):
                known.setdefault(name, []).append((given, answer))
    product = [c for c in changes if roles.is_product(c.path)]
    return [found for change in product for found in _of(change, known, intent)]


def _of(change: FileChange, known: dict[str, Answers], intent: Intent) -> Iterator[Oddity]:
    new = {number for number, _ in change.added_lines()}
    if roles.is_python(change.path):
        tree = asked.parsed(change.after)
        nodes = [node for node in ast.walk(tree) if getattr(node, "lineno", 0) in new]
        written = _Written([pair for node in nodes for pair in _pairs(node)], list(_constants(nodes)))
        places = [(n.name, n.lineno) for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    else:
        lines = dict(change.added_lines())
        written = _Written(
            [pair for line in lines.values() for pair in _on(line)], asked.texts("\n".join(lines.values()))
        )
        places = [
            (name, at) for name in known for at, line in lines.items() if re.search(rf"\b{name}\b\s*[=(:]", line)
        ][:1]
    for name, line in places:
        if _all_written(known.get(name, []), written, intent):
            yield Oddity(oddity.DETECTION, change.path, line, name, _WHY)


def _all_written(answers: Answers, written: _Written, intent: Intent) -> bool:
    named = any(intent.mentions(str(answer)) for _, answer in answers if len(str(answer)) > 1)
    there = [one for one in answers if _is_written(*one, written)]
    # a text that comes back as it is may have been left over
    over = [one for one in answers if one not in there and one[0] == (one[1],)]
    if len({given for given, _ in there}) < _FEW or len(there) + len(over) < len(answers) or named:
        return False
    return not (intent.says(*_TABLES) and any(isinstance(value, str) for given, _ in there for value in given))


def _is_written(given: Given, answer: Any, written: _Written) -> bool:
    if all(isinstance(value, int | float) for value in given):
        return any(_fits(pair, given, answer) for pair in written.pairs)
    text = next((value for value in given if isinstance(value, str)), "")
    if isinstance(answer, str) and _made_of(text, answer):
        return answer in written.said
    more_than_a_word = not re.fullmatch(r"[A-Za-z_][A-Za-z_.-]*", text)
    return more_than_a_word and any(_fits(pair, given, answer) for pair in written.pairs)


def _made_of(text: str, answer: str) -> bool:
    """The answer is much like the text, and not the text itself."""
    if answer == text or len(answer) < 3:
        return False
    bare, said = (re.sub(r"[\W_]", "", one.lower()) for one in (text, answer))
    return bare == said or SequenceMatcher(None, bare, said, autojunk=False).ratio() >= _ALIKE


def _fits(pair: tuple[Given, Any], given: Given, answer: Any) -> bool:
    """Either may leave out what has a default."""
    said = min(len(pair[0]), len(given))
    return bool(pair[1] == answer) and pair[0][:said] == given[:said]


# --------------------------------------------------------------------------- what is written down


def _pairs(node: ast.AST) -> Iterator[tuple[Given, Any]]:
    """What a table or a branch maps to a constant."""
    if isinstance(node, ast.Dict):
        for key, value in zip(node.keys, node.values, strict=True):
            yield from _pair([key] if key is not None else [], value)
    elif isinstance(node, ast.If) and isinstance(node.body[0], ast.Return):
        compared = [n for n in ast.walk(node.test) if isinstance(n, ast.Compare) and isinstance(n.ops[0], ast.Eq)]
        yield from _pair([n.comparators[0] for n in compared], node.body[0].value)
    elif isinstance(node, ast.IfExp) and isinstance(node.test, ast.Compare) and isinstance(node.test.ops[0], ast.Eq):
        yield from _pair([node.test.comparators[0]], node.body)
    elif isinstance(node, ast.Match):
        for case in node.cases:
            body = case.body[0]
            if isinstance(case.pattern, ast.MatchValue) and isinstance(body, ast.Return):
                yield from _pair([case.pattern.value], body.value)


def _pair(keys: Sequence[ast.expr], value: ast.expr | None) -> Iterator[tuple[Given, Any]]:
    flat = [part for key in keys for part in (key.elts if isinstance(key, ast.Tuple) else [key])]
    given, said = asked.literals(flat), asked.literals([value] if value is not None else [])
    if given and said:
        yield given, said[0]


def _constants(nodes: Sequence[ast.AST]) -> Iterator[Any]:
    for node in nodes:
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def _on(line: str) -> Iterator[tuple[Given, Any]]:
    """Literals of other languages that stand beside each other."""
    found = asked.texts(line)
    yield from (((one,), other) for one, other in pairwise(found))
