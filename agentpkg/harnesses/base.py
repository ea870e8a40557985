"""What a harness is: an adapter that knows how one agent program is started and how its output reads.

A harness speaks, it does not act: it never starts a process, so it is tested with recorded lines. ``launch`` is a plain
description of a process, a reader turns lines into events.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol, runtime_checkable

from agentpkg.core.records import SessionEvent
from agentpkg.core.scope import Scope

Stream = Literal["stdout", "stderr"]
#: in an argument of a launch: the git dir of the worktree, which is known only once there is one
GIT_DIR = "{agentpkg:git-dir}"

Fault = Literal["agent", "provider", "environment", "budget"]


class Agent(Protocol):
    """The settings of an agent that a harness reads; ``agentpkg.config.AgentSettings`` has them."""

    @property
    def name(self) -> str:
        """The agent's name in the configuration."""

    @property
    def command(self) -> tuple[str, ...]:
        """Program and arguments, with placeholders."""

    @property
    def prompt(self) -> Literal["stdin", "file", "argument"]:
        """How the prompt reaches it besides standard input."""

    @property
    def transcripts(self) -> str | None:
        """Folder of recorded transcripts, absolute or relative to the repository."""

    @property
    def environment(self) -> Mapping[str, str]:
        """The configured variables; secrets are still references."""

    @property
    def options(self) -> Mapping[str, Any]:
        """Whatever else its harness takes."""


@dataclass(frozen=True, slots=True)
class Job:
    """One piece of work for an agent.

    Attributes:
        session: the session's id.
        feature: the feature's slug.
        wp: the work package's id.
        attempt: 1 for the package's first session, then counting up.
        repository: absolute path of the main work tree.
        worktree: absolute path of the package's worktree, where the agent runs.
        prompt: the prompt's text.
        prompt_path: absolute path of a file with the same text.
        task_path: absolute path of a file with the package's own text.
        model: the model to use, None for the agent's default.
        folder: absolute path of the session's folder for :attr:`Launch.files`.
        private: absolute path of the private git dir that the worktree's ``.git`` will name.
        scope: what it may change and run.
        isolation: the level that its process will run in.
        resume: the conversation of its last session, as that session's reader told it, None to begin one.
        kept: absolute path of the folder in which that session's home kept it, empty where it did not.
        used: what that conversation has used up so far, as its readers told it.
        read_only: it only looks: nothing of what it works on may be changed.
        allowance: what it may use, amounts as text by unit (``cost_usd``, ``tokens``), where that is bounded.
        patience: seconds that a call which neither scope nor policy decides waits for a person at most.
    """

    session: str
    feature: str
    wp: str
    attempt: int
    repository: str
    worktree: str
    prompt: str
    prompt_path: str
    task_path: str
    model: str | None = None
    folder: str = ""
    private: str = ""
    scope: Scope = field(default_factory=Scope)
    isolation: str = "basic"
    resume: str | None = None
    kept: str = ""
    used: Mapping[str, Any] = field(default_factory=dict)
    read_only: bool = False
    allowance: Mapping[str, str] = field(default_factory=dict)
    patience: int = 900


