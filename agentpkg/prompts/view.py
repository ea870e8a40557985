"""The names that a prompt template may use, as plain dictionaries. They are a contract with users' own templates."""

import re
from typing import Any, get_args

from agentpkg.config.governance import Class
from agentpkg.config.policy import always_forbidden, commit_expression
from agentpkg.core.model import State
from agentpkg.core.records import CheckResult
from agentpkg.features.spec import find_requirements
from agentpkg.prompts.context import Change, Neighbour, PriorWork, PromptContext
from agentpkg.prompts.markdown import demoted, shortened
from agentpkg.prompts.policy import told
from agentpkg.prompts.relevant import plan_sections

# bounds on what comes from elsewhere, in characters or lines
_OVERVIEW = 4_000
_PLAN = 16_000
_QUOTED = 12_000
_PATHS = 40
_SURFACE = 60
_SUBJECTS = 20


def view_of(context: PromptContext) -> tuple[dict[str, Any], list[str]]:
    """The template's names and values, and warnings about what is missing or cut."""
    package = context.package
    found, missing = find_requirements(context.feature.spec, package.requirement_refs)
    decisions = _decisions(context)
    view = {
        "feature": _feature(context),
        "wp": {
            "id": package.id,
            "title": one_line(package.title),
            "deliverables": list(package.deliverables),
            "acceptance": list(package.acceptance),
            "subtasks": list(package.subtasks),
        },
        "requirements": [{"ref": one.ref, "text": demoted(one.text, 4)} for one in dict.fromkeys(found)],
        "missing_requirements": missing,
        "success_criteria": demoted(context.feature.spec.success_criteria, 4),
        "dependencies": [_neighbour(one) for one in context.dependencies],
        "dependents": [_neighbour(one) for one in context.dependents],
        # cut first: what is made Markdown afterwards closes a code block that the cut opened
        "decisions": demoted(shortened(decisions, _PLAN), 4),
        **_governance(context),
        "project": context.settings.project.name or "",
        "branch": context.branch,
        "target": context.target,
        "variables": sorted(context.variables),
        "changes": [_change(one) for one in context.changes],
        "prior": _prior(context.prior) if context.prior else None,
        "task": demoted(package.body),
        "time": duration(context.timeout_seconds),
    }
    warnings = [f"{package.path}: {ref} is not in the specification" for ref in missing]
    if len(decisions) > _PLAN:
        warnings.append(f"what plan.md says of {package.id} is cut to {_PLAN} characters")
    return view, warnings


def duration(seconds: int) -> str:
    """``1 hour 30 minutes`` for 5400; the two largest units."""
    parts = []
    for name, size in (("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1)):
        count, seconds = divmod(seconds, size)
        if count:
            parts.append(f"{count} {name}{'s' if count > 1 else ''}")
    return " ".join(parts[:2]) or "no time"


def one_line(text: str) -> str:
    """``text`` on one line, so that it can stand in a heading or a list item."""
    return " ".join(text.split())


def _feature(context: PromptContext) -> dict[str, Any]:
    feature = context.feature
    return {
        "id": feature.id,
        "title": one_line(feature.title),
        "overview": demoted(shortened(feature.spec.overview, _OVERVIEW)),
        "done": context.done,
        "total": context.total,
    }


def _governance(context: PromptContext) -> dict[str, Any]:
    settings, package = context.settings, context.package
    constraints = settings.agent.constraints
    forbidden = [*always_forbidden(settings), *constraints.forbidden_paths, *package.forbidden_paths]
    return {
        "constitution": demoted(_without_title(context.constitution), 4),
        "may": {"allowed": list(constraints.allowed_paths), "owned": list(package.owned_files)},
        "may_not": {
            "paths": list(dict.fromkeys(path.removeprefix("/") for path in forbidden)),
            "commands": list(constraints.forbidden_commands),
            "max_file_size": constraints.max_file_size,
        },
        "policy": {
            kind: [(one_line(what), paths) for what, paths in told(context.policy, kind)]
            for kind in get_args(Class)
            if kind != "autonomous"
        },
        "checks": [{"name": check.name, "run": one_line(check.run)} for check in settings.review.checks],
        "commits": _commits(context),
    }


def _commits(context: PromptContext) -> dict[str, Any]:
    expression = commit_expression(context.settings, context.package.id)
    scope = context.package.id
    candidates = [f"feat({scope}): add the endpoint", f"{scope}: add the endpoint", f"feat: add the endpoint ({scope})"]
    return {"pattern": expression.pattern, "examples": [one for one in candidates if expression.search(one)][:1]}


def _without_title(text: str) -> str:
    """A constitution without its first-level title: the section has one."""
    return re.sub(r"\A\s*# [^\n]*\n", "", text)


def _decisions(context: PromptContext) -> str:
    parts = [
        f"{'#' * level} {heading}\n\n{text}"
        for heading, level, text in plan_sections(context.feature.plan, context.package)
    ]
    return "\n\n".join(parts)


def _neighbour(one: Neighbour) -> dict[str, Any]:
    return {"id": one.id, "title": one_line(one.title), "state": str(one.state), "done": one.state is State.DONE}


def _change(one: Change) -> dict[str, Any]:
    return {
        "wp": one.wp,
        "title": one_line(one.title),
        "commit": one.commit,
        "subjects": _first(one.subjects, _SUBJECTS),
        "paths": _first(one.paths, _PATHS),
        "surface": _first(one.surface, _SURFACE),
    }


def _prior(prior: PriorWork) -> dict[str, Any]:
    findings = [_finding(one) for one in prior.findings if one.status in ("fail", "warn")]
    return {
        "attempt": prior.attempt,
        "reason": " ".join(prior.reason.split()),
        "findings": shortened("\n".join(findings), _QUOTED),
        "conflict": prior.conflict,
        "feedback": shortened(prior.feedback.strip(), _QUOTED),
        "told": shortened("\n\n".join(text.strip() for text in prior.told), _QUOTED),
        "commits": _first(prior.commits, _SUBJECTS),
        "files": _first(prior.files, _PATHS),
        "failure": shortened(prior.failure.strip(), _QUOTED),
        "left": {"paths": list(prior.left.paths), "here": prior.left.here} if prior.left else None,
        "hand_off": shortened(prior.hand_off.strip(), _QUOTED),
    }


def _finding(one: CheckResult) -> str:
    return f"{one.status} {one.group}/{one.name}: {one.detail}".rstrip(": ")


def _first(lines: tuple[str, ...], most: int) -> list[str]:
    more = len(lines) - most
    return [*lines[:most], f"… and {more} more"] if more > 0 else list(lines)
