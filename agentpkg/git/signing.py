"""Signatures of commits as git makes and checks them, with the user's key, and without running git for it.

The key is named by git's own configuration (``user.signingKey``, ``gpg.format``), read as data. The signing programs
are ``ssh-keygen`` and ``gpg`` from ``PATH``, or what the user's global or system configuration names; a repository's
own configuration lies in reach of agents and may name none. Format: gitformat-signature(5); ssh-keygen(1), ``-Y``.
"""

import os
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from agentpkg import proc
from agentpkg.core.errors import AgentpkgError, Lacking
from agentpkg.files import temporary_folder
from agentpkg.git.repo import as_user

#: seconds that a signing program may take
_TIMEOUT = 30.0
#: variables that lead the programs to the user's keys and agents; whatever could ask somebody is left out
_KEPT = ("PATH", "HOME", "USER", "LOGNAME", "TMPDIR", "SSH_AUTH_SOCK", "GNUPGHOME", "XDG_RUNTIME_DIR")
_KEYS = r"^(user\.signingkey|gpg\.(format|program|openpgp\.program|ssh\.program|ssh\.allowedsignersfile))$"
_NAMESPACE = "git"
#: names of the header, by the length of object ids
_HEADERS = {40: b"gpgsig", 64: b"gpgsig-sha256"}


class SigningFailed(AgentpkgError):
    """The user's key could not sign."""

    code = "signing_failed"


@dataclass(frozen=True, slots=True)
class Signing:
    """How the user signs, by their git configuration.

    Attributes:
        key: ``user.signingKey``: a path or a literal public key (ssh), or a key's id (openpgp).
        program: signs and verifies.
        allowed: the file of allowed signers (ssh), which says whose keys are believed.
    """

    format: Literal["ssh", "openpgp"]
    key: str | None
    program: str
    allowed: Path | None = None


@dataclass(frozen=True, slots=True)
class Signed:
    """What a commit's signature is worth.

    Attributes:
        good: it is of this very content, by a key that is believed.
        by: who signed it as far as that is known: a principal, or a name; else why it is not good.
    """

    good: bool
    by: str


def signing(work_tree: Path) -> Signing | None:
    """How the user signs; None where their configuration names a format that is not known here."""
    listed = as_user("config", "--null", "--show-scope", "--get-regexp", _KEYS, cwd=work_tree, ok=(0, 1)).stdout
    fields = os.fsdecode(listed).split("\0")
    said, own = {}, {}
    for scope, item in zip(fields[::2], fields[1::2], strict=False):
        key, _, value = item.partition("\n")
        said[key] = value
        if scope in ("global", "system", "command"):
            own[key] = value
    kind = said.get("gpg.format", "openpgp")
    if kind == "ssh":
        allowed = said.get("gpg.ssh.allowedsignersfile")
        program = own.get("gpg.ssh.program", "ssh-keygen")
        return Signing("ssh", said.get("user.signingkey"), program, _place(work_tree, allowed) if allowed else None)
    if kind == "openpgp":
        program = own.get("gpg.openpgp.program") or own.get("gpg.program") or "gpg"
        return Signing("openpgp", said.get("user.signingkey"), program)
    return None


def sign(how: Signing, payload: bytes) -> bytes:
    """A detached, armoured signature.

    Raises:
        SigningFailed: there is no key, or its program would not sign.
        Lacking: the program is missing.
    """
    if not how.key:
        raise SigningFailed("git's configuration names no signing key", "set user.signingKey, or leave audit.sign off")
    with TemporaryDirectory(prefix="agentpkg-sign-", dir=temporary_folder()) as folder:
        argv = _ssh_signing(how.key, Path(folder)) if how.format == "ssh" else _gpg_signing(how.key)
        done = _run(how.program, argv, payload)
    if done.exit_code != 0 or b"-----BEGIN" not in done.stdout:
        raise SigningFailed(f"{how.program} did not sign: {_last_line(done.stderr)}",
                            "unlock the key (ssh-agent, gpg-agent), or name another in user.signingKey")  # fmt: skip
    return done.stdout


def with_signature(commit: bytes, signature: bytes, id_length: int = 40) -> bytes:
    """A commit's bytes with a signature in its header, where git puts it.

    Args:
        id_length: hex digits of object ids.
    """
    head, _, message = commit.partition(b"\n\n")
    folded = signature.strip().replace(b"\n", b"\n ")
    return head + b"\n" + _HEADERS[id_length] + b" " + folded + b"\n\n" + message


