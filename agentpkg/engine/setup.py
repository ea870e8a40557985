"""A first configuration for a repository: commented samples of every key, and a constitution to start from."""

import json
from dataclasses import dataclass
from pathlib import Path

from agentpkg.config import CONFIG_FILE
from agentpkg.config.governance import GOVERNANCE_FILE
from agentpkg.files import write_atomic
from agentpkg.git.discover import Repository

#: the constitution's place, and the older one
_CONSTITUTIONS = (".kittify/constitution.md", ".kittify/memory/constitution.md")


@dataclass(frozen=True, slots=True)
class SetUp:
    """What ``init`` did; paths relative to the work tree."""

    written: tuple[str, ...]
    kept: tuple[str, ...]


def init(repository: Repository) -> SetUp:
    """Writes ``.kittify/config.yaml``, ``governance.yaml`` and a constitution; never overwrites one."""
    root = repository.work_tree
    config = config_text(root.name, current_branch(repository))
    texts = {CONFIG_FILE: config, GOVERNANCE_FILE: GOVERNANCE, _CONSTITUTIONS[0]: CONSTITUTION}
    written, kept = [], []
    for path, text in texts.items():
        there = _there(root, path)
        if there is not None:
            kept.append(there)
            continue
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        write_atomic(root / path, text, 0o644)
        written.append(path)
    return SetUp(tuple(written), tuple(kept))


def _there(root: Path, path: str) -> str | None:
    names = _CONSTITUTIONS if path in _CONSTITUTIONS else (path,)
    return next((name for name in names if (root / name).exists() or (root / name).is_symlink()), None)


def current_branch(repository: Repository) -> str:
    """The branch that the main work tree is on; ``main`` when it is on none."""
    found = repository.git.run("symbolic-ref", "--quiet", "--short", "HEAD", ok=(0, 1))
    return found.text if found.returncode == 0 and found.text else "main"


def config_text(name: str, target: str) -> str:
    """A sample in which only the project's name and target are set; every other key stands with its default.

    Args:
        name: of the project.
        target: the branch that work packages merge into.
    """
    return _CONFIG.replace("@NAME@", json.dumps(name)).replace("@TARGET@", json.dumps(target))


CONSTITUTION = """\
# Constitution

Rules that every agent is told and every work package keeps. Replace these with your own.

- Behaviour that changes comes with a test that would have failed before.
- Public functions say what they take, what they give, and what they raise.
- Errors are told to the user with what to do about them; nothing is swallowed.
- No new dependency without a word on why in the commit message.
"""

GOVERNANCE = """\
# What agents' work may do by itself (autonomous), what waits for people (approval), and what is forbidden. All keys are
# commented out and stand with their defaults or an example; `agentpkg policy check FEATURE` tells what a package needs.

# actions:
#   merge: autonomous             # that a candidate lands at all
#   dependencies: autonomous      # a manifest names a dependency that it did not name
#   migrations: autonomous
#   workflows: autonomous         # files that tell a CI service what to run
#   scope: forbidden              # changes beyond a package's owned_files
#   network: forbidden            # a sandboxed agent reaches a host that the configuration does not name
#   force: autonomous             # move --to done --force; autonomous or forbidden

# paths:                          # changes under these patterns; approval or forbidden
#   - {match: ["infra/**", Dockerfile], name: infrastructure, action: approval}

# approval:
#   people: 1                     # how many different ones have to say yes
#   approvers: []                 # login names; empty: any person
#   exclude_dispatcher: false
#   deadline_seconds: null        # after which the answer is no
"""

_CONFIG = """\
# How agentpkg dispatches, judges and lands work in this repository. Keys that are commented out stand with their
# defaults or an example; `agentpkg config show` prints every value in force and where it comes from.

project:
  name: @NAME@
  target_branch: @TARGET@
  # features_dir: features
  # worktrees_dir: .worktrees
  # branch_prefix: feat/

agent:
  # harness: my-agent             # the default agent, by its name under `agents`
  timeout_seconds: 3600           # of one session
  retries: 2                      # further tries after failures of the agent
  # kill_grace_seconds: 30        # between the polite signal and the other one
  # max_review_cycles: 3          # rejected reviews before a package is blocked
  # prompt_warn_bytes: 60000
  # environment:
  #   LOG_LEVEL: info
  #   JWT_SECRET: ${{ secrets.JWT_SECRET }}
  # constraints:
  #   max_file_size: 1000000      # bytes
  #   allowed_paths: ["src/", "tests/"]
  #   forbidden_paths: ["env_secrets/"]
  #   forbidden_commands: ["git push"]

# agents:
#   my-agent:
#     harness: command
#     command: ["my-agent", "--prompt-file", "{prompt_path}"]

# worktree:
#   setup: ["npm ci"]             # in each new worktree
#   copy: [".env"]
#   link: ["node_modules"]
#   filters: []                   # git filters that may run: lfs

# review:
#   checks:                       # each in a throw-away copy of the commit that would land
#     - name: tests
#       group: test-quality
#       run: python3 -m pytest -q --junitxml=report.xml
#       report: report.xml
#       minimum_tests: 1
#     - name: lint
#       group: code-quality
#       run: ruff check .
#   coverage: {report: coverage.xml, minimum: 85, per: total}
#   requirements: warn            # warn | strict
#   commit_pattern: '^(feat|fix|docs|test|refactor|chore|perf|build)\\({wp}\\): .+'

merge:
  strategy: merge                 # merge | squash | rebase
  auto: true                      # `run` lands what its review approved

run:
  jobs: 4                         # sessions at once

# secrets: {providers: [environment]}     # environment | file | keyring | command
# isolation: {minimum: basic}             # strong | medium | basic
# limits: {output: 33554432, silence: 900}
# nats: {url: null, credentials: null, prefix: agentpkg}
"""
