"""What of a developer's machine is shown inside: the toolchains that PATH names, each by itself.

A folder of PATH outside the system's own stands for an installation: the prefix above its ``bin``. That prefix is
shown, never a whole home folder, and of a prefix that lies directly in the home (``~/.cargo``, ``~/.local``) only the
parts that hold programs, since such folders keep credentials too. Links from a folder of PATH are followed, so that a
version manager's or installer's program is there with what it belongs to.
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from agentpkg.isolation.base import within

#: shown as a whole by every sandbox, where they are
SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/nix", "/gnu")

#: configuration of the machine that programs need and that holds no secrets
ETC = (
    "/etc/alternatives", "/etc/ca-certificates", "/etc/ca-certificates.conf", "/etc/fonts", "/etc/group", "/etc/hosts",
    "/etc/java-8-openjdk", "/etc/java-11-openjdk", "/etc/java-17-openjdk", "/etc/java-21-openjdk", "/etc/ld.so.cache",
    "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/localtime", "/etc/magic", "/etc/mime.types", "/etc/nsswitch.conf",
    "/etc/os-release", "/etc/passwd", "/etc/pki/ca-trust", "/etc/pki/tls/cert.pem", "/etc/pki/tls/certs",
    "/etc/protocols", "/etc/python3", "/etc/python3.11", "/etc/python3.12", "/etc/python3.13", "/etc/services",
    "/etc/ssl/cert.pem", "/etc/ssl/certs", "/etc/ssl/openssl.cnf", "/etc/terminfo", "/etc/timezone",
)  # fmt: skip

#: folders of programs: what is installed is the folder above
_BINS = frozenset(("bin", "sbin", "shims", "libexec", "Scripts"))

#: what of a folder directly in the home may be shown; none of these names holds credentials in any tool we know
_PARTS = (
    "bin", "sbin", "shims", "lib", "lib32", "lib64", "libexec", "include", "share", "versions", "version", "plugins",
    "pyenv.d", "rbenv.d", "installs", "toolchains", "settings.toml", "update-hashes", "src", "pkg", "VERSION", "go.env",
    "pkgs", "envs", "conda-meta", "condabin", "compiler_compat", "pyvenv.cfg", "candidates", "node_modules", "tools",
    "sdk", "jre", "jmods", "conf", "release", "ssl", "asdf.sh", "internal",
)  # fmt: skip

#: ``~/.local/share`` holds keyrings
_LOCAL_PARTS = ("bin", "sbin", "lib", "lib32", "lib64", "libexec", "include")

#: never shown as a whole, whatever PATH says
_TOO_WIDE = frozenset(
    ("/", "/home", "/root", "/etc", "/var", "/var/lib", "/opt", "/srv", "/tmp", "/run", "/mnt", "/media", "/dev",
     "/proc", "/sys", "/boot")
)  # fmt: skip

#: folders of the home that hold settings and secrets; of these nothing but the folder of PATH itself is shown
_PRIVATE = (".config", ".ssh", ".gnupg", ".aws", ".azure", ".kube", ".docker", ".cache", ".mozilla", ".password-store")

#: variables that name an installation
_ROOTS = (
    "VIRTUAL_ENV", "JAVA_HOME", "GOROOT", "RUSTUP_HOME", "PYENV_ROOT", "RBENV_ROOT", "VOLTA_HOME", "ASDF_DIR",
    "ASDF_DATA_DIR", "MISE_DATA_DIR", "FNM_DIR", "SDKROOT",
)  # fmt: skip

#: where tools look below the home unless a variable says otherwise; inside, the home is another
_DEFAULTS = {
    "RUSTUP_HOME": ".rustup", "PYENV_ROOT": ".pyenv", "RBENV_ROOT": ".rbenv", "VOLTA_HOME": ".volta",
    "ASDF_DATA_DIR": ".asdf", "MISE_DATA_DIR": ".local/share/mise",
}  # fmt: skip

#: the folder of the home whose presence on PATH makes such a default count
_USED_BY = {"RUSTUP_HOME": ".cargo"}

#: links of one folder of PATH that are followed
_MOST_LINKS = 500


@dataclass
class Tools:
    """Collects paths to be shown read-only.

    Attributes:
        home: the user's home folder.
        closed: folders that must never be seen as a whole: the main work tree, the git common dir, the state.
        paths: what was found, in order; each appears inside under its own name.
    """

    home: str
    closed: tuple[str, ...] = ()
    paths: dict[str, None] = field(default_factory=dict)

    def add_environment(self, env: Mapping[str, str]) -> dict[str, str]:
        """Adds what PATH and the variables of tools name; gives variables that tools need besides."""
        folders = [f for f in env.get("PATH", os.defpath).split(os.pathsep) if os.path.isabs(f)]
        for folder in folders:
            self.add_folder(os.path.normpath(folder))
        for name in _ROOTS:
            self._add_root(env.get(name, ""))
        for folder in env.get("LD_LIBRARY_PATH", "").split(os.pathsep):
            if os.path.isabs(folder) and os.path.isdir(folder):
                self._add(os.path.normpath(folder))
        return self._defaults(folders, env)

    def add_folder(self, folder: str) -> None:
        """Adds a folder of programs with what it belongs to, and what its links lead to."""
        if self.covers(folder) or not os.path.isdir(folder):
            return
        self._add_installation(folder)
        for link in _links(folder):
            self._follow(link)

    def add_program(self, program: str) -> None:
        """Adds a program that is to be started, what it really is, and the interpreter that its first line names."""
        self._follow(program)
        self._add_single(program)
        interpreter = interpreter_of(program)
        if interpreter is not None and os.path.isabs(interpreter):
            self._follow(interpreter)

    def add(self, path: str) -> None:
        """Adds one path that somebody asked for, and what it is when it is a link."""
        self._add(path)
        self._add(os.path.realpath(path))

    def covers(self, path: str) -> bool:
        """Whether a path is seen already."""
        return any(within(path, known) for known in (*SYSTEM, *self.paths))

    def shows(self, path: str) -> bool:
        """Whether a path is seen, or something below it."""
        return self.covers(path) or any(within(known, path) for known in self.paths)

    # ----------------------------------------------------------------- one path

    def _add(self, path: str) -> None:
        if not self.covers(path) and os.path.exists(path):
            self.paths[path] = None

    def _add_root(self, root: str) -> None:
        if os.path.isabs(root) and os.path.isdir(root):
            self._add_prefix(os.path.normpath(root), otherwise=None)
            self._add_prefix(os.path.realpath(root), otherwise=None)

    def _add_installation(self, folder: str) -> None:
        """A folder of programs, under the name it has and under the one it really has."""
        for name in (folder, os.path.realpath(folder)):
            above = os.path.dirname(name)
            belongs = os.path.basename(name) in _BINS or name.endswith("/node_modules/.bin")
            self._add_prefix(above if belongs else name, otherwise=name)

    def _add_prefix(self, prefix: str, otherwise: str | None) -> None:
        if self._is_open(prefix):
            parts = self._parts(prefix)
            for path in [prefix] if parts is None else [os.path.join(prefix, part) for part in parts]:
                self._add(path)
        elif otherwise is not None and otherwise != prefix and not self._too_wide(otherwise):
            self._add(otherwise)

    def _is_open(self, prefix: str) -> bool:
        private = any(within(prefix, os.path.join(self.home, name)) for name in _PRIVATE)
        return not private and not self._too_wide(prefix)

    def _too_wide(self, prefix: str) -> bool:
        return prefix in _TOO_WIDE or any(within(closed, prefix) for closed in (self.home, *self.closed))

    def _parts(self, prefix: str) -> tuple[str, ...] | None:
        """What of a prefix may be shown; None: all of it."""
        if os.path.dirname(prefix) != self.home:
            return None
        return _LOCAL_PARTS if os.path.basename(prefix) == ".local" else _PARTS

    def _follow(self, path: str) -> None:
        """Adds what a path leads to, link by link, each hop under its own name."""
        for hop in _hops(path):
            if self.covers(hop) or not os.path.exists(hop):
                continue
            if os.path.basename(os.path.dirname(hop)) in _BINS:
                self._add_installation(os.path.dirname(hop))
            self._add_single(hop)

    def _add_single(self, path: str) -> None:
        """A file by itself; one of an application's own folder outside the home with that folder."""
        parts = path.split(os.sep)
        if parts[1] == "opt" and len(parts) > 3:
            self._add(os.sep.join(parts[:3]))
        self._add(path)

    def _defaults(self, folders: Iterable[str], env: Mapping[str, str]) -> dict[str, str]:
        found: dict[str, str] = {}
        for name, place in _DEFAULTS.items():
            root = os.path.join(self.home, place)
            user = os.path.join(self.home, _USED_BY.get(name, place))
            if name not in env and os.path.isdir(root) and any(within(folder, user) for folder in folders):
                self._add_root(root)
                found[name] = root
        return found


def interpreter_of(program: str) -> str | None:
    """The interpreter that a script's first line names (execve(2)); None for anything else."""
    try:
        with open(program, "rb") as file:
            first = file.read(1024).split(b"\n", 1)[0]
    except OSError:
        return None
    words = os.fsdecode(first[2:]).split() if first.startswith(b"#!") else []
    return words[0] if words else None


def _links(folder: str) -> Iterator[str]:
    count = 0
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_symlink() and count < _MOST_LINKS:
                count += 1
                yield entry.path


def _hops(path: str) -> Iterator[str]:
    """A path's targets one after another, as the links name them, and last what it really is."""
    here = path
    for _ in range(16):
        try:
            here = os.path.normpath(os.path.join(os.path.dirname(here), os.readlink(here)))
        except OSError:
            break
        yield here
    yield os.path.realpath(path)
