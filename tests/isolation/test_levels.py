"""Which level is used: the best that works, the one that is asked for, or none."""

import json
import os
from pathlib import Path

import pytest

from agentpkg.core.errors import Lacking
from agentpkg.isolation import ISOLATIONS, LEVELS, Place, choose, probe_all
from agentpkg.isolation.bubblewrap import fix_for

PLACE = Place("/w", "/s/git", "/r", "/r/.git", "/s")


@pytest.fixture
def no_bubblewrap(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine on whose PATH there is none; one beside the interpreter makes the test pointless."""
    monkeypatch.setenv("PATH", str(tmp_path))
    if probe_all()["strong"].works:
        pytest.skip("bubblewrap came with this interpreter")


def test_the_best_level_that_works_is_chosen_and_says_what_it_promises() -> None:
    walls = choose()
    probes = probe_all()
    assert walls.level == next(name for name in LEVELS if name in probes and probes[name].works)
    assert walls.detail.startswith(walls.level)
    assert "not prevented" in probes["basic"].detail
    assert "sandbox" not in probes["basic"].detail


def test_a_lesser_level_can_be_asked_for() -> None:
    assert choose(level="basic").level == "basic"


def test_basic_changes_nothing_of_a_command() -> None:
    wrapped = choose(level="basic").wrap(("agent", "-x"), {"A": "1"}, PLACE)
    assert (wrapped.argv, wrapped.env, wrapped.status) == (("agent", "-x"), {"A": "1"}, None)


def test_a_level_below_the_minimum_is_refused() -> None:
    with pytest.raises(Lacking, match=r"isolation\.level is basic, which is less than isolation\.minimum strong"):
        choose("strong", "basic")


@pytest.mark.usefixtures("no_bubblewrap")
@pytest.mark.parametrize(("minimum", "level"), [("strong", None), ("basic", "strong")])
def test_what_is_missing_is_named_with_its_fix(minimum: str, level: str | None) -> None:
    with pytest.raises(Lacking, match="there is no bubblewrap") as caught:
        choose(minimum, level)
    assert "install bubblewrap" in caught.value.hint


@pytest.mark.parametrize(
    ("release", "command"),
    [({"ID": "debian"}, "apt install"), ({"ID": "mint", "ID_LIKE": "ubuntu debian"}, "apt install"),
     ({"ID": "fedora"}, "dnf install"), ({"ID": "arch"}, "pacman -S"), ({}, "the package is called bubblewrap")],
)  # fmt: skip
def test_the_fix_speaks_of_the_distribution(release: dict[str, str], command: str) -> None:
    assert command in fix_for("", release)


def test_what_works_is_looked_at_once_and_again_when_the_program_changes(tmp_path: Path) -> None:
    memory = tmp_path / "isolation.json"
    assert probe_all(memory) == probe_all(memory) == probe_all()
    kept = json.loads(memory.read_text())
    for one in kept.values():
        one["detail"] = "remembered"
    memory.write_text(json.dumps(kept))
    assert {name for name, probe in probe_all(memory).items() if probe.detail == "remembered"} == set(kept)
    for one in kept.values():
        one["stamp"] = "another boot"
    memory.write_text(json.dumps(kept))
    assert probe_all(memory) == probe_all()


@pytest.mark.slow
@pytest.mark.parametrize("content", ["", "[]", "{", '{"strong": 1}', '{"strong": {}}', "\0" * (2 << 20)])
def test_a_memory_that_cannot_be_read_costs_a_look(tmp_path: Path, content: str) -> None:
    memory = tmp_path / "isolation.json"
    memory.write_text(content)
    assert probe_all(memory) == probe_all()


def test_a_program_that_does_not_start_is_told_with_what_it_says(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    broken = tmp_path / "bwrap"
    broken.write_text("#!/bin/sh\necho 'bwrap: setting up uid map: Permission denied' >&2; exit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}/nowhere")
    probe = ISOLATIONS["strong"].probe()
    if probe.works:
        pytest.skip("bubblewrap came with this interpreter")
    assert "setting up uid map: Permission denied" in probe.detail
    assert "user namespaces" in probe.fix
