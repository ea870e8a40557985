"""What the configuration forbids and demands of every package, in the form that prompt, admission and review share."""

import re
from collections.abc import Iterator

from agentpkg.config.governance import Policy
from agentpkg.config.settings import Settings
from agentpkg.core.model import WorkPackage
from agentpkg.core.scope import Scope


def always_forbidden(settings: Settings) -> tuple[str, ...]:
    """Gitignore-style patterns of what no package may change, whatever it owns."""
    folders = dict.fromkeys([settings.project.features_dir, "features", "kitty-specs"])
    return ("/.kittify/", *(f"/{folder}/" for folder in folders), ".gitattributes", ".gitmodules")


def commit_expression(settings: Settings, wp: str) -> re.Pattern[str]:
    """The pattern that the subject line of every commit of a package must match (``search``)."""
    return re.compile(settings.review.commit_pattern.replace("{wp}", re.escape(wp)))


def package_scope(settings: Settings, policy: Policy, package: WorkPackage) -> Scope:
    """What a package's agent may change and run, and what a person decides on while it works.

    What the policy forbids is refused at once. What it has approved later, on the finished candidate, goes through.
    """
    limits = settings.agent.constraints
    return Scope(
        owned=package.owned_files, allowed=limits.allowed_paths, commands=limits.forbidden_commands,
        asked=limits.ask_commands, beyond=policy.actions.scope,
        forbidden=(always_forbidden(settings), limits.forbidden_paths, package.forbidden_paths,
                   *_forbidden_by(policy)),
    )  # fmt: skip


def _forbidden_by(policy: Policy) -> Iterator[tuple[str, ...]]:
    yield from (rule.match for rule in policy.paths if rule.action == "forbidden")
    if policy.actions.migrations == "forbidden":
        yield policy.patterns.migrations
    if policy.actions.workflows == "forbidden":
        yield policy.patterns.workflows
