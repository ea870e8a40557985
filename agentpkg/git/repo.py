"""The one place that starts git.

Invariant: no git process of agentpkg inherits anything but ``PATH``, reads the user's or the system's
configuration, runs a hook, a filter, a pager, an editor, a credential helper or a signing program, or talks to a
network. What git may still read is the configuration of the git dir it is pointed at; commands that look at
content therefore run against agentpkg's own control dir (:mod:`agentpkg.git.control`), whose configuration nobody
else writes. The only exceptions are :func:`as_user` calls that read configuration and places as data.

Callers pass full ref names and put ``--end-of-options`` or ``--`` before data.
"""

import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import IO

from agentpkg.core.errors import DISK_FULL, MAKE_ROOM, AgentpkgError, Interrupted, Lacking
from agentpkg.proc import start_own

#: seconds after which a git command counts as hung
TIMEOUT = 120.0

#: seconds between two questions whether a process is still wanted
_LOOK = 0.2

#: bytes; a command that fails where less is free has failed for that
_LEAST = 1 << 20

_ENVIRONMENT = {
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_ATTR_NOSYSTEM": "1",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_ASKPASS": "/bin/false",
    "SSH_ASKPASS": "/bin/false",
    "GIT_EDITOR": ":",
    "GIT_SEQUENCE_EDITOR": ":",
    "GIT_PAGER": "cat",
    "GIT_SSH_COMMAND": "/bin/false",
    "GIT_ALLOW_PROTOCOL": "none",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_GRAFT_FILE": "/dev/null",
    "GIT_LITERAL_PATHSPECS": "1",
    "GIT_OPTIONAL_LOCKS": "0",
    "LC_ALL": "C",
    "HOME": "/nonexistent",
}

_CONFIG = (
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.untrackedCache=false",
    "core.pager=cat",
    "core.editor=:",
    "core.sshCommand=/bin/false",
    "core.askPass=/bin/false",
    "core.attributesFile=/dev/null",
    "core.alternateRefsCommand=:",
    "credential.helper=",
    "diff.external=",
    "gpg.program=/bin/false",
    "commit.gpgSign=false",
    "tag.gpgSign=false",
    "log.showSignature=false",
    "submodule.recurse=false",
    "fetch.recurseSubmodules=false",
    "status.submoduleSummary=false",
    "diff.ignoreSubmodules=all",
    "protocol.allow=never",
    "safe.bareRepository=explicit",
    "gc.auto=0",
    "maintenance.auto=false",
    "rerere.enabled=false",
    "transfer.fsckObjects=true",
    "core.protectNTFS=true",
    "core.protectHFS=true",
    "core.fsync=committed,loose-object,reference",
    "advice.detachedHead=false",
)


#: variables that hold the values of settings
_PRIVATE = "AGENTPKG_GIT_SETTING_"

#: gives what stands before a git command that reads what an agent wrote: walls that let it read and write these paths
Enclose = Callable[[Sequence[Path], Sequence[Path]], tuple[str, ...]]


def unenclosed(reads: Sequence[Path], writes: Sequence[Path]) -> tuple[str, ...]:
    """No walls: an :data:`Enclose` for where there are none."""
    return ()


class GitFailed(AgentpkgError):
    """A git command ended otherwise than its caller planned for."""

    code = "git_failed"

    def __init__(self, args: Sequence[str], returncode: int, stderr: bytes) -> None:
        said = stderr.decode("utf-8", "backslashreplace").strip().splitlines()
        tail = next((line for line in reversed(said) if not line.startswith("hint:")), "it said nothing")
        how = f"ended with {returncode}: {tail}" if returncode >= 0 else f"was killed by signal {-returncode}"
        super().__init__(
            f"git {args[0] if args else ''} {how}",
            "run `agentpkg doctor`; if the repository is healthy, report this",
            details={"command": ["git", *args][:20], "stderr": said[-20:]},
        )
        self.returncode = returncode


class NoRoom(GitFailed):
    """A git command failed where the disk is full."""

    exit_code = Lacking.exit_code

    def __init__(self, args: Sequence[str], returncode: int, stderr: bytes, place: Path) -> None:
        super().__init__(args, returncode, stderr)
        self.message = f"there is no room left in {place}: {self.message}"
        self.hint, self.code = MAKE_ROOM, DISK_FULL


