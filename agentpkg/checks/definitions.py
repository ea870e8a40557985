"""From the configuration and a frozen work package to the definitions of its review."""

from collections.abc import Mapping
from dataclasses import asdict

from agentpkg.checks.base import CheckSpec, CoverageSpec, Definitions
from agentpkg.config.governance import Policy
from agentpkg.config.policy import always_forbidden, commit_expression
from agentpkg.config.settings import Review, Settings
from agentpkg.core.model import WorkPackage


def definitions(settings: Settings, policy: Policy, package: WorkPackage, digests: Mapping[str, str]) -> Definitions:
    """What a candidate of ``package`` is judged by.

    Args:
        package: as frozen at dispatch; its digest is part of the definitions.
        digests: SHA-256 of what else was frozen, by name.
    """
    limits = settings.agent.constraints
    return Definitions(
        checks=_checks(settings.review),
        coverage=_coverage(settings.review),
        requirements=settings.review.requirements,
        commit_expression=commit_expression(settings, package.id).pattern,
        allowed_paths=limits.allowed_paths,
        forbidden_paths=limits.forbidden_paths,
        always_forbidden=always_forbidden(settings),
        max_file_size=limits.max_file_size,
        digests={**digests, "package": package.digest},
        strategy=settings.merge.strategy,
        policy=policy,
        setup=settings.review.setup,
        integrity=settings.review.integrity,
        reviewer=asdict(settings.review.agent) if settings.review.agent.name else {},
    )


def definitions_key(settings: Settings, policy: Policy, package: WorkPackage, digests: Mapping[str, str]) -> str:
    """The third part of a review's key: SHA-256, in hex, of :func:`definitions`."""
    return definitions(settings, policy, package, digests).key()


def _checks(review: Review) -> tuple[CheckSpec, ...]:
    return tuple(
        CheckSpec(check.name, check.group, check.run, check.report, check.minimum_tests, check.timeout_seconds)
        for check in review.checks
    )


def _coverage(review: Review) -> CoverageSpec | None:
    found = review.coverage
    return None if found is None else CoverageSpec(found.report, found.minimum, found.per)
