"""Does a shell command line run a forbidden command? A help for agents that mean well, not a wall.

The line is cut into simple commands as POSIX shells do (Shell Command Language, 2.9), wherever they stand: in lists and
pipes, in ``$(…)`` and backquotes, after ``if`` and ``do``, and as the text given to ``sh -c``. A command that only
comes to be while the line runs, from a variable or a script, is not seen.
"""

import os
import re
import shlex
from collections.abc import Iterator, Sequence

#: words that may stand before a simple command without being it
_BEFORE = frozenset(
    ("!", "{", "(", "if", "then", "elif", "else", "while", "until", "do", "exec", "command", "builtin", "nohup", "time",
     "env", "sudo", "doas", "nice", "setsid", "xargs", "stdbuf", "eval")
)  # fmt: skip
_SHELLS = frozenset(("sh", "bash", "dash", "zsh", "ksh", "busybox"))
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*\+?=.*", re.DOTALL)
_NESTED = re.compile(r"\$\(|[`)]")
#: how deep ``sh -c "sh -c …"`` is followed
_DEEPEST = 5


def forbidden_command(line: str, forbidden: Sequence[str]) -> str | None:
    """The first of ``forbidden`` that a command line would run, else None.

    Args:
        line: what a shell is to run.
        forbidden: beginnings of commands, as words: ``cargo test`` forbids ``cargo test --all``.
    """
    wanted = [(text, text.split()) for text in forbidden if text.split()]
    for words in _simple_commands(line.replace("\\\n", ""), _DEEPEST):
        for text, beginning in wanted:
            if words[: len(beginning)] == beginning:
                return text
    return None


def _simple_commands(line: str, depth: int) -> Iterator[list[str]]:
    """The words of each simple command, without what stands before it; its program by its name alone."""
    # an end of a substitution is an end of a command too; quotes do not hide one from a shell
    for part in _NESTED.split(line):
        for words in _split(part):
            bare = _bare(words)
            if not bare:
                continue
            bare[0] = os.path.basename(bare[0])
            yield bare
            if depth and bare[0] in _SHELLS and (inner := _given_to_shell(bare)) is not None:
                yield from _simple_commands(inner, depth - 1)


def _split(text: str) -> Iterator[list[str]]:
    words: list[str] = []
    for token in _tokens(text):
        if token and set(token) <= set(";&|\n"):
            yield words
            words = []
        else:
            words.append(token)
    yield words


def _tokens(text: str) -> list[str]:
    lexer = shlex.shlex(text, posix=True, punctuation_chars=";&|\n()<>")
    lexer.whitespace, lexer.whitespace_split, lexer.commenters = " \t\r", True, ""
    try:
        return list(lexer)
    except ValueError:
        # an open quote, as parts of a nested command have: better too many words than too few
        return re.sub(r"[\"']", " ", re.sub(r"([;&|\n]+)", r" \1 ", text)).replace("\n", " ; ").split()


def _bare(words: Sequence[str]) -> list[str]:
    at, passed = 0, False
    while at < len(words):
        word = words[at]
        if word in _BEFORE or os.path.basename(word) in _BEFORE:
            passed = True
        elif not (_ASSIGNMENT.fullmatch(word) or (passed and word.startswith("-")) or set(word) <= set("()<>")):
            break
        at += 1
    return list(words[at:])


def _given_to_shell(words: Sequence[str]) -> str | None:
    for at, word in enumerate(words[1:-1], start=1):
        if word.startswith("-") and not word.startswith("--") and word.endswith("c"):
            return words[at + 1]
    return None
