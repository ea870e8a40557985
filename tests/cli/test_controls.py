"""No command's own output carries what acts on a terminal, whoever wrote it.

But for ``events export``, which gives the bytes that were hashed, for a file.
"""

import re
from pathlib import Path

import pytest

from tests.cli import support
from tests.cli.support import cli, quick
from tests.support.repos import ScratchFactory

#: everything of C0 and C1 but newline and tab, and the marks that reorder text
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")

#: octal escapes of sh's printf: a colour, a title, a return, CSI of one byte, a right-to-left override
_EVIL = r"a\033[31m b\033]0;t\007 c\r d\302\233 31m e\342\200\256 f"

_AGENT = rf"""#!/bin/sh
printf '{_EVIL}\n'; printf '{_EVIL}\n' >&2
echo x > $AGENTPKG_WP.txt; echo x > "$(printf '{_EVIL}')"
git add -A; git commit -qm "$(printf "feat($AGENTPKG_WP): {_EVIL}")"
[ $AGENTPKG_WP = WP01 ]
"""

_TITLE = "a\x1b[31m b\x9b31m c\u202e d"


@pytest.fixture
def repo(scratch: ScratchFactory, tmp_path: Path) -> Path:
    agent = tmp_path / "agent.sh"
    agent.write_text(_AGENT)
    agent.chmod(0o755)
    config = (
        f'agent: {{harness: evil, retries: 0}}\nagents:\n  evil: {{harness: command, command: ["{agent}"]}}\n'
        f'review: {{checks: [{{name: "check", run: "cat {tmp_path}/said; false"}}]}}\n'
    )
    (tmp_path / "said").write_text(_TITLE)
    files = support.files(**{"features/001-greeting/spec.md": f"# {_TITLE}\n\nFR-1: {_TITLE}\n"})
    files["features/001-greeting/tasks/WP02-two.md"] = support.package("WP02")
    return scratch({**files, ".kittify/config.yaml": config})


@pytest.mark.slow
def test_nothing_that_acts_on_a_terminal_is_printed(repo: Path) -> None:
    bad = repo / "features" / "002-bad" / "tasks" / "WP01-x.md"
    bad.parent.mkdir(parents=True)
    bad.write_text('---\nwork_package_id: WP01\ntitle: "a\\e[31m"\nagent: "b\\e[31m"\n---\n')
    said = [
        cli(repo, "implement", "001", "--wp", "WP01"), cli(repo, "implement", "001", "--wp", "WP02"),
        cli(repo, "review", "001", "WP01"), cli(repo, "run", "001"),
    ]  # fmt: skip
    for words in (
        ["status", "001"], ["status"], ["features"], ["graph", "001"], ["graph", "001", "--format", "dot"],
        ["prompt", "001", "WP01"], ["logs", "001", "WP01"], ["logs", "001", "WP02"], ["status", "002"],
        ["cancel", "001", "WP02", "--reason", _TITLE], ["events", "query"], ["status", _TITLE],
        [_TITLE], ["status", f"--{_TITLE}"], ["move", "001", _TITLE, "--to", "done"], ["status", "001"], ["clean"],
        ["events", "query", "--wp", _TITLE], ["events", "query", "--since", _TITLE], ["doctor"], ["config", "show"],
        ["status", "001", "--json"], ["logs", "001", "WP01", "--json"], ["events", "query", "--json"],
        ["status", _TITLE, "--json"], ["prompt", "001", "WP01", "--json"],
    ):  # fmt: skip
        said.append(quick(repo, *words))
    for one in said:
        assert not _CONTROL.search(one.out + one.err), one
