"""The environment of command checks: an allow-list of the caller's, nothing that could be a secret."""

import os
from collections.abc import Mapping

from agentpkg.checks.copy import MARK, Copy

#: what programs and toolchains are found and spoken to by
_KEPT = frozenset(
    {
        "PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TZ", "VIRTUAL_ENV", "CONDA_PREFIX",
        "PYENV_ROOT", "PYENV_VERSION", "CARGO_HOME", "RUSTUP_HOME", "RUSTUP_TOOLCHAIN", "GOPATH", "GOROOT",
        "GOCACHE", "GOMODCACHE", "GOTOOLCHAIN", "JAVA_HOME", "MAVEN_HOME", "GRADLE_USER_HOME", "NVM_DIR", "NODE_PATH",
        "NPM_CONFIG_CACHE", "PNPM_HOME", "GEM_HOME", "GEM_PATH", "RBENV_ROOT", "ASDF_DIR", "ASDF_DATA_DIR",
        "MISE_DATA_DIR", "UV_CACHE_DIR", "PIP_CACHE_DIR", "XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME",
        "SSL_CERT_FILE", "SSL_CERT_DIR", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "NIX_PATH", "SDKROOT",
    }
)  # fmt: skip


def build(copy: Copy, more: Mapping[str, str], environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """The whole environment of a check in ``copy``.

    Args:
        more: variables that the review was given; they win.
        environ: the caller's environment, ``os.environ`` if None.
    """
    mine = os.environ if environ is None else environ
    kept = {name: value for name, value in mine.items() if name in _KEPT or name.startswith("LC_")}
    own = {"TMPDIR": str(copy.temporary), "PWD": str(copy.root), "NO_COLOR": "1", "TERM": "dumb"}
    # byte code beside the sources would look like changes of the candidate to later steps of the same check
    return {"PATH": os.defpath, **kept, **own, "PYTHONDONTWRITEBYTECODE": "1", **more, MARK: copy.root.parent.name}
