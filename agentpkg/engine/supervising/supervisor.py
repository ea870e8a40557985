"""The process that owns one session: ``python -m agentpkg.engine.supervising.supervisor SESSION_FOLDER``.

Detached from whoever started it. It makes the lease its own, runs ``worktree.setup`` and the agent, keeps the log,
reports commits as they appear, and concludes. A watcher stands above it and ends what it ran if it dies. Secret
values come as JSON on standard input.
"""

import json
import os
import signal
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentpkg.core.records import SessionEvent
from agentpkg.engine.supervising import control as requests
from agentpkg.engine.supervising import fulldisk, inside, lease
from agentpkg.engine.supervising.bounds import Bounds
from agentpkg.engine.supervising.plan import SessionPlan, read_plan
from agentpkg.files import read_bounded
from agentpkg.ledger.ledger import Ledger
from agentpkg.proc import ProcessIdentity, kill_marked
from agentpkg.secrets.redact import Redactor
from agentpkg.secrets.secret import no_core_dumps
from agentpkg.sessions import runner, watcher
from agentpkg.sessions.judge import Facts
from agentpkg.sessions.log import NAME, SessionLog
from agentpkg.sessions.pulse import Heart

if TYPE_CHECKING:
    from agentpkg.engine.supervising.keeper import Keeper
    from agentpkg.engine.supervising.outgoing import Outgoing
    from agentpkg.git.discover import Repository
    from agentpkg.git.repo import Git

#: bytes of a prompt
_LIMIT = 64 << 20

#: seconds after a session's time and grace in which its supervisor must have ended the agent
_LATE = 5.0


