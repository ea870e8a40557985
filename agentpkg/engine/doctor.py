"""What a machine and a repository have, and what they lack; each check for itself, so that one never hides another."""

import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from agentpkg.config import CONFIG_FILE, Loaded, load
from agentpkg.core.errors import AgentpkgError, Lacking
from agentpkg.core.model import FailureClass, State
from agentpkg.core.records import CheckStatus
from agentpkg.engine.project import Project
from agentpkg.git.discover import Repository, check_git_version, discover

#: bytes of free disk below which sessions are likely to fail, and below which they do
_LITTLE, _NOTHING = 1 << 30, 64 << 20

_OLDEST_PYTHON = (3, 11)

_REBUILD = "`agentpkg doctor --fix` or `agentpkg rebuild` makes it again; a damaged file is kept aside"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        status: ``fail`` where agentpkg cannot work, ``warn`` where it works with less.
        fix: what to do about it; empty when nothing is wrong.
    """

    name: str
    status: CheckStatus
    detail: str
    fix: str = ""

    def as_json(self) -> dict[str, Any]:
        """As ``doctor --json`` tells it."""
        return asdict(self)


class Doctor:
    """Looks at one place.

    Args:
        start: a folder in the repository.
        environ: the environment settings are read from.
    """

    def __init__(self, start: Path, environ: Mapping[str, str]) -> None:
        self._start = start
        self._environ = environ

    def findings(self) -> Iterator[Finding]:
        """Every check, one after another."""
        told: dict[str, str] = {}
        for name, check in self._checks().items():
            try:
                yield from check(name)
            except AgentpkgError as error:
                if error.message in told:
                    yield Finding(name, "skip", f"not looked at: see {told[error.message]}")
                else:
                    told[error.message] = name
                    yield Finding(name, "fail", error.message, error.hint)

    def _checks(self) -> dict[str, Callable[[str], Iterator[Finding]]]:
        always: dict[str, Callable[[str], Iterator[Finding]]] = {
            "python": _python, "git": _git, "repository": self._repository,
        }  # fmt: skip
        if not self._found:
            return {**always, "disk": self._disk}
        more = {"config": self._config, "ledger": self._ledger, "disk": self._disk, "isolation": self._isolation}
        if self._project is None:
            return {**always, **more}
        return {
            **always, **more, "policy": self._policy, "objects": self._objects, "nats-server": self._server,
            "relay": self._relay, "agents": self._agents, "sessions": self._sessions, "leftovers": self._leftovers,
            "features": self._features,
        }  # fmt: skip

    # ----------------------------------------------------------------- what is there

    @cached_property
    def _found(self) -> Repository | None:
        try:
            return discover(self._start)
        except AgentpkgError:
            return None

    @cached_property
    def _loaded(self) -> Loaded | None:
        try:
            return load(self._found.work_tree, self._environ) if self._found else None
        except AgentpkgError:
            return None

    @cached_property
    def _project(self) -> Project | None:
        if self._found is None or self._loaded is None:
            return None
        return Project(self._found, self._loaded, self._environ)

    @property
    def _here(self) -> Project:
        assert self._project is not None
        return self._project

    # ----------------------------------------------------------------- the checks

    def _repository(self, name: str) -> Iterator[Finding]:
        found = discover(self._start)
        shallow = ", shallow" if found.shallow else ""
        yield Finding(name, "pass", f"{found.work_tree} ({found.object_format}{shallow})")

    def _config(self, name: str) -> Iterator[Finding]:
        assert self._found is not None
        loaded = load(self._found.work_tree, self._environ)
        there = (self._found.work_tree / CONFIG_FILE).exists()
        if not there:
            yield Finding(name, "pass", "defaults (no .kittify/config.yaml)", "write one with `agentpkg init`")
        elif loaded.warnings:
            said = "; ".join(str(warning) for warning in loaded.warnings)
            yield Finding(name, "warn", said, "see `agentpkg config show`")
        else:
            yield Finding(name, "pass", CONFIG_FILE)
        project = Project(self._found, loaded, self._environ)
        target = loaded.settings.project.target_branch
        if project.branch_tip(target) is None:
            yield Finding(
                "target", "fail", f"there is no branch {target} to merge into",
                "make it (a first commit is needed), or set project.target_branch in .kittify/config.yaml",
            )  # fmt: skip

    def _policy(self, name: str) -> Iterator[Finding]:
        from agentpkg.config.governance import GOVERNANCE_FILE
        from agentpkg.git.signing import signing

        self._here.require_good_policy()
        there = (self._here.work_tree / GOVERNANCE_FILE).exists()
        yield Finding(name, "pass", GOVERNANCE_FILE if there else f"defaults (no {GOVERNANCE_FILE})")
        if self._here.settings.audit.sign:
            how = signing(self._here.work_tree)
            if how is None or not how.key:
                yield Finding("signing", "warn", "audit.sign is on, and git's configuration names no key to sign with",
                              "set user.signingKey and gpg.format, or turn audit.sign off")  # fmt: skip

    def _objects(self, name: str) -> Iterator[Finding]:
        """Whether git has what agentpkg will check out: the trees of the target and of packages, and all history."""
        here = self._here
        git, settings = here.repository.git, here.settings.project
        wanted = (f"refs/heads/{settings.target_branch}", f"refs/heads/{settings.branch_prefix}**")
        refs = git.run("for-each-ref", "--format=%(refname)", *wanted).text.split()
        if not refs:
            return
        trees = git.run("rev-list", "--objects", "--no-walk=unsorted", *refs, "--", ok=(0, 1, 128))
        history = git.run("rev-list", "--quiet", *refs, "--", ok=(0, 1, 128))
        bad = next((done for done in (trees, history) if done.returncode), None)
        if bad is None:
            yield Finding(name, "pass", f"nothing is missing from {len(refs)} branch{'es' if len(refs) > 1 else ''}")
        else:
            said = (bad.stderr.decode("utf-8", "replace").strip().splitlines() or ["git rev-list failed"])[-1]
            fix = "see `git fsck --full`; fetch what is missing, or bring it back from a backup or another clone"
            yield Finding(name, "fail", f"the repository is damaged: {said}", fix)

    def _ledger(self, name: str) -> Iterator[Finding]:
        from agentpkg.engine.upkeep import rebuilding
        from agentpkg.ledger.ledger import Ledger

        assert self._found is not None
        why = rebuilding.damage(self._project) if self._project is not None else None
        if why is not None:
            raise Lacking(why if "ledger" in why else f"the ledger: {why}", _REBUILD, code="ledger_damaged")
        ledger = Ledger.open_existing(self._found.state / "ledger.db")
        if ledger is None:
            yield Finding(name, "pass", "none yet: the first command that changes something makes it")
            return
        heads = ledger.heads()
        waiting = len(ledger.unsent(1000))
        entries = sum(number for number, _ in heads.values())
        unsent = f", {'1000 or more' if waiting == 1000 else waiting} events wait for a server" if waiting else ""
        yield Finding(name, "pass", f"{entries} entries of {len(heads)} features{unsent}")

    def _disk(self, name: str) -> Iterator[Finding]:
        free = shutil.disk_usage(self._found.work_tree if self._found else self._start).free
        detail = f"{free / 1e9:.1f} GB free"
        if free < _LITTLE:
            yield Finding(name, "fail" if free < _NOTHING else "warn", detail, "make room, or try `agentpkg clean`")
        else:
            yield Finding(name, "pass", detail)

    def _isolation(self, name: str) -> Iterator[Finding]:
        from agentpkg.isolation import choose, probe_all

        wanted = self._loaded.settings.isolation if self._loaded else None
        walls = choose(wanted.minimum if wanted else "basic", wanted.level if wanted else None)
        better = [probe for probe in probe_all().values() if not probe.works]
        if walls.level == "strong" or not better:
            yield Finding(name, "pass" if walls.level == "strong" else "warn", walls.detail)
        else:
            yield Finding(name, "warn", f"{walls.detail}; {better[0].detail}", better[0].fix)

    def _server(self, name: str) -> Iterator[Finding]:
        from agentpkg.bus.access import Settings, of_settings
        from agentpkg.bus.server import find_program

        nats = self._here.settings.nats
        own = of_settings(Settings.of(nats), self._here.work_tree)
        if own is not None:
            lost = own.credentials if own.credentials and not own.credentials.is_file() else None
            if lost:
                yield Finding(name, "fail", f"{lost} is missing", "correct nats.credentials in .kittify/config.yaml")
            else:
                yield Finding(name, "pass", f"the configured server {own.shown}")
            return
        try:
            yield Finding(name, "pass", str(find_program(nats.server)))
        except AgentpkgError as error:
            # everything but `events tail` works without one
            yield Finding(name, "warn", error.message, error.hint)

    def _relay(self, name: str) -> Iterator[Finding]:
        from agentpkg.relay import place

        told = place.read_status(self._here.state)
        if told.get("problem"):
            yield Finding(name, "warn", str(told["problem"]), "what waits is sent as soon as there is a server")
        elif told.get("pid") and place.send(told.get("socket") or "", {}):
            yield Finding(name, "pass", f"runs as process {told['pid']}, server {told.get('url') or 'not needed now'}")
        else:
            yield Finding(name, "pass", "does not run; it starts when there is something to publish")

    def _agents(self, name: str) -> Iterator[Finding]:
        from agentpkg.engine.agents import list_agents, unknown_harnesses

        found = list_agents(self._here)
        ready = [one.name for one in found if one.ready]
        default = self._here.settings.agent.harness
        for warning in unknown_harnesses(self._here):
            fix = "correct it in .kittify/config.yaml, or install the package that brings it"
            yield Finding("harness", "warn", warning, fix)
        lame = next((one for one in found if one.name == default and not one.ready), None)
        if lame is not None:
            yield Finding(name, "fail", f"the default agent {lame.name}: {lame.detail}", "see `agentpkg agents list`")
        elif not ready:
            fix = "put one under agents: in .kittify/config.yaml, see `agentpkg agents list`"
            yield Finding(name, "warn", "no agent is ready", fix)
        else:
            also = "" if default else "; no default one, so packages or --agent must name one"
            yield Finding(name, "pass", f"ready: {', '.join(ready)}{also}")

    def _sessions(self, name: str) -> Iterator[Finding]:
        ledger = self._here.ledger_if_any
        yield Finding(name, "pass", f"{len(ledger.sessions(live=True)) if ledger else 0} recorded as active")
        for row in ledger.packages() if ledger else ():
            if row.state is State.BLOCKED and row.reason_class is FailureClass.REPOSITORY:
                fix = f"look at it, undo what is not yours, then `agentpkg implement {row.feature} --wp {row.wp}`"
                yield Finding(name, "warn", f"{row.feature} {row.wp}: {row.reason}", fix)

    def _leftovers(self, name: str) -> Iterator[Finding]:
        """What ``doctor --fix`` would mend, each thing for itself, and what it would leave to a person."""
        from agentpkg.engine.upkeep import mending

        clean = True
        for repair in mending.look(self._here):
            for detail in repair.found:
                yield Finding(name, "warn", detail, "`agentpkg doctor --fix` mends it")
            for detail in repair.kept:
                yield Finding(name, "warn", detail, "look at it; remove it yourself once nothing in it is needed")
            clean = clean and not repair.found and not repair.kept
        if clean:
            yield Finding(name, "pass", "nothing to mend")

    def _features(self, name: str) -> Iterator[Finding]:
        from agentpkg.features.folder import load_all

        here = self._here
        found = load_all(here.work_tree, here.settings.project.features_dir, here.agents)
        bad = [feature.id for feature in found if feature.problems]
        if bad:
            yield Finding(name, "warn", f"with problems: {', '.join(bad)}", f"see `agentpkg status {bad[0]}`")
        else:
            yield Finding(name, "pass", f"{len(found)} found")


def _python(name: str) -> Iterator[Finding]:
    version = ".".join(map(str, sys.version_info[:3]))
    good = sys.version_info[:2] >= _OLDEST_PYTHON
    yield Finding(name, "pass" if good else "fail", f"{version} ({sys.executable})",
                  "" if good else "use Python 3.11 or newer")  # fmt: skip


def _git(name: str) -> Iterator[Finding]:
    from agentpkg.git.repo import git_program

    version = ".".join(map(str, check_git_version()))
    yield Finding(name, "pass", f"{version} ({git_program()})")


def look(start: Path | None, environ: Mapping[str, str]) -> list[Finding]:
    """Looks at a place, by default the current folder."""
    return list(Doctor(start or Path(os.getcwd()), environ).findings())
