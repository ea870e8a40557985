"""A session's processes behind its walls: how they are put there, the way out, whose end an end was."""

import os
import re
import signal
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from agentpkg.core.errors import Lacking
from agentpkg.engine.supervising.plan import SessionPlan
from agentpkg.git.lent import lent
from agentpkg.isolation import Network, Place, Walls, Wrapped
from agentpkg.proc.deathsig import ended_with_its_parent
from agentpkg.proc.rlimits import per_process
from agentpkg.sessions import environment

if TYPE_CHECKING:
    from agentpkg.isolation.proxy import Proxy


#: exit codes of whoever stands before a program that it cannot run, or does not find
_CANNOT_RUN = (126, 127)

#: what they say then: what sets the kernel's bounds, and what a script's first line asks for its interpreter
_CANNOT_RUN_SAID = re.compile(
    r"prlimit: failed to execute .+|(?:/usr/bin/)?env: .+: (?:No such file|Permission denied).*"
)

#: records of a session's log that are agentpkg's own
_NOT_OF_THE_AGENT = frozenset(("started", "notice", "network", "commit", "session"))


class Inside:
    """Where the processes of one session run; within a ``with`` block they have the way out that they may have.

    Args:
        folder: of the session.
        hidden: configured variables that hold secrets.
    """

    def __init__(self, plan: SessionPlan, folder: Path, hidden: Mapping[str, str]) -> None:
        self._plan, self._folder, self._hidden = plan, folder, hidden
        self._walls = Walls(plan.isolation, plan.walls)
        self._proxy: Proxy | None = None
        self._said = self._voice = ""
        self._first: str | None = None

    def __enter__(self) -> None:
        if not self._walls.cuts_network or not (self._plan.network or self._plan.undecided != "forbidden"):
            return
        from agentpkg.core.hosts import parse_all
        from agentpkg.isolation.proxy import Proxy
        from agentpkg.isolation.undecided import Undecided

        undecided = Undecided(self._plan.undecided)
        self._proxy = Proxy(parse_all(self._plan.network), self._walls.network_over == "port", undecided)
        try:
            self._proxy.start()
        except OSError as error:
            self._proxy = None
            raise Lacking(f"no way to the network can be made: {error.strerror}", "make room in /tmp") from error

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._proxy is not None:
            self._proxy.stop()

    def wrap(self, argv: tuple[str, ...], more: Mapping[str, str] | None = None) -> Wrapped:
        """The command that runs ``argv`` inside, within the kernel's bounds for each process.

        Args:
            more: variables on top of the session's.

        Raises:
            Lacking: it cannot be put there.
        """
        plan = self._plan
        configured = {**plan.environment, **self._hidden}
        env = {**environment.build(os.environ, configured, plan.agent_name, plan.as_job("")), **(more or {})}
        # inside the level's own walls, which may need more than they leave to the agent
        bound = per_process(plan.limits, alone=plan.isolation == "strong").wrap(argv)
        wrapped = self._walls.wrap(bound, env, self._place(argv[0]))
        self._voice = wrapped.voice
        if plan.isolation == "strong":
            # what is in there ends with its first process anyhow
            return wrapped
        return replace(wrapped, argv=ended_with_its_parent(tuple(wrapped.argv)))

    def _place(self, program: str) -> Place:
        plan, repository = self._plan, self._plan.as_repository()
        proxy = self._proxy
        return Place(
            worktree=str(plan.worktree), private=plan.private, repository=str(repository.work_tree),
            common_dir=str(repository.common_dir), session=str(self._folder), program=program,
            reads=(*plan.launch.get("reads", ()), *self._own()), mounts=plan.mounts,
            states=tuple(plan.launch.get("writes", ())),
            network=Network(str(proxy.folder), proxy.sockets, proxy.port, proxy.ports) if proxy else None,
            lent=tuple(map(str, lent(repository.objects))),
        )  # fmt: skip

    def go_on(self) -> None:
        """Gives the agent's program, in a home of the session's own, the conversation that it is to go on with."""
        kept = self._plan.job.get("kept")
        if kept and self._plan.isolation != "basic":
            from agentpkg.engine.supervising import transcripts

            transcripts.put_back(Path(kept), self._folder / "home")

    def _own(self) -> tuple[str, ...]:
        """What every agent may read of its session's folder: prompt, task, and the files of its harness."""
        job = self._plan.job
        return (job["prompt_path"], job["task_path"], *([job["folder"]] if self._plan.launch.get("files") else ()))

    def hear(self, record: Mapping[str, Any]) -> None:
        """Takes a record of the session's log, which may be the walls' own words."""
        if self._first is None and record["kind"] not in _NOT_OF_THE_AGENT:
            self._first = record["text"]
        if record["kind"] == "output" and self._voice and self._voice in record["text"]:
            self._said = record["text"]

    def trouble(self, wrapped: Wrapped, exit_code: int | None, output: str | None = None) -> str | None:
        """Why what was to run never ran, which is nobody's fault who works there; None when it did.

        Args:
            output: what was printed; by default what was heard.
        """
        why = wrapped.failed_to_start(exit_code, self._said if output is None else output)
        if why is None and output is None:
            why = _never_began(exit_code, self._first or "")
        wrapped.close()
        return why and f"{why}; `agentpkg doctor` tells more, isolation.mounts shows what is missing inside"

    def told(self) -> list[tuple[str, str]]:
        """What was decided on its way out since the last call: kind and text of a record each."""
        found = self._proxy.decisions() if self._proxy is not None else []
        return [("network" if one.allowed and not one.problem else "notice", str(one)) for one in found]

    def wanted(self) -> list[str]:
        """Hosts that somebody has to decide on, since the last call."""
        return self._proxy.undecided.wanted() if self._proxy is not None else []

    def settle(self, target: str, allowed: bool) -> None:
        """Somebody has decided on a host."""
        if self._proxy is not None:
            self._proxy.undecided.settle(target, allowed)


def _never_began(exit_code: int | None, first: str) -> str | None:
    """Why a program never ran that others were to start, by their words where an agent would have had its first."""
    said = first.strip().partition("\n")[0]
    if exit_code in _CANNOT_RUN and _CANNOT_RUN_SAID.fullmatch(said):
        return f"the agent's program cannot run inside: {said[:300]}"
    return None


def exit_code(wrapped: Wrapped, code: int | None) -> int | None:
    """The exit code of what ran inside; bubblewrap tells of SIGKILL as shells do, and only that matters here."""
    return -signal.SIGKILL if wrapped.status is not None and code == 128 + signal.SIGKILL else code
