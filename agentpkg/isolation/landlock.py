"""The inner side of level ``medium``: run by its path alone, it binds itself by Landlock and becomes the agent.

``python -I -S landlock.py RULES -- AGENT…``, where RULES is JSON: ``{"read": [paths], "list": [paths], "write":
[paths], "connect": [ports], "net": bool, "calls": a filter of system calls in hex, "folders": [paths] or null}``. With
``folders`` the filter asks, and what was started stays as the agent's parent and answers
(:mod:`agentpkg.isolation.deputy`). Nothing of agentpkg is imported, so that it starts in milliseconds. The numbers are
those of linux/landlock.h; what each version of the interface (ABI) has: landlock(7).
"""

import ctypes
import importlib
import json
import os
import signal
import stat
import struct
import sys
import zlib
from typing import Any, NoReturn

_CREATE, _ADD, _RESTRICT = 444, 445, 446
_SYS_CAPSET = {"x86_64": 126, "aarch64": 91, "riscv64": 91}
_SYS_SECCOMP = {"x86_64": 317, "aarch64": 277, "riscv64": 277}
_FILTER, _NEW_LISTENER, _WAIT_KILLABLE = 1, 1 << 3, 1 << 5
_PIDFD_OPEN, _PIDFD_GETFD = 434, 438
_DEATH_SIGNAL = 1
_NO_NEW_PRIVS, _CAPBSET_DROP, _CAP_AMBIENT, _AMBIENT_CLEAR = 38, 24, 47, 4

#: how many rights over files each version knows; the last entry holds for all later ones
_FILE_RIGHTS = (0, 13, 14, 15, 15, 16)
_READ_DIR = 1 << 3
_READ = 1 << 0 | 1 << 2 | _READ_DIR
#: of these, what can be said of something that is no folder: execute, write, read, truncate, ioctl
_OF_FILES = 1 << 0 | 1 << 1 | 1 << 2 | 1 << 14 | 1 << 15
_BIND, _CONNECT = 1 << 0, 1 << 1
_SCOPES = 1 << 0 | 1 << 1

_libc = ctypes.CDLL(None, use_errno=True)


def _call(number: int, *arguments: object) -> int:
    return int(_libc.syscall(ctypes.c_long(number), *arguments))


def abi() -> int:
    """The version of the kernel's Landlock; 0 where there is none."""
    if not sys.platform.startswith("linux"):
        return 0
    return max(0, _call(_CREATE, None, ctypes.c_size_t(0), ctypes.c_uint32(1)))


