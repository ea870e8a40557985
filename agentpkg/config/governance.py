"""``.kittify/governance.yaml``: which actions are autonomous, which wait for a person, and which are forbidden.

Read as strictly as the configuration: every problem at once, with its line. The file is optional; without it nothing
waits for a person but what a package's own ``approval: required`` says.
"""

from functools import cache, partial
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, ConfigDict, Field, StrictBool, StrictInt, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from agentpkg.config import schema
from agentpkg.config.document import Document, read, read_file
from agentpkg.config.kinds import Glob, Text
from agentpkg.config.messages import explain
from agentpkg.core.errors import BadInput
from agentpkg.core.model import Problem

#: where the policy lies in a work tree
GOVERNANCE_FILE = ".kittify/governance.yaml"

_STRICT = ConfigDict(extra="forbid", defer_build=True)

#: what may become of an action
Class = Literal["autonomous", "approval", "forbidden"]

MIGRATIONS = ("migrations/", "migrate/", "alembic/versions/", "db/changelog/", "flyway/")
WORKFLOWS = (
    "/.github/workflows", "/.github/actions", "action.yml", "action.yaml", "/.gitlab-ci.yml", "/.gitlab/ci",
    "/.circleci", "/.travis.yml", "/.buildkite", "/.drone.yml", "/.woodpecker", "/.woodpecker.yml", "/.gitea/workflows",
    "/.forgejo/workflows", "/azure-pipelines.yml", "/bitbucket-pipelines.yml", "/cloudbuild.yaml", "Jenkinsfile",
)  # fmt: skip


@dataclass(frozen=True, config=_STRICT)
class Actions:
    """``actions``: the class of each kind of action."""

    #: that a candidate lands at all
    merge: Class = "autonomous"
    #: a manifest names a dependency that it did not name on the target, or from another place
    dependencies: Class = "autonomous"
    migrations: Class = "autonomous"
    #: files that tell a CI service what to run
    workflows: Class = "autonomous"
    #: changes beyond the package's ``owned_files``
    scope: Class = "forbidden"
    #: that a sandboxed agent reaches a host which ``isolation.network.allow`` and ``agents.NAME.network`` do not name
    network: Class = "forbidden"
    #: a budget that is used up: ``autonomous`` only tells, ``approval`` asks for as much again
    spending: Class = "forbidden"
    #: ``move --to done --force``, which passes by the review and by everybody else
    force: Literal["autonomous", "forbidden"] = "autonomous"


def _some(patterns: tuple[str, ...]) -> tuple[str, ...]:
    if not patterns:
        raise ValueError("should not be empty")
    return patterns


@dataclass(frozen=True, config=_STRICT)
class PathRule:
    """One entry of ``paths``: changes under these patterns."""

    #: gitignore-style
    match: Annotated[tuple[Glob, ...], AfterValidator(_some)]
    action: Literal["approval", "forbidden"] = "approval"
    #: how questions and reviews call it; the patterns by default
    name: Text | None = None


@dataclass(frozen=True, config=_STRICT)
class Patterns:
    """``patterns``: which files are meant, in place of the usual ones."""

    migrations: tuple[Glob, ...] = MIGRATIONS
    workflows: tuple[Glob, ...] = WORKFLOWS


@dataclass(frozen=True, config=_STRICT)
class Approval:
    """``approval``: who decides, and by when."""

    #: how many different people have to say yes
    people: Annotated[StrictInt, Field(ge=1, le=9)] = 1
    #: login names; empty: anybody
    approvers: tuple[Text, ...] = ()
    #: who dispatched a package's sessions may not approve it
    exclude_dispatcher: StrictBool = False
    #: after which the answer is no; null: never
    deadline_seconds: Annotated[StrictInt, Field(ge=1)] | None = None
    #: ``candidate``: that tree and no other; ``change``: what it changes on the target, wherever the target is
    binds: Literal["candidate", "change"] = "candidate"


@dataclass(frozen=True, config=_STRICT)
class Policy:
    """All of the file; every part has defaults."""

    actions: Actions = Field(default_factory=Actions)
    paths: tuple[PathRule, ...] = ()
    patterns: Patterns = Field(default_factory=Patterns)
    approval: Approval = Field(default_factory=Approval)


@cache
def _adapter() -> TypeAdapter[Policy]:
    """Built on first use: most commands judge nothing."""
    return TypeAdapter(Policy)


def load_policy(work_tree: Path) -> Policy:
    """The policy of a repository; the defaults where it has no file.

    Raises:
        BadInput: with every problem in ``details.problems``.
    """
    data = _bytes(work_tree)
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _refusal([_problem(data.count(b"\n", 0, error.start) + 1, "", "should be UTF-8 text")]) from None
    return parse_policy(text)


def parse_policy(text: str) -> Policy:
    """The policy that ``text`` describes. Raises as :func:`load_policy`."""
    document = read(text, GOVERNANCE_FILE)
    problems = list(document.problems)
    values = {key: value for key, value in document.values.items() if value is not None}
    try:
        policy = _adapter().validate_python(values)
    except ValidationError as errors:
        found = [explain(error, document.texts.get, _keys) for error in errors.errors(include_url=False)]
        problems += [_of_key(document, *one) for one in found]
    else:
        problems += _between(document, policy)
    if problems:
        raise _refusal(sorted(problems, key=lambda problem: problem.line))
    return policy


_keys = partial(schema.known_keys, root=Policy)


def _between(document: Document, policy: Policy) -> list[Problem]:
    """What no single key can tell."""
    names, people = policy.approval.approvers, policy.approval.people
    if names and len(set(names)) < people:
        return [_of_key(document, ("approval", "people"), str(people), "is more than there are approvers")]
    return []


def _of_key(document: Document, path: tuple[str | int, ...], value: str, message: str) -> Problem:
    return _problem(document.line(path), value, f"{'.'.join(str(step) for step in path)}: {message}")


def _problem(line: int, value: str, message: str) -> Problem:
    return Problem(GOVERNANCE_FILE, line, value, message)


def _bytes(work_tree: Path) -> bytes:
    try:
        return read_file(work_tree / GOVERNANCE_FILE)
    except OSError as error:
        raise _refusal([_problem(1, "", f"cannot be read: {error.strerror or error}")]) from None


def _refusal(problems: list[Problem]) -> BadInput:
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return BadInput(
        f"the policy is not good: {problems[0]}{more}",
        f"correct {GOVERNANCE_FILE}; docs/governance.md has every key",
        code="bad_policy",
        details={"problems": [problem.as_json() for problem in problems]},
    )
