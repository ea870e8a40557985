"""What every level that hides things makes of an environment: which toolchains show, which variables make sense."""

import os
import shutil
import stat
from collections.abc import Iterable, Mapping

from agentpkg.core.errors import Lacking
from agentpkg.isolation.base import within
from agentpkg.isolation.toolchains import Tools

#: bytes of a file of settings
_LARGEST_SETTING = 1 << 20

#: variables that lead into a home folder or to a network that are not there
_DROPPED = (
    "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME",
    "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "no_proxy", "all_proxy",
)  # fmt: skip

#: variables that are dropped where what they name cannot be seen
_IF_SEEN = (
    "VIRTUAL_ENV", "PYENV_ROOT", "UV_CACHE_DIR", "PIP_CACHE_DIR", "NVM_DIR", "NVM_BIN", "FNM_DIR", "VOLTA_HOME",
    "PNPM_HOME", "CARGO_HOME", "RUSTUP_HOME", "GOPATH", "GOROOT", "GOCACHE", "GOMODCACHE", "JAVA_HOME",
    "GRADLE_USER_HOME", "RBENV_ROOT", "GEM_HOME",
)  # fmt: skip

#: files that hold certificates, to be shown where they are named
_CERTIFICATES = (
    "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS", "NIX_SSL_CERT_FILE",
)  # fmt: skip


def tools_of(
    env: Mapping[str, str], closed: tuple[str, ...], programs: Iterable[str], mounts: Iterable[str]
) -> tuple[Tools, dict[str, str]]:
    """What of the machine is shown, and the variables that it needs."""
    home = env.get("HOME", "/")
    tools = Tools(home, (os.path.realpath(home), *closed))
    needs = tools.add_environment(env)
    for path in programs:
        tools.add_program(path) if os.access(path, os.X_OK) and os.path.isfile(path) else tools.add(path)
    for path in (*mounts, *(env[name] for name in _CERTIFICATES if os.path.isabs(env.get(name, "")))):
        tools.add(path)
    return tools, needs


def inner_environment(env: Mapping[str, str], tools: Tools) -> dict[str, str]:
    """The environment as it makes sense inside: nothing that leads to nowhere. A home and the like are to be added."""
    hidden = {name for name in _IF_SEEN if name in env and not tools.shows(os.path.normpath(env[name]))}
    return {name: value for name, value in env.items() if name not in _DROPPED and name not in hidden}


def proxies(port: int) -> dict[str, str]:
    """How programs find the way out: what curl, pip, git, node and most others read."""
    named = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), f"http://127.0.0.1:{port}")
    return {**named, **dict.fromkeys(("NO_PROXY", "no_proxy"), "localhost,127.0.0.1,::1"), "NODE_USE_ENV_PROXY": "1"}


def settings_copies(states: Iterable[str], user_home: str, home: str) -> dict[str, str]:
    """Copies what an agent's program keeps into the session's own home; gives the copies' paths by the originals'.

    An agent that could write the original would have the user's own next start of that program run what it likes.
    """
    copies: dict[str, str] = {}
    for path in states:
        inside = in_home(path, user_home)
        copy = os.path.join(home, inside)
        require_plain(home, *inside.split(os.sep))
        if not os.path.lexists(copy):
            _copy_settings(path, copy)
        if os.path.exists(copy):
            copies[path] = copy
    return copies


def in_home(path: str, user_home: str) -> str:
    """Where in the session's own home the copy of a path lies."""
    return os.path.relpath(path, user_home) if within(path, user_home) else f".states{path}"


def _copy_settings(source: str, to: str) -> None:
    """Copies a file, or the plain files right in a folder: settings and sign-in, not what was said and done before."""
    os.makedirs(os.path.dirname(to), mode=0o700, exist_ok=True)
    if os.path.isfile(source):
        shutil.copyfile(source, to)
        os.chmod(to, 0o600)
    elif os.path.isdir(source):
        os.mkdir(to, 0o700)
        for entry in os.scandir(source):
            if entry.is_file() and not entry.name.startswith("history") and entry.stat().st_size <= _LARGEST_SETTING:
                _copy_settings(entry.path, os.path.join(to, entry.name))


def plain(path: str, kind: int = stat.S_IFDIR) -> str:
    """The path, once it is certain that it is no link: what an agent wrote decides nothing that is mounted."""
    try:
        found = stat.S_IFMT(os.lstat(path).st_mode)
    except OSError as error:
        raise _not_plain(path, error.strerror or "it cannot be looked at") from error
    if found != kind:
        raise _not_plain(path, "it is something else than it was made as")
    return path


def require_plain(root: str, *parts: str) -> None:
    """The same for what lies below a folder that an agent may have written, link by link; missing is good."""
    here = root
    for number, part in enumerate(parts, start=1):
        here = os.path.join(here, part)
        if os.path.lexists(here):
            plain(here, stat.S_IFDIR if number < len(parts) or os.path.isdir(here) else stat.S_IFREG)


def _not_plain(path: str, why: str) -> Lacking:
    return Lacking(f"cannot isolate: {path}: {why}", "start the package again with --fresh", code="not_isolated")