@dataclass
class Supervisor:
    """One session from lease to conclusion.

    Attributes:
        above: the watcher; None: there is none.
        hidden: ``environment`` (variables with secrets), ``secrets`` (values by name), ``copied`` (values to redact).
    """

    folder: Path
    plan: SessionPlan
    hidden: Mapping[str, Any]
    above: ProcessIdentity | None = None
    stopping: bool = False

    @cached_property
    def repository(self) -> "Repository":
        """Where everything is."""
        return self.plan.as_repository()

    @cached_property
    def ledger(self) -> Ledger:
        """The ledger."""
        return Ledger.open(self.repository.state / "ledger.db")

    @cached_property
    def control(self) -> "Git":
        """The control dir."""
        from agentpkg.git.control import open_control

        return open_control(self.repository, self.plan.filters)

    @cached_property
    def redactor(self) -> Redactor:
        """Takes the session's secrets out of everything that is written."""
        return Redactor(self.hidden.get("secrets", {}), self.hidden.get("copied", ()))

    @cached_property
    def log(self) -> SessionLog:
        """The session's log."""
        limit = self.plan.limits.get("output")
        path = self.folder / NAME
        return SessionLog(path, self.redactor, limit) if limit else SessionLog(path, self.redactor)

    @cached_property
    def heart(self) -> Heart:
        """Leaves signs of life."""
        return Heart(self.folder, self.above)

    @cached_property
    def bounds(self) -> Bounds:
        """What bounds the session."""
        return Bounds(self.plan, self.folder, self.ledger, self.heart)

    @cached_property
    def inside(self) -> inside.Inside:
        """Where the session's processes run."""
        return inside.Inside(self.plan, self.folder, self.hidden.get("environment", {}))

    @property
    def mark(self) -> str:
        """What every process of the session carries."""
        return runner.session_mark(self.plan.session)

    # ----------------------------------------------------------------- the way of a session

    def supervise(self) -> None:
        """Runs the session to its end."""
        if not self._claim():
            return
        self.heart.beat("setup")
        signal.signal(signal.SIGTERM, self._asked_to_stop)
        signal.signal(signal.SIGINT, self._asked_to_stop)
        self._note("started", f"session {self.plan.session} of {self.plan.agent_name} on {self.plan.job['wp']}")
        facts = self._run()
        self._conclude(facts)

    def _claim(self) -> bool:
        """Makes the lease this process's own; False when somebody has ended the session, or is about to."""
        held_by = tuple(self.hidden.get("held_by", ()))
        watched = lease.owned_by(os.getppid())
        taken = lease.take(
            self.ledger, self.plan.session, os.getpid(),
            lambda row: (row.pid, row.pid_started) == held_by or watched(row),
        )  # fmt: skip
        if taken:
            lease.sign(self.folder, os.getpid())
        return taken

    def _run(self) -> Facts:
        from agentpkg.core.errors import AgentpkgError

        try:
            with self.inside:
                trouble = self._set_up()
                stop = self._stop_wanted()
                if stop is not None:
                    return Facts(stop=stop, exit_code=None)
                if trouble:
                    return Facts(trouble=trouble, exit_code=None, full=self.bounds.rooms.full())
                return self._run_agent()
        except AgentpkgError as error:
            return Facts(trouble=error.message, exit_code=None)
        finally:
            self._note_network()

    def _run_agent(self) -> Facts:
        from agentpkg.harnesses import harness_named
        from agentpkg.harnesses.base import Launch

        launch = Launch.from_json(self.plan.launch)
        job = self.plan.as_job(read_bounded(Path(self.plan.job["prompt_path"]), _LIMIT).decode())
        wrapped = self.inside.wrap(launch.argv, launch.env)
        self.inside.go_on()
        group = wrapped.status.group if wrapped.status else lambda: None
        hooks = runner.Hooks(
            self._started, self._recorded, self._look, self._stop_wanted, group, looked=self.bounds.looked,
            told=self._told, people=self._people(),
        )  # fmt: skip
        with self._keeper():
            ended = runner.run(
                replace(launch, argv=wrapped.argv, env={}), harness_named(self.plan.harness).reader(job),
                cwd=self.plan.worktree, env=wrapped.env, mark=self.mark, log=self.log, redactor=self.redactor,
                timeout=self.plan.timeout_seconds, grace=self.plan.kill_grace_seconds,
                limits=self.bounds.chosen(), hooks=hooks, adopted=True, starting=self._starting, keep=wrapped.keep,
            )  # fmt: skip
        if ended.survivors:
            self._note("notice", f"could not be killed: {', '.join(map(str, ended.survivors))}")
        trouble = self.inside.trouble(wrapped, ended.exit_code)
        code = inside.exit_code(wrapped, ended.exit_code)
        end = ended.end
        fault = self.plan.faults.get(str(code))
        if fault is not None:
            end = replace(end, error=True, fault=fault)
        return Facts(
            stop=ended.stop, said=ended.said, end=end, exit_code=code, killed=ended.killed, trouble=trouble,
            full=self.bounds.rooms.full(),
        )  # fmt: skip

    @contextmanager
    def _starting(self) -> Iterator[None]:
        """A process starts as the session's own or not at all: in a worktree that was given back it would do harm."""
        with lease.acting(self.ledger, self.plan.session), self.bounds.pen():
            yield

    def _keeper(self) -> "Keeper":
        from agentpkg.engine.supervising.gathering import enclosing
        from agentpkg.engine.supervising.keeper import Keeper
        from agentpkg.git import worktrees
        from agentpkg.git.identity import user_identity
        from agentpkg.git.snapshots import Watch

        def watch() -> Watch:
            return Watch(
                self.control, Path(self.plan.private), self.plan.worktree, self.plan.branch, self.plan.old_head,
                worktrees.provided(self.repository, self.plan.worktree),
                user_identity(self.repository.work_tree).excludes_file, enclosing(self.plan),
            )  # fmt: skip

        return Keeper(watch, self.folder, self.plan.snapshot_seconds)

    def _set_up(self) -> str | None:
        from agentpkg.engine.supervising.settingup import SettingUp

        return SettingUp(
            self.plan, self.inside, self.bounds, self._note, self._stop_wanted, self._starting
        ).trouble()  # fmt: skip

    def _conclude(self, facts: Facts) -> None:
        from agentpkg.engine.supervising.conclude import conclude
        from agentpkg.relay import client

        self.heart.beat("ending")
        self.bounds.close()
        found = fulldisk.wait_out(
            lambda: conclude(self, self.plan, self.folder, facts, self.redactor),
            self.folder, lambda: self.heart.beat("ending"),
        )  # fmt: skip
        row = self.ledger.session(self.plan.session)
        for sha, subject in found.commits:
            self._note_commit(sha, subject)
        for line in found.reports:
            self._note("notice", f"in the repository meanwhile: {line}")
        if row is not None and row.outcome is not None:
            # what took too long or was cancelled says so in its reason
            told = (row.reason or "").partition(":")[0] == row.outcome
            self._note("ended", str(row.reason if told else ": ".join(filter(None, [row.outcome, row.reason]))))
        self.log.close()
        client.poke(self.repository.state)

    def give_up(self, error: Exception) -> None:
        """Ends a session that this process could not run to its end, if possible with what the agent has made."""
        from agentpkg.core.errors import AgentpkgError
        from agentpkg.engine.supervising.conclude import conclude, failed, said_of
        from agentpkg.relay import client

        kill_marked(self.mark)
        self.heart.beat("ending")
        said = self.redactor.redact(said_of(error))
        try:
            facts = Facts(trouble=said, exit_code=None)
            fulldisk.wait_out(
                lambda: conclude(self, self.plan, self.folder, facts, self.redactor),
                self.folder, lambda: self.heart.beat("ending"),
            )  # fmt: skip
        except (AgentpkgError, OSError):
            failed(self, self.plan.session, said)
        client.poke(self.repository.state)

    # ----------------------------------------------------------------- while the agent runs

    def _started(self, pid: int) -> None:
        from agentpkg.engine import transition
        from agentpkg.relay import client

        with self.ledger.write() as tx:
            transition.agent_started(tx, replace(lease.require(tx, self.plan.session), agent_pid=pid))
        client.poke(self.repository.state)

    def _recorded(self, record: Mapping[str, Any]) -> None:
        from agentpkg.relay import client

        if record["kind"] == "session":
            from agentpkg.engine.supervising import conversation

            with fulldisk.overlooked(self.folder):
                conversation.remember(self.folder, record, self.plan.job["resume"])
        self.inside.hear(record)
        self.bounds.rooms.hear(record["text"])
        if record["kind"] in ("text", "tool", "output", "permission"):
            payload = {"kind": record["kind"], "text": record["text"][:2000], "time": record["time"]}
            client.progress(self.repository.state, f"agent.job.{self.plan.session}.progress", payload)

    def _stop_wanted(self) -> str | None:
        asked = requests.asked(self.folder)
        if asked is not None:
            return "cancelled" if asked.final else "interrupted"
        return "interrupted" if self.stopping else None

    def _people(self) -> "Outgoing":
        from agentpkg.engine.supervising.outgoing import Outgoing
        from agentpkg.engine.supervising.permissions import Permissions
        from agentpkg.relay import client

        asked = Permissions(self.plan, self.ledger, self.redactor, lambda: client.poke(self.repository.state))
        return Outgoing(asked, self.inside, self.redactor.redact, self.log.append)

    def _told(self) -> list[str]:
        return list(requests.instructions(self.folder, self._taken))

    @cached_property
    def _taken(self) -> set[str]:
        return set()

    def _asked_to_stop(self, number: int, frame: object) -> None:
        self.stopping = True

    def _look(self) -> None:
        with fulldisk.overlooked(self.folder):
            self._look_for_commits()

    def _look_for_commits(self) -> None:
        """The heartbeat: reads the private branch, and tells of new commits. It changes nothing."""
        from agentpkg.git.private import private_tip

        self._note_network()

        if not lease.holds(self.ledger, self.plan.session, os.getpid()):
            raise lease.Fenced(self.plan.session)
        tip = private_tip(Path(self.plan.private), self.plan.branch)
        if tip is not None and tip != self._seen:
            self._tell_commits(tip)

    def _tell_commits(self, tip: str) -> None:
        from agentpkg.engine import transition
        from agentpkg.engine.supervising.gathering import enclosing
        from agentpkg.git.diff import changed_paths, commits
        from agentpkg.git.doubt import objects_in_doubt
        from agentpkg.git.finite import require_finite
        from agentpkg.git.repo import GitFailed
        from agentpkg.relay import client

        objects = Path(self.plan.private) / "objects"
        since = self._seen
        if objects_in_doubt(objects, self.repository.objects):
            # admission will say what; git could wait for ever in there, and the agent's time must go on being watched
            self._seen = tip
            return
        try:
            walls = enclosing(self.plan)((self.control.git_dir, self.repository.objects, objects), ())
            git = self.control.but(alternates=(objects,), prefix=walls)
            require_finite(git, [tip])
            fresh = [c for c in commits(git, tip, since, self.plan.base) if len(c.parents) < 2][:100]
            files = len(changed_paths(git, self.plan.old_head, tip, sizes=False))
        except GitFailed:
            # half written, or nonsense; what it is comes out at the end
            self._seen = tip
            return
        said = [(commit.sha, self.redactor.redact(commit.subject)) for commit in fresh]
        with self.ledger.write() as tx:
            lease.require(tx, self.plan.session)
            transition.commits_seen(tx, self.plan.session, said, files)
        # not before it is recorded: on a full disk it is tried again
        self._seen = tip
        for sha, subject in said:
            self._note_commit(sha, subject)
        client.poke(self.repository.state)

    @cached_property
    def _seen(self) -> str:
        # the code that ends a session is loaded while it runs: an upgrade meanwhile must not mix two versions
        import_module("agentpkg.engine.supervising.conclude")
        return self.plan.old_head

    @cached_property
    def _noted(self) -> set[str]:
        return set()

    def _note_network(self) -> None:
        for kind, text in self.inside.told():
            self._note(kind, text)

    def _note_commit(self, sha: str, subject: str) -> None:
        if sha not in self._noted:
            self._noted.add(sha)
            self._note("commit", subject, {"sha": sha})

    def _note(self, kind: str, text: str, data: Mapping[str, Any] | None = None) -> None:
        self.log.append(SessionEvent(kind, text, data or {}))


def main(folder: Path) -> int:
    """Runs the supervisor of the session in ``folder``; its exit code means nothing to anybody."""
    no_core_dumps()
    given = sys.stdin.buffer.read()
    if not given:
        # its dispatcher died before it said what to hide; the next command ends the session
        return 1
    hidden = json.loads(given)
    plan = read_plan(folder)
    above = watcher.start(runner.session_mark(plan.session), plan.timeout_seconds + plan.kill_grace_seconds + _LATE)
    supervisor = Supervisor(folder, plan, hidden, above)
    try:
        supervisor.supervise()
    except lease.Fenced:
        # somebody else ends the session; what this process ran is dead already
        return 0
    except Exception as error:
        # the outermost loop of this process: whatever it was, the package must not stay `doing`
        traceback.print_exc()
        supervisor.give_up(error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
