"""The audit of an exported chain with no ledger: here, and in a clone that has the refs; and of signed heads."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from agentpkg.core import chain
from agentpkg.engine.project import open_project
from agentpkg.engine.upkeep import auditing
from agentpkg.git.audit import anchored
from agentpkg.ledger import exported
from agentpkg.ledger.audit import AuditReport
from tests.cli.support import quick
from tests.engine.test_auditing import landed
from tests.git.test_signing import configure, ssh_key
from tests.support.engine_shop import FEATURE, ShopFactory
from tests.support.repos import git
from tests.support.wait import until

Lines = list[str]


def clone(shop_repo: Path, into: Path, *, refs: bool) -> Path:
    git(shop_repo, "clone", "-q", str(shop_repo), str(into))
    if refs:
        git(into, "fetch", "-q", "origin", "refs/agentpkg/audit/*:refs/agentpkg/audit/*")
    return into


def rehashed(lines: Lines) -> Lines:
    """The entries numbered and hashed anew, as a forger with our code would."""
    before, out = chain.ZERO, []
    for number, line in enumerate(lines, start=1):
        body = {k: v for k, v in json.loads(line).items() if k not in ("hash", "prev_hash")} | {"id": number}
        digest = chain.link(before, body)
        out.append(json.dumps({**body, "prev_hash": before, "hash": digest}))
        before = digest
    return out


FORGERIES: dict[str, Callable[[Lines], Lines]] = {
    "edited": lambda lines: [*lines[:3], lines[3].replace('"agent:', '"agent:x'), *lines[4:]],
    "deleted": lambda lines: [*lines[:3], *lines[4:]],
    "deleted and rehashed": lambda lines: rehashed([*lines[:3], *lines[4:]]),
    "reordered": lambda lines: [*lines[:3], lines[4], lines[3], *lines[5:]],
    "reordered and rehashed": lambda lines: rehashed([*lines[:3], lines[4], lines[3], *lines[5:]]),
    "without its landing": lambda lines: lines[:-2],
    "cut to nothing": lambda lines: [],
    "no JSON": lambda lines: [*lines[:3], "{", *lines[4:]],
    "of other types": lambda lines: [*lines[:3], lines[3].replace('"metadata":{', '"metadata":[],"x":{'), *lines[4:]],
}


@pytest.mark.slow
@pytest.mark.parametrize("refs", [True, False])
def test_an_export_is_verified_without_a_ledger_and_every_forgery_is_found(
    shops: ShopFactory, tmp_path: Path, refs: bool
) -> None:
    shop = landed(shops, anchored=True)
    lines = list(chain.export_lines(shop.project.ledger.entries(FEATURE)))
    place = open_project(clone(shop.repo, tmp_path / "clone", refs=refs))

    def verify(given: Lines) -> AuditReport:
        return auditing.verify_export(place, FEATURE, given)

    good = verify(lines)
    assert (good.ok, good.entries, good.head) == (True, len(lines), json.loads(lines[-1])["hash"]), good.reason
    for name, forge in FORGERIES.items():
        found = verify(forge(lines))
        assert not found.ok, name
        assert found.first_bad is not None, name
    # what came after the last landing is seen by the audit ref alone
    assert verify(lines[:-1]).ok is not refs
    assert not (tmp_path / "clone" / ".git" / "agentpkg").exists()
    # nothing of the ledger is needed where it was made either
    shutil.rmtree(shop.state)
    assert auditing.verify_export(shop.project, FEATURE, lines).ok


@pytest.mark.slow
def test_the_command_reads_an_export_from_a_file_or_a_pipe(shops: ShopFactory, tmp_path: Path) -> None:
    shop = landed(shops, anchored=True)
    path = tmp_path / "audit.jsonl"
    path.write_text(quick(shop.repo, "events", "export").out)
    place = clone(shop.repo, tmp_path / "clone", refs=True)
    for args in (("--feature", "003"), ()):
        found = quick(place, "events", "audit-verify", "--export", str(path), *args)
        assert found.code == 0, found.err + found.out
        assert "Audit chain intact" in found.out
    said = quick(place, "events", "audit-verify", "--export", str(path), "--json").json
    assert (said["ok"], "signed" in said) == (True, False)
    path.write_text("\n".join(path.read_text().splitlines()[:-1]) + "\n")
    assert quick(place, "events", "audit-verify", "--export", str(path)).code == 1
    path.write_text("")
    for args in (("--feature", "003"), ()):
        gone = quick(place, "events", "audit-verify", "--export", str(path), *args)
        assert (gone.code, "broken at entry 1" in gone.out) == (1, True)
    assert quick(place, "events", "audit-verify", "--export", str(tmp_path / "nowhere")).code == 2


@pytest.mark.parametrize("line", ["", "3", "{}", "[" * 100_000, '{"feature_id": 3}', "\x00"])
def test_a_line_that_nobody_exported_is_no_entry(line: str) -> None:
    assert exported.entry(line, 1) is None
    assert exported.by_feature([line]) in ({}, {"": [line]})


@pytest.mark.slow
def test_signed_heads_are_made_where_configured_and_must_be_good(shops: ShopFactory, still_world: Path) -> None:
    key = ssh_key(still_world)
    public = " ".join(key.with_suffix(".pub").read_text().split()[:2])
    (still_world / "allowed").write_text(f"ada@example.org {public}\n")
    configure(gpg_format="ssh", user_signingkey=str(key), gpg_ssh_allowedSignersFile=str(still_world / "allowed"))
    shop = shops(more="audit: {sign: true}\n")
    shop.run()
    total = shop.project.ledger.head(FEATURE)[0]
    until(lambda: anchored(shop.project.repository, FEATURE)[0] == total, what="the anchor")
    found = auditing.verify(shop.project, FEATURE)
    assert found.ok, found.reason
    assert found.signed is not None
    assert (found.signed["entries"], found.signed["good"], found.signed["by"]) == (total, True, "ada@example.org")
    shop.close()
    # whoever writes the anchor anew has not the key
    ref = f"refs/agentpkg/audit/{FEATURE}"
    tree, parent = git(shop.repo, "rev-parse", f"{ref}^{{tree}}"), git(shop.repo, "rev-parse", f"{ref}~1")
    message = git(shop.repo, "log", "-1", "--format=%B", ref)
    signed = git(shop.repo, "rev-parse", ref)
    git(shop.repo, "update-ref", ref, git(shop.repo, "commit-tree", "-p", parent, "-m", message, tree))
    forged = auditing.verify(shop.project, FEATURE)
    assert not forged.ok
    assert "signed" in (forged.reason or "")
    git(shop.repo, "update-ref", ref, signed)
    (still_world / "allowed").write_text("")
    assert "not good" in (auditing.verify(shop.project, FEATURE).reason or "")
    (still_world / "allowed").write_text(f"ada@example.org {public}\n")
    assert auditing.verify(shop.project, FEATURE).ok


@pytest.mark.slow
def test_without_a_key_nothing_changes_until_a_person_signs(shops: ShopFactory, still_world: Path) -> None:
    shop = landed(shops, anchored=True)
    assert auditing.verify(shop.project, FEATURE).signed is None
    assert quick(shop.repo, "events", "sign", "--feature", "003").code == 1
    key = ssh_key(still_world)
    configure(gpg_format="ssh", user_signingkey=str(key))
    assert quick(shop.repo, "events", "sign", "--feature", "003").code == 0
    found = auditing.verify(shop.project, FEATURE)
    assert found.ok
    assert found.signed is not None
    assert not found.signed["good"]
    assert "allowed signers" in found.signed["reason"]
    # what is appended later continues it
    assert subprocess.run(["git", "fsck", "--strict"], cwd=shop.repo, capture_output=True, check=False).returncode == 0