@dataclass(frozen=True, slots=True)
class Launch:
    """The process that runs an agent, as data.

    Attributes:
        argv: program and arguments; no secrets, since argument lists are public.
        stdin: what it is fed, None for nothing.
        env: variables on top of the session's environment.
        keep_stdin: leave its standard input open for replies of the reader.
        reads: absolute paths that it must be able to read, at every level of isolation, beside the prompt, the task and
            :attr:`files`.
        writes: absolute paths of the program's own state that it must be able to write, where they exist.
        files: what to write into :attr:`Job.folder` beforehand, text by name, which may be below a folder.
        hosts: ``host:port`` of the services that the program cannot do without.
        conversations: absolute paths, as patterns with ``{conversation}`` for its id, of what the program writes down
            of a conversation to go on with it; where its home is the session's own, the next session gets them.
    """

    argv: tuple[str, ...]
    stdin: str | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    keep_stdin: bool = False
    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)
    hosts: tuple[str, ...] = ()
    conversations: tuple[str, ...] = ()

    def placed(self, git_dir: str) -> "Launch":
        """The same with :data:`GIT_DIR` filled in."""
        return replace(self, argv=tuple(word.replace(GIT_DIR, git_dir) for word in self.argv))

    def as_json(self) -> dict[str, Any]:
        """All of it as JSON data."""
        return {
            "argv": list(self.argv), "stdin": self.stdin, "env": dict(self.env), "keep_stdin": self.keep_stdin,
            "reads": list(self.reads), "writes": list(self.writes), "files": dict(self.files),
            "hosts": list(self.hosts), "conversations": list(self.conversations),
        }  # fmt: skip

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Launch":
        """The inverse of :meth:`as_json`."""
        return cls(
            tuple(data["argv"]), data["stdin"], dict(data["env"]), data["keep_stdin"], tuple(data["reads"]),
            tuple(data["writes"]), dict(data["files"]), tuple(data["hosts"]), tuple(data.get("conversations", ())),
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Reply:
    """Bytes that the agent expects on its standard input.

    Attributes:
        close: nothing comes after them.
    """

    data: bytes
    close: bool = False


@dataclass(frozen=True, slots=True)
class Ask:
    """A call that neither scope nor policy decides: its agent waits until a person has.

    Attributes:
        id: of the request, as the agent's program has it.
        tool: that the agent would call.
        text: the call in one line.
        why: why a person has to decide.
        input: of the tool, bounded.
    """

    id: str
    tool: str
    text: str
    why: str
    input: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Decided:
    """A person's word on what an agent asked, or the deadline's.

    Attributes:
        reason: for the agent to read; who decided, and why.
    """

    ask: Ask
    allowed: bool
    reason: str


@dataclass(frozen=True, slots=True)
class StreamEnd:
    """What the agent's own stream said of its end.

    Attributes:
        error: its error flag; None when the stream said nothing about it.
        text: its last word, or the error.
        usage: tokens and the like, JSON without floats.
        denials: calls that were refused to it, one line each.
        fault: whose an error is: the agent's own, its model provider's (overloaded, out of quota, out of reach), or the
            machine's; ``budget``: it has used what it may. Harnesses say ``provider`` only of what their agent's stream
            says in so many words.
        retry_after: seconds after which the provider is to be asked again, where it said so.
    """

    error: bool | None = None
    text: str = ""
    usage: Mapping[str, Any] = field(default_factory=dict)
    denials: tuple[str, ...] = ()
    fault: Fault = "agent"
    retry_after: int | None = None


class Reader(Protocol):
    """Understands one session's output; never fails on a line it does not know."""

    def feed(self, stream: Stream, line: str) -> Sequence[SessionEvent | Reply | Ask]:
        """What a line means. Lines come without their ends, redacted, in the order of their stream."""

    def end(self, exit_code: int) -> StreamEnd:
        """What all lines together said of the end; a signal's number, negative, as exit code when that ended it."""


@runtime_checkable
class Hearing(Protocol):
    """A reader whose agent takes instructions while it works; its launch has ``keep_stdin``."""

    def instruct(self, text: str) -> Reply | None:
        """What the agent is sent so that it hears ``text``; None when it takes none at this moment."""


@runtime_checkable
class Asking(Protocol):
    """A reader whose agent asks before it does what nobody decided; its launch has ``keep_stdin``."""

    def decided(self, decided: Decided) -> Sequence[SessionEvent | Reply]:
        """What the agent is sent."""


@runtime_checkable
class Counting(Protocol):
    """A reader that knows what its agent has used while it works."""

    @property
    def used(self) -> Mapping[str, Any]:
        """Tokens and the like so far, JSON without floats; what is not known is missing."""


@runtime_checkable
class Finishing(Protocol):
    """A reader that knows when its agent has nothing more to do; some agents stay all the same, and are ended then."""

    @property
    def finished(self) -> bool:
        """It has nothing more to do now; it may yet find something."""

    @property
    def linger(self) -> float:
        """Seconds that it may stay all the same."""


class Harness(Protocol):
    """One adapter. Instances hold no state; that of a session is in its reader."""

    name: str

    def problem(self, agent: Agent, repository: str) -> str | None:
        """Why the agent cannot be started here and now, None when it can; looks, but starts nothing.

        Args:
            repository: absolute path of the main work tree.
        """

    def program(self, agent: Agent) -> str | None:
        """Absolute path of the program, None when it is not found."""

    def version_command(self, agent: Agent) -> tuple[str, ...] | None:
        """A command that prints the program's version, None when there is none."""

    def launch(self, agent: Agent, job: Job) -> Launch:
        """The process that does the job.

        Raises:
            BadInput: when the agent's configuration does not fit the job.
            Lacking: when something it needs is missing.
        """

    def reader(self, job: Job | None = None) -> Reader:
        """A new reader for one session's output."""


@dataclass(frozen=True, slots=True)
class SignIn:
    """Whether a program's user is signed in.

    Attributes:
        ok: None when it cannot be known without spending.
        detail: how, or what to do, in one line.
    """

    ok: bool | None
    detail: str


@runtime_checkable
class AsksSignIn(Protocol):
    """A harness that can find out whether its program is signed in, without spending anything."""

    def sign_in_command(self, agent: Agent) -> tuple[str, ...] | None:
        """A command that says it, None when none is needed to know."""

    def sign_in(self, agent: Agent, exit_code: int, said: str) -> SignIn:
        """What that command's end and its words mean; asked with ``0`` and ``""`` when there was no command."""


def output(stream: Stream, line: str) -> SessionEvent:
    """A line of plain output as an event."""
    return SessionEvent("output", line, {"stream": stream} if stream == "stderr" else {})


def json_object(line: str) -> Mapping[str, Any] | None:
    """The JSON object that is the whole line, else None; numbers with a fraction become text."""
    if not line.startswith("{"):
        return None
    try:
        found = json.loads(line, parse_float=str)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
