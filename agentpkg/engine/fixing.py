"""Packages that nobody wrote a file for: work that is to get a failed gate passed.

A fix is a package of the ledger like any other, with its own branch, session, review and landing. What it is to do is
made of the check's evidence when the check has failed, and kept by hash beside the other evidence; no file of the
user's work tree is made or changed.
"""

import json

from agentpkg.checks.evidence import EvidenceStore
from agentpkg.core.model import Feature, WorkPackage
from agentpkg.core.stages import Checked, Gate
from agentpkg.ledger.reading import Reader

#: characters of a failed command's output that the agent gets to read
_EXCERPT = 4_000


def package_id(number: int) -> str:
    """``FIX01`` for the feature's first."""
    return f"FIX{number:02d}"


def text(gate: Gate, failed: Checked, store: EvidenceStore, cycle: int) -> bytes:
    """What a fix is to do, as the bytes that are kept.

    Args:
        gate: the gate that is to be passed.
        failed: its newest check.
        cycle: which fix of this gate it is, from 1.
    """
    title = f"Get {gate.name} to pass"
    commands = "\n".join(f"    {line}" for line in gate.commands)
    body = (
        f"All work packages of this part are done, but {gate.name} does not pass on the target's tip. Find out why, "
        "mend it at its root in the code, and leave the check itself as strict as it is. It is run again when your "
        "work has landed; what is mended already is worth committing even if something else still fails.\n\n"
        f"The commands, each through `/bin/sh -c` at the top of a clean copy:\n\n{commands}\n\n"
        f"What failed (fix {cycle} of this check):\n\n{_evidence(failed, store)}\n"
    )
    return json.dumps({"title": title, "body": body}, sort_keys=True, ensure_ascii=False).encode()


def packages(feature: Feature, ledger: Reader, store: EvidenceStore) -> dict[str, WorkPackage]:
    """The fixes of a feature, by id."""
    found: dict[str, WorkPackage] = {}
    for entry in ledger.noted(feature.id, "fix"):
        wp, digest = entry.wp_id, str(entry.metadata.get("text"))
        data = store.get(digest)
        said = json.loads(data) if data else {"title": "Get a check to pass", "body": "(what it was to do is gone)"}
        if wp is not None:
            found[wp] = WorkPackage(
                id=wp, title=str(said["title"]), feature=feature.id, path=f"{wp} (made by agentpkg)",
                body=str(said["body"]), digest=digest.removeprefix("sha256:"),
            )  # fmt: skip
    return found


def _evidence(failed: Checked, store: EvidenceStore) -> str:
    parts = [part for name in failed.evidence if (part := _failure(store.get(name)))]
    return "\n\n".join(parts) or f"    {failed.detail}"


def _failure(data: bytes | None) -> str:
    document = json.loads(data) if data else {}
    if document.get("status") != "fail":
        return ""
    output = str(document.get("data", {}).get("output", ""))[-_EXCERPT:].strip()
    indented = "\n".join(f"    {line}" for line in output.splitlines())
    return f"`{document.get('name')}`: {document.get('detail')}" + (f"\n\n{indented}" if output else "")
