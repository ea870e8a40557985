"""Instructions to a working agent: given at once where its harness takes one, and kept for the next try in any case.

An instruction is an entry of the feature (``kind: told``) that names its text by hash. For a session that can take it,
it also lies in the session's folder, where the supervisor finds it.
"""

from dataclasses import dataclass
from typing import Any

from agentpkg.core import states
from agentpkg.core.errors import BadInput, NotAllowed
from agentpkg.core.model import State
from agentpkg.core.records import PackageRow
from agentpkg.engine import transition
from agentpkg.engine.judging import frozen
from agentpkg.engine.project import Project
from agentpkg.engine.supervising import control
from agentpkg.engine.supervising.plan import read_plan
from agentpkg.harnesses import harness_named
from agentpkg.harnesses.base import Hearing
from agentpkg.ledger.reading import Reader


@dataclass(frozen=True, slots=True)
class Told:
    """An instruction was recorded.

    Attributes:
        session: the session that gets it while it works; None: it is kept for the next try.
    """

    feature: str
    wp: str
    session: str | None

    def as_json(self) -> dict[str, Any]:
        """The document of ``tell --json``."""
        kept = "running" if self.session else "next"
        return {"feature": self.feature, "wp": self.wp, "session": self.session, "delivered": kept}


def tell(project: Project, feature: str, wp: str, text: str) -> Told:
    """Gives a package's agent an instruction.

    Raises:
        NotAllowed: an agent asks, or nobody will work on the package any more.
        BadInput: there is nothing to tell, or too much.
    """
    actor = project.require_person(f"tell {wp} something")
    _require_bearable(text)
    if project.ledger.package(feature, wp) is None:
        project.ensure_registered(project.good_feature(feature))
    row = project.row(feature, wp)
    if row.state in (State.DONE, State.CANCELLED):
        raise NotAllowed(f"{wp} is {row.state}; nobody will read it", states.next_step(row), code="nobody_listens")
    session = _listening(project, row)
    said = {"text": frozen.store(project).put(text.encode()), "session": session}
    with project.ledger.write() as tx:
        entry = transition.note(tx, feature, "told", actor, {k: v for k, v in said.items() if v}, wp=wp)
    if session is not None:
        control.instruct(project.state, session, entry.seq, text)
    project.poke()
    return Told(feature, wp, session)


def kept(project: Project, ledger: Reader, feature: str, wp: str) -> list[str]:
    """What people told a package's agents since it was last planned, in order: it holds for every further try."""
    told = [entry for entry in ledger.noted(feature, "told") if entry.metadata.get("wp") == wp]
    planned = _last_planned(ledger, feature, wp) if told else 0
    texts = (frozen.store(project).get(str(entry.metadata["text"])) for entry in told if entry.id > planned)
    return [data.decode("utf-8", "replace") if data else "(its text is gone)" for data in texts]


def _require_bearable(text: str) -> None:
    if not text.strip():
        raise BadInput("there is nothing to tell", "write it behind the package, in quotes", code="empty_text")
    if len(text.encode()) > control.LONGEST:
        raise BadInput(
            f"{len(text.encode())} bytes are too much to tell", f"at most {control.LONGEST}; put more into its file",
            code="text_too_long",
        )  # fmt: skip


def _listening(project: Project, row: PackageRow) -> str | None:
    """The package's session, if it runs and its harness takes instructions while it does."""
    if row.state is not State.DOING or row.session is None:
        return None
    try:
        plan = read_plan(project.state / "sessions" / row.session)
    except FileNotFoundError:
        # it is just being made; its prompt is written already
        return None
    takes = isinstance(harness_named(plan.harness).reader(None), Hearing)
    return row.session if takes and plan.launch.get("keep_stdin") else None


def _last_planned(ledger: Reader, feature: str, wp: str) -> int:
    found = 0
    for entry in ledger.entries(feature, wp=wp):
        if entry.transition.endswith("->planned"):
            found = entry.id
    return found
