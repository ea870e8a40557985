"""The kinds of text in the configuration: what each must look like, and what to say when it does not."""

import re
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, StrictStr

from agentpkg.config.placeholders import unknown
from agentpkg.core import hosts

#: variables that agentpkg itself decides on, or that would lead git to another repository
_OWN_VARIABLE = re.compile(
    r"AGENTPKG_.*|GIT_(DIR|WORK_TREE|INDEX_FILE|COMMON_DIR|OBJECT_DIRECTORY|ALTERNATE_OBJECT_DIRECTORIES|NAMESPACE"
    r"|CEILING_DIRECTORIES|CONFIG|CONFIG_.*|(AUTHOR|COMMITTER)_(NAME|EMAIL|DATE))"
)
# the rules of git-check-ref-format(1), but for the leading dash, which only branches have
_BAD_BRANCH = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|(^|/)\.|\.(/|$)|\.lock(/|$)|^/|/$|^-|^@$|^$")


def _text(value: str) -> str:
    if not value.strip():
        raise ValueError("should not be empty")
    if "\0" in value:
        raise ValueError("should not contain a NUL")
    return value


def _matching(pattern: str, right: str) -> Callable[[str], str]:
    def check(value: str) -> str:
        if not re.fullmatch(pattern, value):
            raise ValueError(right)
        return value

    return check


def _branch(value: str) -> str:
    if value.startswith("refs/") or _BAD_BRANCH.search(value):
        raise ValueError("should be the name of a branch, without `refs/heads/`")
    return value


def _branch_prefix(value: str) -> str:
    if value.startswith("refs/") or _BAD_BRANCH.search(value + "x"):
        raise ValueError("should be the beginning of branch names, such as `feat/`")
    return value


def _relative(value: str) -> str:
    path = PurePosixPath(_text(value))
    if path.is_absolute() or ".." in path.parts or value.startswith("~"):
        raise ValueError("should be a path inside the repository, relative to its top")
    if any(part.lower() == ".git" for part in path.parts):
        raise ValueError("should not lead into .git")
    return value


def _folder(value: str) -> str:
    path = PurePosixPath(_relative(value))
    if not path.parts or path.parts[0].lower() == ".kittify":
        raise ValueError("should be a folder of its own inside the repository")
    return str(path)


def _glob(value: str) -> str:
    bare = _text(value).removeprefix("!").removeprefix("/")
    if value.startswith("!"):
        raise ValueError("should not begin with `!`: list what is meant in the other list")
    if ".." in PurePosixPath(bare).parts or bare.startswith("~"):
        raise ValueError("should be a pattern of paths inside the repository")
    return value


def _argument(value: str) -> str:
    if "\0" in value:
        raise ValueError("should not contain a NUL")
    for name in unknown(value):
        raise ValueError(f"unknown placeholder {{{name}}}; a literal one is written {{{{{name}}}}}")
    return value


def _secret_argument(value: str) -> str:
    for name in unknown(value, ("name",)):
        raise ValueError(f"unknown placeholder {{{name}}}, known is {{name}}")
    return value


def _variable(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        raise ValueError("is no name of a variable")
    if _OWN_VARIABLE.fullmatch(name):
        raise ValueError("is set by agentpkg itself")
    return name


def _variable_value(value: str) -> str:
    if "\0" in value:
        raise ValueError("should not contain a NUL")
    return value


def _host(value: str) -> str:
    hosts.parse(value)
    return value


def _commit_pattern(value: str) -> str:
    try:
        re.compile(_text(value).replace("{wp}", "WP01"))
    except re.error as error:
        raise ValueError(f"is no regular expression: {error}") from error
    return value


def _whole(value: float) -> int | float:
    return int(value) if float(value).is_integer() else value


def _nats_url(value: str) -> str:
    for part in value.split(","):
        pieces = urlsplit(part.strip())
        if pieces.scheme not in ("nats", "tls", "ws", "wss") or not pieces.hostname:
            raise ValueError("should be like nats://host:4222")
    return value


Text = Annotated[StrictStr, AfterValidator(_text)]
Name = Annotated[
    StrictStr, AfterValidator(_matching(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", "should be a plain name, such as `lfs`"))
]
#: becomes part of actors and of mail addresses
AgentName = Annotated[
    StrictStr,
    AfterValidator(_matching(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", "should be letters, digits, `.`, `_` and `-`")),
]
Prefix = Annotated[
    StrictStr, AfterValidator(_matching(r"[A-Za-z0-9_-]{1,64}", "should be 1 to 64 letters, digits, `_` and `-`"))
]
Branch = Annotated[StrictStr, AfterValidator(_branch)]
BranchPrefix = Annotated[StrictStr, AfterValidator(_branch_prefix)]
RelativePath = Annotated[StrictStr, AfterValidator(_relative)]
Folder = Annotated[StrictStr, AfterValidator(_folder)]
Glob = Annotated[StrictStr, AfterValidator(_glob)]
Argument = Annotated[StrictStr, AfterValidator(_argument)]
SecretArgument = Annotated[StrictStr, AfterValidator(_secret_argument)]
Environment = dict[
    Annotated[StrictStr, AfterValidator(_variable)], Annotated[StrictStr, AfterValidator(_variable_value)]
]
#: what may be reached, see :mod:`agentpkg.core.hosts`
Host = Annotated[StrictStr, AfterValidator(_host)]
CommitPattern = Annotated[StrictStr, AfterValidator(_commit_pattern)]
NatsUrl = Annotated[StrictStr, AfterValidator(_nats_url)]
Percent = Annotated[float, Field(strict=True, ge=0, le=100, allow_inf_nan=False), AfterValidator(_whole)]
#: US dollars
Money = Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False), AfterValidator(_whole)]
Seconds = Annotated[float, Field(strict=True, ge=0, allow_inf_nan=False), AfterValidator(_whole)]
