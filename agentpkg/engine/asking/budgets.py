"""What a feature's agents have spent and may spend: looked up before a dispatch, by a run, and for whoever looks.

What is spent is read from the sessions that have ended and, of those that live, from their last sign of life. Whether
a budget that is used up may be overdrawn is for the policy (``actions.spending``): never, after a question, or always.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentpkg.core import questions, spending
from agentpkg.core.errors import NotAllowed
from agentpkg.core.model import Feature
from agentpkg.core.records import QuestionRow, SessionRow
from agentpkg.core.spending import Caps, Over, Spent
from agentpkg.engine import transition
from agentpkg.engine.transition.questions import Asked
from agentpkg.ledger.reading import Reader
from agentpkg.sessions.pulse import read_pulse

if TYPE_CHECKING:
    # a supervisor, which has no use for a project, must not pay for its configuration
    from agentpkg.engine.project import Project

Amounts = Mapping[str, Decimal]

#: the kind of entry that tells what the review of a package by an agent has used
REVIEWED = "agent_review"


def configured(project: "Project", feature: Feature) -> dict[str, dict[str, Decimal]]:
    """The budgets that hold for a feature: its own meta's before the configuration's."""
    found: dict[str, dict[str, Decimal]] = {}
    for scope in spending.SCOPES:
        amounts = getattr(project.settings.budget, scope)
        given = {unit: str(value) for unit in spending.UNITS if (value := getattr(amounts, unit)) is not None}
        if scope == "feature":
            given |= feature.budget
        if given:
            found[scope] = {unit: Decimal(text) for unit, text in given.items()}
    return found


def caps(project: "Project", feature: Feature, wp: str, look: Reader) -> dict[str, dict[str, Decimal]]:
    """The budgets with what people have granted beyond them."""
    found = configured(project, feature)
    for question in look.questions(feature.id, kind=questions.SPENDING) if found else ():
        said = question.details
        known = found.get(str(said.get("scope")), {})
        ours = said.get("scope") == "feature" or question.wp == wp
        # what was granted on top of another budget is none of this one's
        if ours and question.answer == questions.YES and str(known.get(str(said["unit"]))) == said["configured"]:
            known[str(said["unit"])] = Decimal(str(said["granted"]))
    return found


def usage_of(state: Path, row: SessionRow) -> Mapping[str, Any]:
    """What a session has used so far, as far as that was told."""
    if row.ended_at is not None:
        return row.usage
    pulse = read_pulse(state / "sessions" / row.id)
    return pulse.used if pulse is not None else {}


def usages(state: Path, look: Reader, feature: str, but: str = "") -> list[tuple[str, Mapping[str, Any]]]:
    """What each session of a feature, and each review by an agent, has used, with its package.

    Args:
        but: a session that does not count.
    """
    found = [(row.wp, usage_of(state, row)) for row in look.sessions(feature) if row.id != but]
    reviews = [entry.metadata for entry in look.noted(feature, REVIEWED)]
    return found + [(str(said.get("wp")), said.get("usage") or {}) for said in reviews]


def spent(used: Sequence[tuple[str, Mapping[str, Any]]], wp: str) -> dict[str, Amounts]:
    """What a package and its feature have used."""
    return {
        "package": spending.together(usage for name, usage in used if name == wp).amounts,
        "feature": spending.together(usage for _, usage in used).amounts,
    }


def by_package(used: Sequence[tuple[str, Mapping[str, Any]]]) -> dict[str, Spent]:
    """What each package has used."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for wp, usage in used:
        found.setdefault(wp, []).append(usage)
    return {wp: spending.together(each) for wp, each in found.items()}


def over(project: "Project", feature: Feature, wp: str, look: Reader | None = None) -> Over | None:
    """The budget that keeps a package's next session from starting; None when nothing does."""
    if not configured(project, feature) or project.policy.actions.spending == "autonomous":
        return None
    look = look or project.ledger
    return spending.over(caps(project, feature, wp, look), spent(usages(project.state, look, feature.id), wp))


def require_room(project: "Project", feature: Feature, wp: str) -> None:
    """Raises :class:`NotAllowed` when a budget is used up; where the policy says so, people are asked for more."""
    found = over(project, feature, wp)
    if found is None:
        return
    if project.policy.actions.spending == "approval":
        question = _ask(project, feature, wp, found)
        name = questions.name(question.number)
        no = question.state != "open"
        raise NotAllowed(
            f"{wp}: {found}; {f'{name} was answered no' if no else f'{name}: a person must allow more'}",
            f"raise {found.key}" if no else f"`agentpkg answer {name} yes`, or raise {found.key}",
            code="budget_spent", details={"question": question.number},
        )  # fmt: skip
    own = ", or `budget` in the feature's meta" if found.scope == "feature" else ""
    raise NotAllowed(f"{wp}: {found}", f"raise {found.key} in .kittify/config.yaml{own}", code="budget_spent")


def _ask(project: "Project", feature: Feature, wp: str, found: Over) -> QuestionRow:
    """The question about more of a budget: the one there is for this amount, else a new one."""
    basis = configured(project, feature)[found.scope][found.unit]
    subject = f"{found.key} {spending.shown(found.cap)}"
    with project.ledger.write() as tx:
        row = transition.require(tx, feature.id, wp)
        same = [q for q in tx.questions(feature.id, kind=questions.SPENDING) if q.subject == subject]
        same = [q for q in same if q.state in ("open", "answered") and (found.scope == "feature" or q.wp == wp)]
        if same:
            return same[-1]
        more = f"{spending.shown(basis)} {spending.UNITS[found.unit]}"
        question = transition.questions.ask(tx, row, Asked(
            questions.SPENDING, subject, f"{found}; may it use {more} more?",
            {"scope": found.scope, "unit": found.unit, "configured": str(basis), "granted": str(found.cap + basis)},
            approvers=tuple(f"human:{login}" for login in project.policy.approval.approvers),
        ))  # fmt: skip
    project.poke()
    return question


def plan(project: "Project", feature: Feature, wp: str) -> dict[str, dict[str, str]]:
    """What holds for a session of a package while it runs, amounts as text."""
    if project.policy.actions.spending == "autonomous":
        return {}
    found = caps(project, feature, wp, project.ledger)
    return {scope: {unit: str(cap) for unit, cap in units.items()} for scope, units in found.items()}


def allowance(project: "Project", feature: Feature, wp: str) -> dict[str, str]:
    """What one more session of a package may use, amounts as text."""
    found = from_plan(plan(project, feature, wp))
    rest = spending.left(found, spent(usages(project.state, project.ledger, feature.id), wp)) if found else {}
    return {unit: spending.shown(amount) for unit, amount in rest.items()}


def from_plan(texts: Mapping[str, Mapping[str, str]]) -> Caps:
    """Budgets out of a session's plan."""
    return {scope: {unit: Decimal(text) for unit, text in units.items()} for scope, units in texts.items()}
