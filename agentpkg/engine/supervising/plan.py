"""The plan of one session, frozen by its dispatcher and read by its supervisor: ``launch.json`` in its folder.

No secret value is in it; those come to the supervisor through its standard input, and live in memory only.
"""

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from agentpkg.core.scope import Scope
from agentpkg.files import read_bounded, write_atomic
from agentpkg.git.discover import Repository
from agentpkg.harnesses.base import Fault, Job

FILE = "launch.json"
_LIMIT = 64 << 20

#: Crockford's base 32 in lower case, as ULIDs are written (github.com/ulid/spec)
_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"


@dataclass(frozen=True, slots=True)
class SessionPlan:
    """Everything a supervisor needs to know.

    Attributes:
        job: what the agent is to do; its prompt lies in a file of its own.
        launch: the process that does it, as :meth:`agentpkg.harnesses.base.Launch.as_json` gives it.
        repository: places of the repository, as text.
        private: the agent's private git dir.
        old_head: the branch's tip at dispatch.
        base: the target's tip at dispatch.
        environment: configured variables without secrets; those with secrets come on standard input.
        secret_names: the secrets that the agent gets; commits are searched for their values.
        setup: shell commands to run in the worktree before the agent.
        limits: of this session, as configured.
        run_limits: of all live sessions together, as configured.
        walls: what the probe of ``isolation`` found, see :class:`agentpkg.isolation.Probe`.
        mounts: more paths of the machine that the agent may read.
        network: what it may reach where the level cuts the network, see :mod:`agentpkg.core.hosts`.
        undecided: what becomes of wishes to reach something else: ``forbidden``, ``approval`` or ``autonomous``.
        features_dirs: folders whose files no session may change.
        filters: git filters of the user's configuration that may run.
        carried: commits on the branch beyond the target that a failure of the environment left.
        snapshot_seconds: between two snapshots while the agent works; 0: none.
        budget: what may be spent, amounts as text by scope and unit.
        asking: how its agent's questions are put: ``deadline_seconds``, ``default``, ``approvers``.
        faults: exit codes of the agent that say whose its failure is, as ``{"75": "provider"}``.
    """

    job: Mapping[str, Any]
    launch: Mapping[str, Any]
    repository: Mapping[str, Any]
    agent_name: str
    harness: str
    private: str
    branch: str
    old_head: str
    base: str
    target: str
    timeout_seconds: int
    kill_grace_seconds: int
    isolation: str = "basic"
    walls: Mapping[str, str] = field(default_factory=dict)
    mounts: tuple[str, ...] = ()
    network: tuple[str, ...] = ()
    undecided: str = "forbidden"
    environment: Mapping[str, str] = field(default_factory=dict)
    secret_names: tuple[str, ...] = ()
    setup: tuple[str, ...] = ()
    limits: Mapping[str, Any] = field(default_factory=dict)
    run_limits: Mapping[str, Any] = field(default_factory=dict)
    features_dirs: tuple[str, ...] = ()
    filters: tuple[str, ...] = ()
    carried: int = 0
    snapshot_seconds: int = 0
    faults: Mapping[str, Fault] = field(default_factory=dict)
    asking: Mapping[str, Any] = field(default_factory=dict)
    budget: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @property
    def session(self) -> str:
        """The session's id."""
        return str(self.job["session"])

    @property
    def worktree(self) -> Path:
        """The package's worktree, where the agent works."""
        return Path(self.job["worktree"])

    def as_job(self, prompt: str) -> Job:
        """The job, with its prompt."""
        return Job(**{**self.job, "scope": Scope.from_json(self.job["scope"])}, prompt=prompt)

    def as_repository(self) -> Repository:
        """The repository as its dispatcher found it."""
        return Repository(
            work_tree=Path(self.repository["work_tree"]), common_dir=Path(self.repository["common_dir"]),
            state=Path(self.repository["state"]), object_format=self.repository["object_format"],
            shallow=self.repository["shallow"],
        )  # fmt: skip

    def write(self, folder: Path) -> None:
        """Writes the plan into the session's folder."""
        write_atomic(folder / FILE, json.dumps(asdict(self), indent=1, sort_keys=True, default=str), sync=True)


def read_plan(folder: Path) -> SessionPlan:
    """The plan of the session in a folder.

    Raises:
        FileNotFoundError: there is none yet.
        ValueError, KeyError, TypeError: it is torn, or something else stands in its place.
    """
    values = _moved(json.loads(read_bounded(folder / FILE, _LIMIT)), folder)
    for key in ("setup", "features_dirs", "secret_names", "filters", "mounts", "network"):
        values[key] = tuple(values[key])
    return SessionPlan(**values)


def _moved(values: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The plan with the places of today, where the repository was moved since it was written."""
    before = {key: Path(values["repository"][key]) for key in ("state", "common_dir", "work_tree")}
    state = folder.parent.parent
    if state == before["state"]:
        return values
    now = {"state": state, "common_dir": state.parent, "work_tree": before["work_tree"]}
    if before["common_dir"].parent == before["work_tree"]:
        now["work_tree"] = state.parent.parent
    # the inner places first: the work tree is a beginning of them all
    pairs = [(str(before[key]), str(now[key])) for key in ("state", "common_dir", "work_tree")]
    job, walls = _relocated(values["job"], pairs), _relocated(values.get("walls", {}), pairs)
    repository = {**values["repository"], **{key: str(path) for key, path in now.items()}}
    return {**values, "job": job, "walls": walls, "repository": repository, "private": str(folder / "git")}


def _relocated(value: Any, pairs: Sequence[tuple[str, str]]) -> Any:
    """The paths in plain data as they are now."""
    if isinstance(value, dict):
        return {key: _relocated(one, pairs) for key, one in value.items()}
    if isinstance(value, list):
        return [_relocated(one, pairs) for one in value]
    return _relocated_text(value, pairs) if isinstance(value, str) else value


def _relocated_text(text: str, pairs: Sequence[tuple[str, str]]) -> str:
    for old, new in pairs:
        if text == old or text.startswith(f"{old}/"):
            return new + text.removeprefix(old)
    return text


def new_session_id(random: bytes, now: float | None = None) -> str:
    """``sess_`` and a ULID in lower case.

    Args:
        random: ten random bytes.
        now: seconds since the epoch; the machine's clock by default.
    """
    number = (int((time.time() if now is None else now) * 1000) << 80) | int.from_bytes(random[:10], "big")
    return "sess_" + "".join(_ALPHABET[(number >> shift) & 31] for shift in range(125, -1, -5))


def config_digest(work_tree: Path, config: str | None = None) -> str:
    """What tells one state of configuration and policy from another: SHA-256, in hex, of what the two files hold.

    Args:
        config: :attr:`agentpkg.config.Loaded.digest`, where the configuration has been read already.
    """
    config = config or hashlib.sha256(_bytes(work_tree / ".kittify" / "config.yaml")).hexdigest()
    policy = _bytes(work_tree / ".kittify" / "governance.yaml")
    return hashlib.sha256(config.encode() + policy).hexdigest() if policy else config


def _bytes(path: Path) -> bytes:
    try:
        return read_bounded(path, _LIMIT, follow=True)
    except FileNotFoundError:
        return b""
