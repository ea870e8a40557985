"""The inner side of level ``medium``: run by its path alone, it binds itself by Landlock and becomes the agent.

``python -I -S landlock.py RULES -- AGENT…``, where RULES is JSON: ``{"read": [paths], "list": [paths], "write":
[paths], "connect": [ports], "net": bool, "calls": a filter of system calls in hex}``. Nothing of agentpkg is imported,
so that it starts in milliseconds. The numbers are those of linux/landlock.h; what each version of the interface (ABI)
has: landlock(7).
"""

import ctypes
import json
import os
import struct
import sys

_CREATE, _ADD, _RESTRICT = 444, 445, 446
_SYS_CAPSET = {"x86_64": 126, "aarch64": 91, "riscv64": 91}
_SECCOMP, _SECCOMP_FILTER = 22, 2
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


def restrict(rules: "dict[str, list[str]]", refused: bytes) -> None:
    """Binds the calling process, and all it will start, for ever. Raises :class:`OSError`.

    Args:
        refused: a filter of system calls, see :mod:`agentpkg.isolation.calls`; empty: none.
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
    _refuse_calls(refused)


def _refuse_calls(program: bytes) -> None:
    if not program:
        return
    code = ctypes.create_string_buffer(program, len(program))
    # struct sock_fprog: how many steps of eight bytes, and where they are
    told = struct.pack("@HP", len(program) // 8, ctypes.addressof(code))
    _checked(_libc.prctl(_SECCOMP, _SECCOMP_FILTER, ctypes.c_char_p(told), 0, 0), "seccomp")


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


def main() -> None:
    """Binds itself and becomes the command."""
    argv = sys.argv[3:]
    try:
        rules = json.loads(sys.argv[1])
        restrict(rules, bytes.fromhex(rules["calls"]))
    except OSError as error:
        sys.stderr.write(f"landlock: {error.strerror}\n")
        sys.exit(125)
    try:
        os.execvp(argv[0], argv)
    except OSError as error:
        sys.stderr.write(f"landlock: cannot start {argv[0]}: {error.strerror}\n")
        sys.exit(125)


if __name__ == "__main__":
    main()
