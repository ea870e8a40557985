"""``${{ secrets.NAME }}`` in the values of configured variables: how a secret is named without being written down."""

import re

_REFERENCE = re.compile(r"\$\{\{\s*secrets\.([A-Za-z_][A-Za-z0-9_]*)\s*\}\}")
_ANY = re.compile(r"\$\{\{.*?(?:\}\}|$)", re.DOTALL)


def secret_names(text: str) -> tuple[str, ...]:
    """The names of the secrets that ``text`` refers to, in order, each once."""
    return tuple(dict.fromkeys(_REFERENCE.findall(text)))


def malformed(text: str) -> tuple[str, ...]:
    """What looks like a reference and is none: ``${{ env.HOME }}``, ``${{ secrets.A-B }}``, one that is not closed."""
    return tuple(found for found in _ANY.findall(text) if not _REFERENCE.fullmatch(found))


def substitute(text: str, values: dict[str, str]) -> str:
    """``text`` with each reference replaced by its value; raises ``KeyError`` for a name without one."""
    return _REFERENCE.sub(lambda match: values[match.group(1)], text)
