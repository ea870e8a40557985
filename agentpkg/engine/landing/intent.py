"""What is about to land, written down before the target moves: who finds it after a crash records it, or forgets it."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from agentpkg import files
from agentpkg.engine.project import Project

_NAME = "landing-intent.json"
_LIMIT = 1 << 20


@dataclass(frozen=True, slots=True)
class Piece:
    """One package of a batch: its own candidate and what it stands on, branch tip and definitions."""

    wp: str
    candidate: str
    base: str
    head: str
    definitions: str


@dataclass(frozen=True, slots=True)
class Intent:
    """What is about to land, enough to record it afterwards."""

    feature: str
    #: the package, of a batch the last one
    wp: str
    actor: str
    target: str
    #: the commit that the target moves to and the one it was at, branch tip and strategy
    candidate: str
    base: str
    head: str
    strategy: str
    #: a person's reason in place of an approval
    forced: str | None
    definitions: str
    #: the remote that it is pushed to
    remote: str | None = None
    #: the question that people answered, and who approved
    approved: Mapping[str, Any] = field(default_factory=dict)
    #: those that land together, in order; empty: one package alone
    batch: tuple[Piece, ...] = ()

    @property
    def pieces(self) -> tuple[Piece, ...]:
        """Every package of it."""
        return self.batch or (Piece(self.wp, self.candidate, self.base, self.head, self.definitions),)

    def facts(self) -> dict[str, Any]:
        """Metadata of the ``done`` entry besides what its warrant says."""
        return {
            "strategy": self.strategy,
            # whoever landed it by hand stands for it; agentpkg's own landings rest on the review, and on who was asked
            **({"remote": self.remote} if self.remote else {}),
            **({"batch": {"tip": self.candidate, "packages": [one.wp for one in self.batch]}} if self.batch else {}),
            **({"approved_by": by} if (by := self._approved_by()) else {}), **self.approved,
        }  # fmt: skip

    def _approved_by(self) -> str:
        if self.actor.startswith("human:"):
            return self.actor
        return ", ".join(self.approved.get("approvals", ()))


def there(project: Project) -> bool:
    """Whether a landing left its intent behind, or one is under way."""
    return (project.state / _NAME).exists()


def left_behind(project: Project) -> bool:
    """Whether a landing was cut short, or one is under way: cheap to ask, for every command does."""
    return there(project) or any((project.state / "landing").glob("*.json"))


def write(project: Project, intent: Intent) -> None:
    """Puts an intent on the disk."""
    files.write_atomic(project.state / _NAME, json.dumps(asdict(intent)), sync=True)


def read(project: Project) -> Intent | None:
    """The intent that is there, None when there is none; one that a damaged disk has spoiled is moved aside."""
    path = project.state / _NAME
    try:
        said = json.loads(files.read_bounded(path, _LIMIT))
        return Intent(**{**said, "batch": tuple(Piece(**one) for one in said.get("batch", ()))})
    except FileNotFoundError:
        return None
    except (ValueError, TypeError):
        # every command would stop at it; what had landed is on the target, and the next review of the package sees it
        path.replace(path.with_suffix(".damaged"))
        return None


def forget(project: Project) -> None:
    """Takes the intent away: what it tells is recorded, or has not happened."""
    (project.state / _NAME).unlink(missing_ok=True)
