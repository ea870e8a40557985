"""The policy as an agent is told it: what a person has to approve, and what is forbidden."""

from collections.abc import Iterator

from agentpkg.config.governance import Class, Policy

_Said = tuple[Class, str, tuple[str, ...]]


def told(policy: Policy, kind: Class) -> list[tuple[str, tuple[str, ...]]]:
    """What is of this class: what it is, and the patterns of the paths that are meant."""
    return [(what, paths) for found, what, paths in _said(policy) if found == kind]


def _said(policy: Policy) -> Iterator[_Said]:
    actions, patterns = policy.actions, policy.patterns
    yield actions.dependencies, "add a dependency to a manifest, or take one from another place", ()
    yield actions.migrations, "change migrations", patterns.migrations
    yield actions.workflows, "change what tells CI services what to run", patterns.workflows
    for rule in policy.paths:
        yield rule.action, f"change {rule.name}" if rule.name else "change", rule.match
    if actions.scope == "approval":
        yield "approval", "change files beyond those that are yours", ()
    if actions.network == "approval":
        yield (
            "approval",
            "connect to hosts that the configuration does not name (the connection waits for the answer)",
            (),
        )
