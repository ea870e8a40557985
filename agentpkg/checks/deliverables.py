"""Does the candidate have what the work package promises?"""

from collections.abc import Mapping

from agentpkg.checks import tree
from agentpkg.checks.base import DELIVERABLES, Finding, ReviewContext
from agentpkg.checks.tree import Blob
from agentpkg.core.patterns import Patterns
from agentpkg.core.records import CheckStatus

#: larger files are told by size, not by lines
_COUNTED = 10 * 1024 * 1024


def check(context: ReviewContext, files: Mapping[str, Blob]) -> list[Finding]:
    """One finding for each deliverable and one for all of them; ``files`` are the candidate's."""
    wanted = context.wp.deliverables
    if not wanted:
        return [Finding(DELIVERABLES, "deliverables", "skip", "the work package names none")]
    found = [_one(context, files, path) for path in wanted]
    there = sum(finding.status == "pass" for finding in found)
    what = f"All {there} deliverables present" if there == len(wanted) else f"{there} of {len(wanted)} present"
    status: CheckStatus = "pass" if there == len(wanted) else "fail"
    data = {"wanted": list(wanted), "present": [f.name for f in found if f.status == "pass"]}
    return [*found, Finding(DELIVERABLES, "deliverables", status, what, data)]


def _one(context: ReviewContext, files: Mapping[str, Blob], wanted: str) -> Finding:
    name = wanted.removeprefix("./").rstrip("/")
    place = tree.follow(context.control, files, name)
    if place is None and any(c in name for c in "*?["):
        return _pattern(files, wanted)
    if place is None:
        detail = "a link that leads nowhere in the candidate" if name in files else "missing"
        return Finding(DELIVERABLES, wanted, "fail", detail, {"path": wanted})
    if place not in files:
        inside = tree.below(files, place)
        return Finding(DELIVERABLES, wanted, "pass", f"{len(inside)} files", {"path": wanted, "files": inside[:100]})
    blob = files[place]
    return Finding(DELIVERABLES, wanted, "pass", _size(context, blob), {"path": wanted, "object": blob.oid})


def _pattern(files: Mapping[str, Blob], wanted: str) -> Finding:
    patterns = Patterns([wanted])
    matching = [path for path in files if path in patterns]
    status: CheckStatus = "pass" if matching else "fail"
    detail = f"{len(matching)} files" if matching else "nothing matches"
    return Finding(DELIVERABLES, wanted, status, detail, {"pattern": wanted, "files": matching[:100]})


def _size(context: ReviewContext, blob: Blob) -> str:
    if blob.mode == tree.SUBMODULE:
        return "a submodule"
    if blob.size > _COUNTED:
        return f"{blob.size} bytes"
    data = tree.content(context.control, blob)
    if b"\0" in data[:8000]:
        return f"{blob.size} bytes, binary"
    lines = data.count(b"\n") + (not data.endswith(b"\n") and bool(data))
    return f"{lines} line{'' if lines == 1 else 's'}"