def failure(args: Sequence[str], returncode: int, stderr: bytes, place: Path) -> GitFailed:
    """The error for a command that failed; git's own words are no fact, and some commands have none."""
    try:
        full = shutil.disk_usage(place).free < _LEAST
    except OSError:
        full = False
    return NoRoom(args, returncode, stderr, place) if full else GitFailed(args, returncode, stderr)


@dataclass(frozen=True, slots=True)
class GitResult:
    """How a git command ended: ``returncode``, and both streams as bytes."""

    returncode: int
    stdout: bytes
    stderr: bytes

    @property
    def text(self) -> str:
        """Standard output as text without the last newline; bytes that are not UTF-8 survive as surrogates."""
        return self.stdout.decode("utf-8", "surrogateescape").rstrip("\n")


@cache
def git_program() -> str:
    """The absolute path of git. Raises :class:`Lacking` when there is none."""
    found = shutil.which("git")
    if not found:
        raise Lacking("git is not on PATH", "install git 2.38 or newer", code="no_git")
    return os.path.realpath(found)


@dataclass(frozen=True, slots=True)
class Git:
    """A hardened git bound to one git dir.

    Attributes:
        git_dir: what ``--git-dir`` names.
        work_tree: what ``--work-tree`` names, if the command has one.
        index: ``GIT_INDEX_FILE``, if not the git dir's own.
        objects: ``GIT_OBJECT_DIRECTORY``: where new objects go.
        alternates: ``GIT_ALTERNATE_OBJECT_DIRECTORIES``: where objects are read from as well.
        config: extra ``-c`` settings.
        private: extra settings, key and value, that no list of processes may show.
        environment: extra variables (identity, dates), never the caller's own environment.
        prefix: what an :data:`Enclose` gave.
    """

    git_dir: Path
    work_tree: Path | None = None
    index: Path | None = None
    objects: Path | None = None
    alternates: tuple[Path, ...] = ()
    config: tuple[str, ...] = ()
    private: tuple[tuple[str, str], ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    prefix: tuple[str, ...] = ()

    def but(self, **changes: object) -> "Git":
        """The same git with some attributes replaced."""
        return replace(self, **changes)  # type: ignore[arg-type]

    def argv(self, args: Sequence[str]) -> list[str]:
        """The full command line of ``git ARGS``."""
        out = [*self.prefix, git_program(), f"--git-dir={self.git_dir}"]
        if self.work_tree is not None:
            out.append(f"--work-tree={self.work_tree}")
        for setting in (*_CONFIG, *self.config):
            out += ["-c", setting]
        return [*out, *(f"--config-env={key}={_PRIVATE}{n}" for n, (key, _) in enumerate(self.private)), *args]

    def env(self) -> dict[str, str]:
        """The whole environment of the process."""
        out = {"PATH": os.environ.get("PATH", os.defpath), **_ENVIRONMENT}
        out |= {f"{_PRIVATE}{n}": value for n, (_, value) in enumerate(self.private)}
        if self.index is not None:
            out["GIT_INDEX_FILE"] = str(self.index)
        if self.objects is not None:
            out["GIT_OBJECT_DIRECTORY"] = str(self.objects)
        if self.alternates:
            out["GIT_ALTERNATE_OBJECT_DIRECTORIES"] = ":".join(_listed(p) for p in self.alternates)
        return {**out, **self.environment}

    def run(
        self,
        *args: str,
        stdin: bytes | None = None,
        ok: Sequence[int] = (0,),
        timeout: float = TIMEOUT,
        cancelled: Callable[[], bool] | None = None,
    ) -> GitResult:
        """Runs ``git ARGS`` to its end.

        Args:
            stdin: bytes for standard input; None closes it.
            ok: the exit codes the caller plans for.
            timeout: seconds before the process group is killed.
            cancelled: asked several times a second, for what takes long; True kills the process group.

        Raises:
            GitFailed: on any other exit code, and on a timeout (``returncode`` -9).
            Interrupted: when ``cancelled`` said so.
        """
        result = _communicate(self.argv(args), self.env(), self.cwd(), stdin, timeout, cancelled)
        if result.returncode not in ok:
            raise failure(args, result.returncode, result.stderr, self.git_dir)
        return result

    def text(self, *args: str, stdin: bytes | None = None) -> str:
        """Standard output of ``git ARGS`` as text, without the last newline."""
        return self.run(*args, stdin=stdin).text

    def cwd(self) -> Path:
        """Where the process runs: the work tree, else the git dir."""
        return self.work_tree if self.work_tree is not None else self.git_dir

    @contextmanager
    def process(
        self, *args: str, timeout: float = TIMEOUT, stdin: IO[bytes] | None = None, stderr: IO[bytes] | None = None
    ) -> "Iterator[subprocess.Popen[bytes]]":
        """A running ``git ARGS`` with pipes for stdin and stdout, for dialogues and pipelines.

        Killed with its group after ``timeout`` seconds, and at the end of the block if it is still running.

        Args:
            stdin: a file or pipe to read from instead.
            stderr: a file for what it says; dropped otherwise.
        """
        child = start_own(
            self.argv(args), env=self.env(), cwd=self.cwd(),
            stdin=stdin or subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr or subprocess.DEVNULL,
        )  # fmt: skip
        timer = threading.Timer(timeout, _kill_group, [child])
        timer.daemon = True
        timer.start()
        try:
            yield child
        finally:
            timer.cancel()
            if child.poll() is None:
                _kill_group(child)
            for stream in (child.stdin, child.stdout):
                if stream is not None and not stream.closed:
                    try:
                        stream.close()
                    except BrokenPipeError:
                        pass
            child.wait()


def _listed(path: Path) -> str:
    """A path as an element of a colon-separated list of git's, quoted where it has to be."""
    text = str(path)
    if ":" not in text and not text.startswith('"'):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def as_user(*args: str, cwd: Path, ok: Sequence[int] = (0,)) -> GitResult:
    """Runs a git command that only *reads configuration or places* under the user's own configuration.

    The user's ``HOME`` and ``XDG_CONFIG_HOME`` count, ``GIT_DIR`` and its like do not. Never used for a command
    that can run a hook, a filter or a helper.
    """
    env = {k: v for k, v in os.environ.items() if not k.startswith("GIT_") or k.startswith("GIT_CONFIG")}
    env.update(LC_ALL="C", GIT_TERMINAL_PROMPT="0", GIT_OPTIONAL_LOCKS="0")
    result = _communicate([git_program(), *args], env, cwd, None, TIMEOUT)
    if result.returncode not in ok:
        raise GitFailed(args, result.returncode, result.stderr)
    return result


def _communicate(
    argv: Sequence[str],
    env: Mapping[str, str],
    cwd: Path,
    stdin: bytes | None,
    timeout: float,
    cancelled: Callable[[], bool] | None = None,
) -> GitResult:
    child = start_own(
        argv, env=env, cwd=cwd,
        stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        out, err = _talk(child, stdin, timeout, cancelled)
    except subprocess.TimeoutExpired:
        _kill_group(child)
        out, err = child.communicate()
        return GitResult(-9, out, err + b"\nit took too long")
    except BaseException:
        _kill_group(child)
        with child:  # closes its pipes and waits for it
            raise
    return GitResult(child.returncode, out, err)


def _talk(
    child: "subprocess.Popen[bytes]", stdin: bytes | None, timeout: float, cancelled: Callable[[], bool] | None
) -> tuple[bytes, bytes]:
    if cancelled is None:
        return child.communicate(stdin, timeout)
    end = time.monotonic() + timeout
    while not cancelled():
        try:
            # a further call goes on where this one stopped, and may not be given the input again
            return child.communicate(stdin, min(_LOOK, max(0.0, end - time.monotonic())))
        except subprocess.TimeoutExpired:
            stdin = None
            if time.monotonic() >= end:
                raise
    raise Interrupted("a git process was stopped", "run the command again")


def _kill_group(child: "subprocess.Popen[bytes]") -> None:
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
