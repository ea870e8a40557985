"""Signatures of anchors, with real keys: made by agentpkg, and checked by git itself as well."""

import json
import os
import shutil
import subprocess
from functools import partial
from pathlib import Path

import pytest

from agentpkg.core.errors import AgentpkgError
from agentpkg.git import signing
from agentpkg.git.audit import anchored, append_audit, newest_signed, read_audit, sign_audit
from agentpkg.git.discover import discover
from tests.support.repos import ScratchFactory, git

SLUG = "003-auth-system"
REF = f"refs/agentpkg/audit/{SLUG}"


def lines(first: int, last: int) -> list[str]:
    return [json.dumps({"id": n, "hash": f"{n:064x}"}) for n in range(first, last + 1)]


def ssh_key(home: Path, name: str = "key", passphrase: str = "") -> Path:
    """A real key; the user's git configuration signs with it and believes it."""
    key = home / name
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", passphrase, "-f", key], check=True)
    return key


def configure(**settings: str) -> None:
    for key, value in settings.items():
        subprocess.run(["git", "config", "--global", key.replace("_", "."), value], check=True)


@pytest.fixture
def key(still_world: Path) -> Path:
    key = ssh_key(still_world)
    public = " ".join(key.with_suffix(".pub").read_text().split()[:2])
    (still_world / "allowed").write_text(f"ada@example.org {public}\n")
    configure(gpg_format="ssh", user_signingkey=str(key), gpg_ssh_allowedSignersFile=str(still_world / "allowed"))
    return key


def test_a_signed_anchor_is_one_that_git_itself_verifies(scratch: ScratchFactory, key: Path) -> None:
    repo = discover(scratch())
    how = signing.signing(repo.work_tree)
    assert how is not None
    append_audit(repo, SLUG, lines(1, 2))
    assert newest_signed(repo, SLUG) is None
    append_audit(repo, SLUG, lines(3, 3), partial(signing.sign, how))
    assert (anchored(repo, SLUG), read_audit(repo, SLUG)) == ((3, f"{3:064x}"), lines(1, 3))
    said = subprocess.run(["git", "verify-commit", REF], cwd=repo.work_tree, capture_output=True, text=True, check=True)
    assert "ada@example.org" in said.stderr
    git(repo.work_tree, "fsck", "--strict")
    found = newest_signed(repo, SLUG)
    assert found is not None
    assert (found.entries, found.newest) == (3, True)
    assert signing.check(how, found.payload, found.signature) == signing.Signed(True, "ada@example.org")
    append_audit(repo, SLUG, lines(4, 4))
    older = newest_signed(repo, SLUG)
    assert older is not None
    assert (older.entries, older.newest) == (3, False)
    assert sign_audit(repo, SLUG, partial(signing.sign, how)) == 4
    assert read_audit(repo, SLUG) == lines(1, 4)


def test_a_signature_of_other_content_or_by_another_key_is_not_good(
    scratch: ScratchFactory, key: Path, still_world: Path
) -> None:
    how = signing.signing(scratch())
    assert how is not None
    signature = signing.sign(how, b"one")
    assert signing.check(how, b"one", signature).good
    assert not signing.check(how, b"two", signature).good
    configure(user_signingkey=str(ssh_key(still_world, "other")))
    other = signing.signing(scratch())
    assert other is not None
    assert not signing.check(other, b"one", signing.sign(other, b"one")).good


def test_a_repository_may_not_name_the_program_that_signs(scratch: ScratchFactory, key: Path, tmp_path: Path) -> None:
    repo = scratch()
    evil = tmp_path / "evil"
    evil.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    evil.chmod(0o755)
    for name in ("gpg.ssh.program", "gpg.program"):
        git(repo, "config", name, str(evil))
    how = signing.signing(repo)
    assert how is not None
    assert signing.sign(how, b"x").startswith(b"-----BEGIN SSH SIGNATURE-----")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("trouble", ["locked", "gone", "none"])
def test_a_key_that_cannot_sign_is_told_and_asks_nobody(
    scratch: ScratchFactory, key: Path, still_world: Path, trouble: str
) -> None:
    if trouble == "locked":
        configure(user_signingkey=str(ssh_key(still_world, "locked", "long passphrase")))
    elif trouble == "gone":
        configure(user_signingkey=str(still_world / "nowhere"))
    else:
        subprocess.run(["git", "config", "--global", "--unset", "user.signingkey"], check=True)
    how = signing.signing(scratch())
    assert how is not None
    with pytest.raises(signing.SigningFailed) as failed:
        signing.sign(how, b"x")
    assert failed.value.hint


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("gpg") is None, reason="no gpg")
def test_a_gpg_key_signs_and_verifies_too(scratch: ScratchFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    home = Path(os.environ["TMPDIR"]) / "g"
    home.mkdir(mode=0o700)
    monkeypatch.setenv("GNUPGHOME", str(home))
    make = ["gpg", "--batch", "--passphrase", "", "--quick-gen-key", "Ada <ada@example.org>", "ed25519", "sign"]
    try:
        subprocess.run(make, check=True, capture_output=True)
        configure(user_signingkey="ada@example.org")
        repo = discover(scratch())
        how = signing.signing(repo.work_tree)
        assert how is not None
        append_audit(repo, SLUG, lines(1, 1), partial(signing.sign, how))
        assert subprocess.run(["git", "verify-commit", REF], cwd=repo.work_tree, check=False).returncode == 0
        found = newest_signed(repo, SLUG)
        assert found is not None
        assert signing.check(how, found.payload, found.signature) == signing.Signed(True, "Ada <ada@example.org>")
        assert not signing.check(how, found.payload + b"x", found.signature).good
        with pytest.raises(AgentpkgError):
            signing.sign(signing.Signing("openpgp", "nobody@example.org", "gpg"), b"x")
    finally:
        subprocess.run(["gpgconf", "--kill", "all"], check=False)
