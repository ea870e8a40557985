"""One repository as the engine sees it: its place, its settings, its ledger, its features, and who is asking."""

import math
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentpkg.checks.evidence import EvidenceStore
from agentpkg.config import Loaded, Settings, effective, known_agents, load
from agentpkg.core.errors import BadInput, Lacking, NotAllowed
from agentpkg.core.model import Feature, State
from agentpkg.core.records import PackageRow
from agentpkg.engine import actors, fixing, transition
from agentpkg.features.folder import FeatureRef, find_features, load_feature, require_good, resolve
from agentpkg.files import stamp
from agentpkg.git import refs
from agentpkg.git.audit import anchored, anchored_features
from agentpkg.git.control import open_control
from agentpkg.git.discover import Repository, discover
from agentpkg.git.identity import UserIdentity, user_identity
from agentpkg.git.repo import Git
from agentpkg.ledger.db import exists as ledger_exists
from agentpkg.ledger.db import gone
from agentpkg.ledger.ledger import Ledger, Transaction
from agentpkg.relay import client

if TYPE_CHECKING:
    from agentpkg.bus.listen import Wakeups
    from agentpkg.config.governance import Policy


@dataclass
class Project:
    """A repository in use by one command.

    Attributes:
        repository: where everything is.
        loaded: effective settings and their origins.
        environ: the command's environment.
        flags: settings of the command line, by dotted name.
    """

    repository: Repository
    loaded: Loaded
    environ: Mapping[str, str]
    flags: Mapping[str, Any] = field(default_factory=dict)
    _existing: Ledger | None = None
    _looked: float = -math.inf

    @property
    def settings(self) -> Settings:
        """The effective settings."""
        return self.loaded.settings

    @property
    def state(self) -> Path:
        """``<git common dir>/agentpkg``."""
        return self.repository.state

    @property
    def work_tree(self) -> Path:
        """The repository's main work tree."""
        return self.repository.work_tree

    @cached_property
    def ledger(self) -> Ledger:
        """The ledger, made on first use; commands that only read use :attr:`ledger_if_any`."""
        path = self.state / "ledger.db"
        if self.ledger_is_lost:
            raise gone(path)
        self.state.mkdir(mode=0o700, exist_ok=True)
        return Ledger.open(path)

    @property
    def ledger_if_any(self) -> Ledger | None:
        """The ledger, or None where no command has changed state yet; creates nothing.

        Raises:
            Lacking: there was one, and it is gone.
        """
        if "ledger" in self.__dict__:
            return self.ledger
        found = self.ledger_or_none
        if found is None and self.ledger_is_lost:
            raise gone(self.state / "ledger.db")
        return found

    @property
    def ledger_or_none(self) -> Ledger | None:
        """As :attr:`ledger_if_any`, also where the ledger is lost: for commands that look at what is left."""
        if "ledger" in self.__dict__:
            return self.ledger
        if self._existing is None:
            self._existing = Ledger.open_existing(self.state / "ledger.db")
        return self._existing

    @property
    def ledger_is_lost(self) -> bool:
        """There is no ledger, but sessions were begun, or git anchors a chain: there was one."""
        if ledger_exists(self.state / "ledger.db"):
            return False
        sessions = self.state / "sessions"
        return (sessions.is_dir() and any(sessions.iterdir())) or bool(anchored_features(self.repository))

    @cached_property
    def policy(self) -> "Policy":
        """``.kittify/governance.yaml``. Raises :class:`BadInput` with all its problems."""
        from agentpkg.config.governance import load_policy

        return load_policy(self.work_tree)

    def require_good_policy(self) -> None:
        """Raises :class:`BadInput` for a bad policy now, before work rests on it."""
        assert self.policy

    @cached_property
    def control(self) -> Git:
        """The control dir, in which content is read and candidates are made."""
        return open_control(self.repository, self.settings.worktree.filters)

    @cached_property
    def actor(self) -> str:
        """Who is asking."""
        ledger = self.ledger_if_any

        def owner(session: str) -> str | None:
            row = ledger.session(session) if ledger else None
            return row.agent if row else None

        return actors.current(self.environ, owner)

    @cached_property
    def user(self) -> UserIdentity:
        """The user's identity and ignore file, read once."""
        return user_identity(self.work_tree)

    def over(self, ledger: Ledger) -> "Project":
        """This project as another ledger knows it."""
        other = replace(self, _existing=None)
        other.__dict__["ledger"] = ledger
        return other

    def reread(self) -> "Project":
        """This project with configuration, policy and feature folders as they are now, and the same open ledger.

        Raises:
            BadInput: a bad configuration or policy, with all its problems.
        """
        fresh = replace(self, loaded=load(self.work_tree, self.environ, self.flags))
        for name in ("ledger", "_existing", "control", "actor", "user"):
            if name in self.__dict__:
                fresh.__dict__[name] = self.__dict__[name]
        fresh.require_good_policy()
        return fresh

    # ----------------------------------------------------------------- features

    @cached_property
    def refs(self) -> list[FeatureRef]:
        """Every feature folder."""
        return find_features(self.work_tree, self.settings.project.features_dir)

    @cached_property
    def agents(self) -> frozenset[str]:
        """The names a work package's ``agent`` may have."""
        return frozenset(known_agents(self.settings))

    def feature_id(self, name: str) -> str:
        """The id of the feature a person named. Raises :class:`BadInput` when it is unknown or ambiguous."""
        ledger = self.ledger_or_none
        registered = [row.id for row in ledger.features()] if ledger else []
        return resolve(self.refs, name, registered)

    def feature(self, name: str) -> Feature:
        """The feature a person named, read from its files, problems and all."""
        wanted = self.feature_id(name)
        return self.read(wanted)

    def read(self, feature_id: str) -> Feature:
        """A feature by id; one whose folder has vanished is empty. What has not changed is not read again."""
        for ref in self.refs:
            if ref.id == feature_id:
                registered = self.registered()
                now = (*(stamp(r.path) for r in self._needed(ref)), registered)
                if feature_id not in self._read or self._read[feature_id][0] != now:
                    loaded = load_feature(ref, self.work_tree, self.agents, registered)
                    self._read[feature_id] = (now, self.with_fixes(loaded))
                return self._read[feature_id][1]
        row = self.ledger_or_none.feature(feature_id) if self.ledger_or_none else None
        return Feature(id=feature_id, title=row.title if row else feature_id, path="")

    def with_fixes(self, feature: Feature) -> Feature:
        """The feature with the packages that were made to get its checks passed; they have no files."""
        ledger = self.ledger_or_none
        made = fixing.packages(feature, ledger, EvidenceStore(self.state / "evidence")) if ledger else {}
        return replace(feature, packages={**feature.packages, **made}) if made else feature

    @cached_property
    def _read(self) -> dict[str, tuple[object, Feature]]:
        return {}

    def _needed(self, ref: FeatureRef) -> list[FeatureRef]:
        """The folders that what is known of a feature was read from; all of them where it leans on others."""
        known = self._read.get(ref.id)
        packages = known[1].packages.values() if known else ()
        return self.refs if any("/" in d for p in packages for d in p.dependencies) else [ref]

    def registered(self) -> dict[str, set[str]]:
        """The packages that the ledger knows, by feature."""
        known: dict[str, set[str]] = {}
        for row in self.ledger_or_none.packages() if self.ledger_or_none else ():
            known.setdefault(row.feature, set()).add(row.wp)
        return known

    def good_feature(self, name: str) -> Feature:
        """As :meth:`feature`. Raises :class:`BadInput` with all problems when its files have any."""
        feature = self.feature(name)
        require_good(feature)
        return feature

    def target(self, feature: Feature) -> str:
        """The branch a feature merges into."""
        return effective(self.loaded, feature).target_branch

    def find_package(self, wp: str, feature: str | None) -> tuple[str, str]:
        """The feature id and package id that a person named, with or without a feature.

        Without one, packages that are doing, for_review or blocked are looked at first, then all.

        Raises:
            BadInput: no such package, or more than one.
        """
        if feature is not None:
            found = self.feature(feature)
            self._require_package(found, wp)
            return found.id, wp
        for candidates in (self._busy_packages(wp), self._all_packages(wp)):
            if len(candidates) == 1:
                return candidates[0], wp
            if candidates:
                raise BadInput(
                    f"{wp} is in {', '.join(candidates)}", f"name the feature: {candidates[0]} {wp}",
                    code="ambiguous_package", details={"features": candidates},
                )  # fmt: skip
        raise BadInput(f"no feature has a {wp}", "see `agentpkg features`", code="unknown_package")

    def _require_package(self, feature: Feature, wp: str) -> None:
        rows = {row.wp for row in self.ledger_if_any.packages(feature.id)} if self.ledger_if_any else set()
        if wp in feature.packages or wp in rows:
            return
        require_good(feature)
        known = sorted({*feature.packages, *rows})
        raise BadInput(
            f"{feature.id} has no {wp}", f"it has {', '.join(known) or 'no work packages'}",
            code="unknown_package", details={"known": known},
        )  # fmt: skip

    def _busy_packages(self, wp: str) -> list[str]:
        rows = self.ledger_if_any.packages() if self.ledger_if_any else []
        busy = (State.DOING, State.FOR_REVIEW, State.BLOCKED)
        return sorted(row.feature for row in rows if row.wp == wp and row.state in busy)

    def _all_packages(self, wp: str) -> list[str]:
        rows = self.ledger_if_any.packages() if self.ledger_if_any else []
        found = {row.feature for row in rows if row.wp == wp}
        return sorted(found | {ref.id for ref in self.refs if any(ref.path.glob(f"tasks/{wp}[-_.]*"))})

    # ----------------------------------------------------------------- state

    def register(self, tx: Transaction, feature: Feature) -> None:
        """Registers a feature and, before it, the features it depends on."""
        for other in sorted(
            {d.partition("/")[0] for p in feature.packages.values() for d in p.dependencies if "/" in d}
        ):
            if other != feature.id and tx.feature(other) is None:
                needed = self.read(other)
                require_good(needed)
                self._register(tx, needed)
        self._register(tx, feature)

    def _register(self, tx: Transaction, feature: Feature) -> None:
        if tx.feature(feature.id) is None:
            count, _ = anchored(self.repository, feature.id)
            if count:
                raise Lacking(
                    f"the ledger has lost {feature.id}: git anchors {count} entries of its chain",
                    "`agentpkg rebuild` makes it again from git, or bring it back from a backup",
                    code="ledger_lost",
                )
        transition.register(tx, feature, self.target(feature))

    def look_is_due(self, seconds: float) -> bool:
        """Whether the last look of this command, told by this very question, is so long ago; the first one is due."""
        now = time.monotonic()
        if now - self._looked < seconds:
            return False
        self._looked = now
        return True

    def ensure_registered(self, feature: Feature) -> None:
        """Registers a feature whose files say more than the ledger, in a transaction of its own."""
        require_good(feature)
        with self.ledger.write() as tx:
            before = tx.last_rowid()
            self.register(tx, feature)
            news = tx.last_rowid() > before
        if news:
            self.poke()

    def row(self, feature: str, wp: str) -> PackageRow:
        """A package's current row. Raises :class:`NotAllowed` when it is not registered."""
        row = self.ledger.package(feature, wp)
        if row is None:
            raise NotAllowed(f"{feature} {wp} is not registered yet", "start it with `agentpkg implement`")
        return row

    def require_person_without_ledger(self, act: str) -> None:
        """As :meth:`require_person`, where no ledger can say whose a session is: its folder does."""

        def owner(session: str) -> str | None:
            return session if (self.state / "sessions" / session).is_dir() else None

        actors.require_person(actors.current(self.environ, owner), act)

    def require_person(self, act: str) -> str:
        """The actor, who must be a person. Raises :class:`NotAllowed` for an agent."""
        actors.require_person(self.actor, act)
        return self.actor

    def poke(self) -> None:
        """Wakes the relay, which publishes what was recorded; starts one if there is none."""
        client.poke(self.state, self.settings.nats)

    def wakeups(self, feature: str, wake: Callable[[], None]) -> "Wakeups":
        """A thread that calls ``wake`` on any event of a feature; without a server it calls nobody."""
        return client.wakeups(self.state, self.settings.nats, feature, wake, self.work_tree)

    def target_tip(self, branch: str) -> str:
        """The commit at the tip of a target branch. Raises :class:`BadInput` when there is no such branch."""
        found = self.branch_tip(branch)
        if found is None:
            raise BadInput(
                f"there is no branch {branch} to merge into",
                "make it (a first commit is needed), or set project.target_branch",
                code="no_target",
            )
        return found

    def branch_tip(self, branch: str) -> str | None:
        """The commit at the tip of a branch, None when there is no such branch."""
        return refs.branch_tip(self.repository.git, branch)

    def branch_name(self, feature: str, wp: str) -> str:
        """``feat/003-auth-system-WP02``."""
        return f"{self.settings.project.branch_prefix}{feature}-{wp}"

    def worktree(self, feature: str, wp: str) -> Path:
        """The absolute path of a package's worktree."""
        return self.work_tree / self.settings.project.worktrees_dir / f"{feature}-{wp}"


def open_project(
    start: Path, environ: Mapping[str, str] | None = None, flags: Mapping[str, Any] | None = None
) -> Project:
    """The project around a folder.

    Args:
        start: any folder inside the repository or one of its worktrees.
        environ: the environment to read settings from; this process's by default.
        flags: settings from the command line, by dotted name.

    Raises:
        Lacking: no usable repository.
        BadInput: a bad configuration, with all its problems.
    """
    repository = discover(start)
    variables = os.environ if environ is None else environ
    return Project(repository, load(repository.work_tree, variables, flags or {}), variables, flags or {})
