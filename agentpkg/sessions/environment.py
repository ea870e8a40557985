"""The environment of an agent: an allow-list, what the user configured, and who it is.

Every variable given to an agent can be printed by its model, so nothing is passed that does not serve building and
testing code.
"""

from collections.abc import Mapping

from agentpkg.harnesses.base import Job

#: passed on when the caller has them
_ALLOWED = frozenset(
    (
        # who and where
        "PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TZ", "TMPDIR",
        "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME",
        # the way to the network
        "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "no_proxy", "all_proxy",
        "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS",
        # tool chains
        "VIRTUAL_ENV", "PYENV_ROOT", "UV_CACHE_DIR", "PIP_CACHE_DIR", "NVM_DIR", "NVM_BIN", "FNM_DIR", "VOLTA_HOME",
        "PNPM_HOME", "CARGO_HOME", "RUSTUP_HOME", "GOPATH", "GOROOT", "GOCACHE", "GOMODCACHE", "JAVA_HOME",
        "GRADLE_USER_HOME", "RBENV_ROOT", "GEM_HOME", "NIX_PATH", "NIX_PROFILES", "NIX_SSL_CERT_FILE",
        "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SDKROOT", "DEVELOPER_DIR",
    )
)  # fmt: skip

#: and those that begin so
_ALLOWED_PREFIXES = ("LC_", "ASDF_", "MISE_")

#: variables that would lead git to another repository, or another configuration, than its private one; see git(1)
_GIT_LEADING = (
    "GIT_DIR", "GIT_COMMON_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_NAMESPACE",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_CEILING_DIRECTORIES", "GIT_DISCOVERY_ACROSS_FILESYSTEM", "GIT_PREFIX",
    "GIT_REPLACE_REF_BASE", "GIT_SHALLOW_FILE", "GIT_GRAFT_FILE",
)  # fmt: skip


def inherited(caller: Mapping[str, str]) -> dict[str, str]:
    """What of the caller's environment any process that serves building and testing may see."""
    return {
        name: value for name, value in caller.items() if name in _ALLOWED or name.startswith(_ALLOWED_PREFIXES)
    }  # fmt: skip


def identity(agent: str) -> dict[str, str]:
    """The variables by which git knows an agent as author and committer."""
    return {
        f"GIT_{role}_{part}": value
        for role in ("AUTHOR", "COMMITTER")
        for part, value in (("NAME", agent), ("EMAIL", f"{agent}@agentpkg.invalid"))
    }


def build(caller: Mapping[str, str], configured: Mapping[str, str], agent: str, job: Job) -> dict[str, str]:
    """The whole environment of an agent.

    Args:
        caller: the environment of whoever dispatched it.
        configured: the configured variables, secrets resolved; they go before the caller's, but name neither another
            repository nor another session.
        agent: the agent's name.
        job: what it is to do.
    """
    wanted = {
        name: value
        for name, value in configured.items()
        if name not in _GIT_LEADING and not name.startswith("AGENTPKG_")
    }
    own = {
        "AGENTPKG_SESSION": job.session,
        "AGENTPKG_FEATURE": job.feature,
        "AGENTPKG_WP": job.wp,
        "AGENTPKG_PROMPT": job.prompt_path,
        "AGENTPKG_TASK": job.task_path,
    }
    return {"TERM": "dumb", **inherited(caller), **wanted, **identity(agent), **own}