def _checked(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def _ruleset(version: int, net: bool) -> "tuple[int, int]":
    rights = (1 << _FILE_RIGHTS[min(version, len(_FILE_RIGHTS) - 1)]) - 1
    words = [rights]
    if version >= 4:
        words.append(_BIND | _CONNECT if net else 0)
    if version >= 6:
        words.append(_SCOPES)
    attributes = struct.pack(f"={len(words)}Q", *words)
    made = _call(_CREATE, ctypes.c_char_p(attributes), ctypes.c_size_t(len(attributes)), ctypes.c_uint32(0))
    return _checked(made, "landlock_create_ruleset"), rights


def _allow(ruleset: int, path: str, rights: int) -> None:
    try:
        handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        # what is not there needs no rule
        return
    try:
        wanted = rights if os.path.isdir(path) else rights & _OF_FILES
        rule = struct.pack("=Qi", wanted, handle)
        _checked(_call(_ADD, ctypes.c_int(ruleset), ctypes.c_int(1), ctypes.c_char_p(rule), ctypes.c_uint32(0)), path)
    finally:
        os.close(handle)


def _allow_port(ruleset: int, port: int) -> None:
    rule = struct.pack("=QQ", _CONNECT, port)
    _checked(_call(_ADD, ctypes.c_int(ruleset), ctypes.c_int(2), ctypes.c_char_p(rule), ctypes.c_uint32(0)), str(port))


def restrict(rules: "dict[str, Any]") -> int:
    """Binds the calling process, and all it will start, for ever. Raises :class:`OSError`.

    Returns:
        The descriptor through which the filter of system calls asks; -1 where it does not.
    """
    version = abi()
    ruleset, rights = _ruleset(version, bool(rules.get("net")))
    for path in rules["read"]:
        _allow(ruleset, path, _READ)
    for path in rules["list"]:
        _allow(ruleset, path, _READ_DIR)
    for path in rules["write"]:
        _allow(ruleset, path, rights)
    if version >= 4 and rules.get("net"):
        for port in rules.get("connect", []):
            _allow_port(ruleset, int(port))
    _drop_capabilities()
    _checked(_libc.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")
    _checked(_call(_RESTRICT, ctypes.c_int(ruleset), ctypes.c_uint32(0)), "landlock_restrict_self")
    os.close(ruleset)
    return _filter_calls(bytes.fromhex(rules["calls"]), rules.get("folders") is not None)


def _filter_calls(program: bytes, asks: bool) -> int:
    if not program:
        return -1
    code = ctypes.create_string_buffer(program, len(program))
    # struct sock_fprog: how many steps of eight bytes, and where they are
    told = ctypes.c_char_p(struct.pack("@HP", len(program) // 8, ctypes.addressof(code)))
    number = _SYS_SECCOMP[os.uname().machine]
    flags = _NEW_LISTENER | _WAIT_KILLABLE if asks else 0
    made = _call(number, ctypes.c_uint(_FILTER), ctypes.c_uint(flags), told)
    return _checked(made, "seccomp") if asks else _checked(made, "seccomp") - 1


def _drop_capabilities() -> None:
    """For root: a superuser without capabilities is an ordinary user to the kernel, and so are its children."""
    if os.geteuid() != 0:
        return
    for capability in range(64):
        _libc.prctl(_CAPBSET_DROP, capability, 0, 0, 0)
    _libc.prctl(_CAP_AMBIENT, _AMBIENT_CLEAR, 0, 0, 0)
    header, nothing = struct.pack("=Ii", 0x20080522, 0), bytes(24)
    number = _SYS_CAPSET.get(os.uname().machine)
    if number is None:
        raise OSError(0, f"the number of capset on {os.uname().machine} is not known")
    _checked(_call(number, ctypes.c_char_p(header), ctypes.c_char_p(nothing)), "capset")


def _become(argv: "list[str]") -> NoReturn:
    try:
        os.execvp(argv[0], argv)
    except OSError as error:
        _fail(f"cannot start {argv[0]}: {error.strerror}")


def _fail(why: str) -> NoReturn:
    sys.stderr.write(f"landlock: {why}\n")
    sys.stderr.flush()
    os._exit(125)


def _shorten(folder: str) -> str:
    """A short name for a folder, in the user's own: the path of a unix socket has 107 bytes. Itself where none can be.

    It is named after the folder, so that there is one however often this runs; those whose folder is gone are removed.
    """
    runtime = f"/tmp/agentpkg-{os.getuid()}"
    name = f"{runtime}/t-{zlib.crc32(os.fsencode(folder)):08x}"
    if len(folder) <= len(name):
        return folder
    try:
        os.makedirs(runtime, 0o700, exist_ok=True)
        found = os.lstat(runtime)
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
            return folder
        for old in os.scandir(runtime):
            if old.is_symlink() and not os.path.exists(old.path):
                os.unlink(old.path)
        if not os.path.lexists(name):
            os.symlink(folder, name)
        return name if os.readlink(name) == folder else folder
    except OSError:
        return folder


def _answered(rules: "dict[str, Any]", argv: "list[str]") -> NoReturn:
    """Has a child become the agent, and answers for it."""
    own = _own_address()
    for name in ("NO_PROXY", "no_proxy"):
        if name in os.environ:
            os.environ[name] += f",{own}"
    if "TMPDIR" in os.environ:
        os.environ["TMPDIR"] = _shorten(os.environ["TMPDIR"])
    (told, tell), (go, let_go), starter = os.pipe(), os.pipe(), os.getpid()
    agent = os.fork()
    if agent == 0:
        # the agent ends with the one who answers for it
        _libc.prctl(_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)
        os.write(tell, struct.pack("=i", restrict(rules)))
        if not os.read(go, 1) or os.getppid() != starter:
            os._exit(125)
        _become(argv)
    os.close(tell)
    listener = _taken(agent, os.read(told, 4))
    os.write(let_go, b"x")
    _serve(listener, agent, own, rules)


def _own_address() -> str:
    """One of 127.0.0.0/8 that no other session has, as far as chance goes."""
    one, two, three = os.urandom(3)
    return f"127.{1 + one % 254}.{two}.{1 + three % 254}"


def _serve(listener: int, agent: int, own: str, rules: "dict[str, Any]") -> NoReturn:
    """Holds nothing of the agent's but the filter, and answers what it asks."""
    # what asks the agent's group to end is for the agent to decide on
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)
    kept = os.dup2(listener, 3)
    os.closerange(4, os.sysconf("SC_OPEN_MAX"))
    # while the agent starts
    sys.path.append(os.path.dirname(os.path.abspath(__file__)))
    deputy, loopback, shm = map(importlib.import_module, ("deputy", "loopback", "shm"))
    sockets = loopback.Sockets(own, rules["connect"], rules["folders"])
    raise SystemExit(deputy.serve(kept, agent, {**sockets.calls(), **shm.calls()}))


def _taken(agent: int, told: bytes) -> int:
    """The filter's descriptor, which the child has; it can be taken over as the sockets will be."""
    if len(told) < 4:
        # it has said why
        os._exit(os.waitstatus_to_exitcode(os.waitpid(agent, 0)[1]) & 0xFF)
    process = _checked(_call(_PIDFD_OPEN, ctypes.c_int(agent), ctypes.c_uint(0)), "pidfd_open")
    return _checked(_call(_PIDFD_GETFD, process, *struct.unpack("=i", told), ctypes.c_uint(0)), "pidfd_getfd")


def main() -> None:
    """Binds itself and becomes the command."""
    argv = sys.argv[3:]
    try:
        rules = json.loads(sys.argv[1])
        if rules.get("folders") is not None:
            _answered(rules, argv)
        restrict(rules)
    except OSError as error:
        _fail(error.strerror or str(error))
    _become(argv)


if __name__ == "__main__":
    main()
