"""What the package changes on the target, and whether it may: scope, size, a clean worktree."""

import posixpath
import re
from collections.abc import Mapping, Sequence

from agentpkg.checks import nested, scope, tree
from agentpkg.checks.base import GOVERNANCE, Finding, ReviewContext, named
from agentpkg.checks.tree import Blob

_HUNK = re.compile(rb"^@@ -\S+ \+(\d+)(?:,(\d+))? @@")
_SHOWN_PATHS = 200


def changed_paths(before: Mapping[str, Blob], after: Mapping[str, Blob]) -> list[str]:
    """Paths that differ in content or mode, are new, or are gone; a rename is both its names."""
    return sorted(path for path in before.keys() | after.keys() if before.get(path) != after.get(path))


def changed_lines(context: ReviewContext, paths: Sequence[str]) -> dict[str, set[int]]:
    """The line numbers, in the candidate, that it adds or changes, by path.

    Reads git's unified diff without context, a path at a time: names in a diff's head are not reliable data.
    """
    return {path: _added(context, path) for path in paths}


def _added(context: ReviewContext, path: str) -> set[int]:
    out = context.control.run(
        "diff", "--no-ext-diff", "--no-textconv", "--no-renames", "--no-color", "--ignore-submodules=all", "-U0",
        "--end-of-options", context.base, context.candidate, "--", path,
    ).stdout  # fmt: skip
    lines: set[int] = set()
    for line in out.splitlines():
        if match := _HUNK.match(line):
            first, count = int(match[1]), int(match[2] or b"1")
            lines.update(range(first, first + count))
    return lines


def check(context: ReviewContext, before: Mapping[str, Blob], after: Mapping[str, Blob]) -> list[Finding]:
    """Scope, forbidden paths, file size, submodules, repositories within the tree and the worktree's state."""
    paths = changed_paths(before, after)
    out = scope.judge(context, paths)
    return [
        _in_scope(paths, out, context.definitions.policy.actions.scope != "forbidden"),
        _forbidden(out),
        _sizes(context, before, after, paths),
        *_submodules(before, after, paths),
        *nested.check(context, paths, after),
        _worktree(context),
    ]


def _in_scope(paths: list[str], out: scope.OutOfScope, may_extend: bool) -> Finding:
    """With ``may_extend`` the policy, not this check, has the word on what lies beyond ``owned_files``."""
    outside = sorted({*out.not_allowed, *(() if may_extend else out.not_owned)})
    data = {
        "changed": paths[:_SHOWN_PATHS],
        "count": len(paths),
        "not_allowed": list(out.not_allowed[:_SHOWN_PATHS]),
        "not_owned": list(out.not_owned[:_SHOWN_PATHS]),
    }
    if not paths:
        return Finding(GOVERNANCE, "scope", "fail", "the candidate changes nothing on the target", data)
    if outside:
        why = "allowed_paths" if out.not_allowed else "owned_files"
        return Finding(GOVERNANCE, "scope", "fail", f"outside {why}: {named(outside)}", data)
    folders = sorted({_folder(path) for path in paths})
    return Finding(GOVERNANCE, "scope", "pass", f"Only {named(folders)} modified", data)


def _folder(path: str) -> str:
    parent = posixpath.dirname(path)
    return f"{parent}/" if parent else path


def _forbidden(out: scope.OutOfScope) -> Finding:
    data = {"forbidden": [{"path": path, "rule": rule} for path, rule in out.forbidden[:_SHOWN_PATHS]]}
    if out.forbidden:
        found = named([f"{path} (by {rule})" for path, rule in out.forbidden])
        return Finding(GOVERNANCE, "forbidden paths", "fail", found, data)
    return Finding(GOVERNANCE, "forbidden paths", "pass", "No forbidden files touched", data)


def _sizes(context: ReviewContext, before: Mapping[str, Blob], after: Mapping[str, Blob], paths: list[str]) -> Finding:
    limit = context.definitions.max_file_size
    # what was too large before may stay as large, not grow
    big = {
        path: after[path].size
        for path in paths
        if path in after and after[path].size > max(limit, before[path].size if path in before else 0)
    }
    data = {"limit": limit, "larger": [{"path": path, "bytes": size} for path, size in big.items()][:_SHOWN_PATHS]}
    if big:
        found = named([f"{path} ({size} bytes)" for path, size in big.items()])
        return Finding(GOVERNANCE, "file size", "fail", f"over {limit} bytes: {found}", data)
    return Finding(GOVERNANCE, "file size", "pass", f"No file over {limit} bytes", data)


def _submodules(before: Mapping[str, Blob], after: Mapping[str, Blob], paths: list[str]) -> list[Finding]:
    links = [p for p in paths if any(side[p].mode == tree.SUBMODULE for side in (before, after) if p in side)]
    if not links:
        return []
    return [Finding(GOVERNANCE, "submodules", "fail", f"submodule changed: {named(links)}", {"paths": links})]


def _worktree(context: ReviewContext) -> Finding:
    tracked, untracked = context.tracked_changes, context.untracked
    data = {"tracked": list(tracked or ())[:_SHOWN_PATHS], "untracked": list(untracked)[:_SHOWN_PATHS]}
    if tracked is None:
        return Finding(GOVERNANCE, "worktree", "skip", "there is no worktree any more")
    if tracked:
        return Finding(GOVERNANCE, "worktree", "fail", f"not committed: {named(list(tracked))}", data)
    if untracked:
        return Finding(GOVERNANCE, "worktree", "warn", f"not added to git: {named(list(untracked))}", data)
    return Finding(GOVERNANCE, "worktree", "pass", "Worktree clean", data)