def parts(commit: bytes, id_length: int = 40) -> tuple[bytes, bytes | None]:
    """A commit's bytes as they were signed, and the signature; None where there is none."""
    head, separator, message = commit.partition(b"\n\n")
    kept, signature, inside = list[bytes](), list[bytes](), False
    for line in head.split(b"\n"):
        name, _, value = line.partition(b" ")
        inside = (inside and line.startswith(b" ")) or name == _HEADERS[id_length]
        if inside:
            signature.append(line[1:] if line.startswith(b" ") else value)
        else:
            kept.append(line)
    return b"\n".join(kept) + separator + message, (b"\n".join(signature) + b"\n") if signature else None


def check(how: Signing | None, payload: bytes, signature: bytes) -> Signed:
    """What a signature is worth to this user.

    Raises:
        Lacking: the program that could tell is missing.
    """
    kind = "ssh" if b"BEGIN SSH SIGNATURE" in signature else "openpgp"
    with TemporaryDirectory(prefix="agentpkg-verify-", dir=temporary_folder()) as folder:
        path = Path(folder) / "signature"
        path.write_bytes(signature)
        if kind == "openpgp":
            program = how.program if how is not None and how.format == "openpgp" else "gpg"
            return _gpg_check(program, path, payload)
        allowed = how.allowed if how is not None else None
        if allowed is None or not allowed.is_file():
            return Signed(False, "git's configuration names no file of allowed signers (gpg.ssh.allowedSignersFile)")
        return _ssh_check("ssh-keygen", allowed, path, payload)


# --------------------------------------------------------------------------- ssh


def _ssh_signing(key: str, folder: Path) -> list[str]:
    """As git does it: a literal public key means one that the agent holds."""
    literal = key.removeprefix("key::")
    if literal != key or literal.startswith(("ssh-", "ecdsa-", "sk-")):
        path = folder / "key.pub"
        path.write_text(literal + "\n")
        return ["-Y", "sign", "-n", _NAMESPACE, "-f", str(path), "-U"]
    return ["-Y", "sign", "-n", _NAMESPACE, "-f", str(Path(key).expanduser())]


def _ssh_check(program: str, allowed: Path, signature: Path, payload: bytes) -> Signed:
    when = f"-Overify-time={_time_of(payload)}"
    found = _run(program, ["-Y", "find-principals", "-f", str(allowed), "-s", str(signature), when])
    for principal in found.stdout.decode("utf-8", "replace").splitlines() if found.exit_code == 0 else ():
        name = ["-I", principal, "-f", str(allowed), "-s", str(signature)]
        if _run(program, ["-Y", "verify", "-n", _NAMESPACE, when, *name], payload).exit_code == 0:
            return Signed(True, principal)
    return Signed(False, f"it is not by a key of {allowed}, or not of this content")


def _time_of(payload: bytes) -> str:
    """When a commit says it was made, as ssh-keygen reads it: keys may have been valid then and not now."""
    import time

    found = re.search(rb"^committer .*> (\d+) ", payload, re.MULTILINE)
    return time.strftime("%Y%m%d%H%M%S", time.localtime(int(found[1]) if found else time.time()))


# --------------------------------------------------------------------------- openpgp


def _gpg_signing(key: str) -> list[str]:
    return ["--batch", "--no-tty", "--status-fd=2", "-bsau", key]


def _gpg_check(program: str, signature: Path, payload: bytes) -> Signed:
    done = _run(program, ["--batch", "--no-tty", "--status-fd=1", "--verify", str(signature), "-"], payload)
    said = done.stdout.decode("utf-8", "replace")
    good = re.search(r"^\[GNUPG:\] GOODSIG \S+ (.*)$", said, re.MULTILINE)
    if done.exit_code != 0 or good is None or not re.search(r"^\[GNUPG:\] VALIDSIG ", said, re.MULTILINE):
        return Signed(False, "it is not by a key of the keyring, or not of this content")
    return Signed(True, good[1])


# --------------------------------------------------------------------------- programs


def _run(program: str, args: Sequence[str], stdin: bytes = b"") -> proc.Result:
    found = shutil.which(program)
    if found is None:
        raise Lacking(
            f"{program} is not on PATH", "install OpenSSH or GnuPG, or leave audit.sign off", code="no_signer"
        )
    return proc.run([found, *args], env=_environment(), cwd=Path("/"), timeout=_TIMEOUT, stdin=stdin)


def _environment() -> Mapping[str, str]:
    """Nobody is there who could type a passphrase: what would ask fails instead."""
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    return {**kept, "LC_ALL": "C", "SSH_ASKPASS": "/bin/false", "SSH_ASKPASS_REQUIRE": "never"}


def _place(work_tree: Path, configured: str) -> Path:
    return work_tree / Path(configured).expanduser()


def _last_line(said: bytes) -> str:
    lines = said.decode("utf-8", "replace").strip().splitlines()
    return lines[-1] if lines else "it said nothing"
