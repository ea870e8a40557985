"""The control dir: a bare git dir that only agentpkg writes, over the repository's objects.

Filter and merge drivers have free names, so no ``-c`` switch turns them off: whatever looks at *content* (checkouts,
merges, status) runs here, where the configuration names no program. Copied from the user's configuration, as data
and from a closed list of values, is only what decides how a file is written: line ends, modes, links, case.
"""

import os
import re
import secrets
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from agentpkg.core.errors import Lacking
from agentpkg.files import read_bounded, write_atomic
from agentpkg.git.discover import Repository, read_small
from agentpkg.git.repo import Git, as_user

_BOOL = "true|false|yes|no|on|off|1|0|"

#: keys that may be copied, each with the values that are data
_COPIED = {
    "core.autocrlf": f"{_BOOL}|input",
    "core.eol": "lf|crlf|native",
    "core.filemode": _BOOL,
    "core.symlinks": _BOOL,
    "core.ignorecase": _BOOL,
    "core.precomposeunicode": _BOOL,
    "core.trustctime": _BOOL,
    "core.checkstat": "default|minimal",
    "core.sharedrepository": f"{_BOOL}|umask|group|all|world|everybody|2|0[0-7]{{3}}",
}

#: what of ``info/`` decides how content is read; names no program by itself
_MIRRORED = ("shallow", "info/exclude", "info/attributes")

_MIRROR_LIMIT = 64 << 20

_FILTER_KEYS = ("clean", "smudge", "process", "required")


def open_control(repo: Repository, filters: Sequence[str] = ()) -> Git:
    """Git on the control dir, made if it is missing and brought up to date with the repository.

    Args:
        filters: names of content filters that may run (``worktree.filters``), taken from the user's or the system's
            configuration, never from the repository's.

    Raises:
        Lacking: a named filter is not defined there.
    """
    settings = read_settings(repo)
    path = repo.make_state() / "control.git"
    keep_bare(path, repo.objects, config_text(repo, settings, bare=True).encode())
    for name in _MIRRORED:
        mirror(repo.common_dir / name, path / name)
    config, environment = _filters(repo, filters)
    return Git(path, config=config, environment=environment)


def read_settings(repo: Repository) -> dict[str, str]:
    """The user's effective settings that decide how files are written, values checked against a closed list."""
    listed = as_user("config", "--null", "--list", cwd=repo.work_tree).stdout
    found: dict[str, str] = {}
    for item in listed.split(b"\0"):
        key, _, value = os.fsdecode(item).partition("\n")
        if key in _COPIED:
            text = value if "\n" in os.fsdecode(item) else "true"
            if re.fullmatch(_COPIED[key], text, re.IGNORECASE):
                found[key] = text
    return found


def config_text(repo: Repository, settings: Mapping[str, str], *, bare: bool) -> str:
    """A git configuration file of format keys and copied settings, for a control or a private git dir."""
    sha256 = repo.object_format != "sha1"
    lines = ["[core]", f"\trepositoryformatversion = {int(sha256)}", f"\tbare = {str(bare).lower()}"]
    lines += [f"\t{key.partition('.')[2]} = {value}" for key, value in sorted(settings.items())]
    if sha256:
        lines += ["[extensions]", f"\tobjectformat = {repo.object_format}"]
    return "\n".join(lines) + "\n"


def alternates_line(objects: Path, of: Path) -> bytes:
    """The line for ``objects/info/alternates`` below ``of`` that names ``objects``: relative, so that both may move."""
    path = os.fsencode(os.path.relpath(objects, of / "objects"))
    quoted = path.replace(b"\\", b"\\\\").replace(b'"', b'\\"').replace(b"\n", b"\\n")
    return (path if quoted == path else b'"' + quoted + b'"') + b"\n"


def mirror(source: Path, to: Path) -> None:
    """Makes ``to`` the same as the file ``source``: replaced when it differs, gone when there is none."""
    try:
        data = read_bounded(source, _MIRROR_LIMIT, follow=True)
    except FileNotFoundError:
        to.unlink(missing_ok=True)
        return
    _replace(to, data)


#: what a bare git dir has of its own; whatever is above others comes first
_FILES = ("HEAD", "config", "packed-refs")
_FOLDERS = ("refs", "refs/heads", "refs/tags", "objects", "objects/info", "objects/pack", "info")


def keep_bare(path: Path, objects: Path, config: bytes) -> None:
    """Has a bare git dir of agentpkg's own at ``path``: made if it is missing, and mended where a power cut tore it.

    It is made whole beside its place and renamed; of several makers one wins.

    Args:
        objects: of the repository that it borrows from.
        config: the whole of its configuration.
    """
    files = {
        "HEAD": b"ref: refs/heads/none\n", "objects/info/alternates": alternates_line(objects, path), "config": config,
    }  # fmt: skip
    _drop_links(path)
    if path.is_dir():
        for name, data in files.items():
            _replace(path / name, data)
    else:
        _make(path, files)


def _drop_links(path: Path) -> None:
    """Takes away links, which somebody planted who may write here: what goes through one would change a repository of
    the user's."""
    if path.is_symlink():
        path.unlink()
    elif path.is_dir():
        for name in (*_FILES, *_FOLDERS):
            if (path / name).is_symlink():
                (path / name).unlink()
        for name in _FOLDERS:
            (path / name).mkdir(mode=0o700, parents=True, exist_ok=True)


def _make(path: Path, files: Mapping[str, bytes]) -> None:
    draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    try:
        for folder in _FOLDERS:
            (draft / folder).mkdir(mode=0o700, parents=True)
        for name, data in files.items():
            (draft / name).write_bytes(data)
        os.rename(draft, path)
    except OSError:
        if not path.is_dir():
            raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _replace(path: Path, data: bytes) -> None:
    if read_small(path, len(data)) != data:
        write_atomic(path, data)


def _filters(repo: Repository, names: Sequence[str]) -> tuple[tuple[str, ...], dict[str, str]]:
    if not names:
        return (), {}
    defined = _user_filters(repo)
    missing = [name for name in names if name not in defined]
    if missing:
        raise Lacking(
            f"worktree.filters names {missing[0]!r}, which your git configuration does not define",
            "define it there (for LFS: git lfs install), or take the name out", code="unknown_filter",
        )  # fmt: skip
    config = [f"filter.{name}.{key}={value}" for name in names for key, value in defined[name].items()]
    if "lfs" in names:
        config.append(f"lfs.storage={repo.common_dir / 'lfs'}")
    return tuple(config), {"HOME": os.environ.get("HOME", "/nonexistent")}


def _user_filters(repo: Repository) -> dict[str, dict[str, str]]:
    """Filters of the user's and the system's configuration, by name."""
    listed = as_user("config", "--null", "--show-scope", "--list", cwd=repo.work_tree).stdout
    items = [os.fsdecode(item) for item in listed.split(b"\0")]
    found: dict[str, dict[str, str]] = {}
    for scope, item in zip(items[::2], items[1::2], strict=False):
        key, _, value = item.partition("\n")
        section, _, variable = key.rpartition(".")
        if scope in ("global", "system") and section.startswith("filter.") and variable in _FILTER_KEYS:
            found.setdefault(section.removeprefix("filter."), {})[variable] = value
    return found
