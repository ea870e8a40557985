"""Results of earlier reviews that still hold, by content: what looks at the same gives the same.

A result is bound to what it looked at, part by part (:func:`command_parts`). One that passed is taken again when every
part is the same; one that failed runs again. What a result was bound to stands in its evidence, and its evidence's id
in the audit chain, so nothing else is remembered.
"""

import json
import os
import platform
import re
import sys
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from agentpkg import __version__
from agentpkg.checks import junit
from agentpkg.checks.base import RULES, TEST_QUALITY, CheckSpec, Finding, ReviewContext, digest
from agentpkg.checks.command import Ran
from agentpkg.checks.copy import Override
from agentpkg.checks.evidence import EvidenceStore
from agentpkg.checks.integrity.judgement import SUMMARY
from agentpkg.checks.safexml import BadReport
from agentpkg.core.records import CheckResult

_GIT = re.compile(r"\bgit\b|\bpre-commit\b|\bcommitlint\b|setuptools[_-]scm")

Parts = Mapping[str, str]


def reviewer() -> str:
    """Who judges: this program, its rules, and what it runs on."""
    return f"agentpkg {__version__}, rules {RULES}, Python {platform.python_version()}, {sys.platform}"


def command_parts(
    context: ReviewContext, tree: str, overrides: Sequence[Override], spec: CheckSpec, level: str | None
) -> dict[str, str]:
    """What the result of a command is bound to, a hash for each part.

    A command that names git looks at commits as well, any other at files only.

    Args:
        tree: the candidate's tree.
        overrides: what its copy has from the target.
        level: the level of isolation.
    """
    environment = {**context.environment, "PATH": os.environ.get("PATH", "")}
    history = [context.head, context.base] if _GIT.search(spec.run) else []
    instead = [[o.path, o.shown and o.shown.oid, o.own and o.own.oid] for o in overrides]
    return {
        "files": digest([tree, instead]),
        "history": digest(history),
        "definition": digest([spec.run, spec.report, spec.minimum_tests, spec.timeout_seconds]),
        "set-up": digest([list(context.definitions.setup), environment]),
        "isolation": digest(level),
        "reviewer": digest(reviewer()),
    }  # fmt: skip


def integrity_parts(
    context: ReviewContext, trees: tuple[str, str], commands: Sequence[Parts], level: str | None
) -> dict[str, str]:
    """What the findings about the tests are bound to: all commands, and the target's files beside the candidate's."""
    wp = context.wp
    said = [wp.title, wp.body, list(wp.owned_files), list(wp.deliverables), dict(context.requirements)]
    return {
        "files": digest(trees), "plan": digest(said), "commands": digest(list(commands)),
        "rules": digest(asdict(context.definitions.integrity)), "reviewer": digest(reviewer()),
        "isolation": digest(level),
    }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Bindings:
    """What the results of one review are bound to.

    Attributes:
        tree: the candidate's.
        commands: in the order of the commands.
    """

    tree: str
    commands: tuple[Parts, ...]
    integrity: Parts

    @classmethod
    def of(
        cls, context: ReviewContext, overrides: Sequence[Override], specs: Sequence[CheckSpec], level: str | None
    ) -> "Bindings":
        """Finds out what the results of a review will be bound to."""
        names = [f"{commit}^{{tree}}" for commit in (context.base, context.candidate)]
        base, tree = context.control.text("rev-parse", "--revs-only", "--end-of-options", *names).split()
        commands = tuple(command_parts(context, tree, overrides, spec, level) for spec in specs)
        return cls(tree, commands, integrity_parts(context, (base, tree), commands, level))


def changed(then: Parts, now: Parts) -> list[str]:
    """The parts that are otherwise by now."""
    return sorted(part for part in then.keys() | now.keys() if then.get(part) != now.get(part))


class Known:
    """Results of earlier reviews of one package, the newest first, that may be taken again."""

    def __init__(self, results: Iterable[CheckResult], store: EvidenceStore) -> None:
        self.store = store
        self._results: dict[str, list[CheckResult]] = {}
        for one in results:
            self._results.setdefault(one.name, []).append(one)

    def find(
        self, name: str, parts: Parts, statuses: Container[str] = ("pass",)
    ) -> tuple[str, Mapping[str, Any]] | None:  # fmt: skip
        """The evidence of a result of one of these statuses that is bound to the very same, with its id."""
        for one in self._results.get(name, ()):
            document = read(self.store, one.evidence) if one.status in statuses else {}
            if one.evidence and document.get("bound_to") == dict(parts):
                return one.evidence, document
        return None

    def command(self, spec: CheckSpec, parts: Parts) -> Ran | None:
        """A command's earlier pass, reports and all."""
        found = self.find(spec.name, parts)
        if found is None:
            return None
        evidence, document = found
        data = document["data"]
        raw, coverage = (self._bytes(document.get(key)) for key in ("report", "coverage_report"))
        if (raw is None, coverage is None) != ("report" not in document, "coverage_report" not in document):
            return None
        try:
            tests = junit.parse(raw) if raw is not None else None
        except BadReport:
            return None
        said = {**data, "reused": data.get("reused", evidence)}
        finding = Finding(spec.group, spec.name, "pass", document["detail"], said)
        return Ran(
            spec, finding, tests, raw, coverage, tuple(document.get("roots", ())), data.get("exit_code"),
            data.get("milliseconds", 0),
        )  # fmt: skip

    def findings(self, parts: Parts) -> list[Finding] | None:
        """Earlier findings about the tests of the very same, where none of them refused."""
        found = self.find(SUMMARY, parts)
        told = found[1]["data"].get("findings") if found else None
        if found is None or told is None or any(one["status"] == "fail" for one in told):
            return None
        summary = Finding(TEST_QUALITY, SUMMARY, "pass", found[1]["detail"], {**found[1]["data"], "reused": found[0]})
        return [*(Finding(TEST_QUALITY, o["name"], o["status"], o["detail"], o["data"]) for o in told), summary]

    def _bytes(self, evidence: str | None) -> bytes | None:
        return self.store.get(evidence) if evidence else None


def read(store: EvidenceStore, evidence: str | None) -> dict[str, Any]:
    """An evidence document; empty where there is none that can be read."""
    raw = store.get(evidence) if evidence else None
    try:
        document = json.loads(raw) if raw else {}
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}
