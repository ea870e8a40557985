"""``${{ secrets.NAME }}`` in the environment of agents turned into values: at run time only, in memory only."""

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from agentpkg.core.errors import BadInput
from agentpkg.core.model import Problem
from agentpkg.core.references import malformed, secret_names, substitute
from agentpkg.secrets.providers import Provider, Unanswered
from agentpkg.secrets.secret import Secret

#: characters; what is shorter cannot be redacted without hitting ordinary words
SHORTEST = 8

#: where variables come from that nobody can place better
_CONFIG = ".kittify/config.yaml"


@dataclass(frozen=True, slots=True)
class Resolved:
    """The configured variables of one session.

    Attributes:
        plain: variables without a secret in them: fit for files.
        hidden: variables with one, by name: for the child's environment only.
        secrets: the secrets used, by their own names: for redaction.
        left_out: variables that the package may not have.
    """

    plain: Mapping[str, str] = field(default_factory=dict)
    hidden: Mapping[str, Secret] = field(default_factory=dict)
    secrets: Mapping[str, Secret] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()


def referenced(environment: Mapping[str, str]) -> set[str]:
    """The names of all secrets that the values refer to."""
    return {name for value in environment.values() for name in secret_names(value)}


def allowed_variables(environment: Mapping[str, str], allowed: Container[str] | None) -> dict[str, str]:
    """The variables whose secrets are all in ``allowed`` (None: all are), values unresolved."""
    return {
        name: value
        for name, value in environment.items()
        if allowed is None or all(secret in allowed for secret in secret_names(value))
    }


def resolve_environment(
    environment: Mapping[str, str],
    providers: Sequence[Provider],
    allowed: Container[str] | None = None,
    places: Mapping[str, tuple[str, int]] | None = None,
) -> Resolved:
    """Resolves every reference, or none.

    Args:
        environment: configured variables; values may hold references.
        providers: asked in this order, each secret until one has it.
        allowed: the names of the secrets that the package may have; None for all. A variable that needs another one
            is left out.
        places: file and line of each variable, for the problems; by default the configuration as a whole.

    Raises:
        BadInput: ``unresolved_secret`` with every secret that has no value, or one of less than eight characters, and
            every malformed reference, in ``details.problems``. No value is ever in a message.
    """
    given = allowed_variables(environment, allowed)
    where = _places(given, places or {})
    problems = [
        Problem(*where[variable], bad, f"{variable}: should be ${{{{ secrets.NAME }}}}")
        for variable, value in given.items()
        for bad in malformed(value)
    ]
    secrets: dict[str, Secret] = {}
    for name in sorted(referenced(given)):
        value, reason = _ask(name, providers)
        if value is None:
            user = next(variable for variable, text in given.items() if name in secret_names(text))
            problems.append(Problem(*where[user], name, reason))
        else:
            secrets[name] = Secret(name, value)
    if problems:
        raise _refusal(problems)
    return _filled(given, secrets, tuple(name for name in environment if name not in given))


def _places(variables: Iterable[str], known: Mapping[str, tuple[str, int]]) -> dict[str, tuple[str, int]]:
    return {variable: known.get(variable, (_CONFIG, 1)) for variable in variables}


def _filled(given: Mapping[str, str], secrets: dict[str, Secret], left_out: tuple[str, ...]) -> Resolved:
    values = {name: secret.reveal() for name, secret in secrets.items()}
    plain = {name: value for name, value in given.items() if not secret_names(value)}
    hidden = {name: Secret(name, substitute(value, values)) for name, value in given.items() if name not in plain}
    return Resolved(plain, hidden, secrets, left_out)


def _ask(name: str, providers: Sequence[Provider]) -> tuple[str | None, str]:
    """The value of a secret, or None and why there is none."""
    reasons = []
    for provider in providers:
        try:
            value = provider.get(name)
        except Unanswered as why:
            reasons.append(str(why))
            continue
        if value is not None:
            return _judged(value)
    asked = ", ".join(provider.name for provider in providers) or "no provider"
    return None, "; ".join([f"has no value (asked: {asked})", *reasons])


def _judged(value: str) -> tuple[str | None, str]:
    if len(value) < SHORTEST:
        return None, f"its value is shorter than {SHORTEST} characters and could not be redacted"
    if "\0" in value:
        return None, "its value contains a NUL, which no variable can hold"
    return value, ""


def _refusal(problems: Sequence[Problem]) -> BadInput:
    named = ", ".join(dict.fromkeys(problem.value for problem in problems))
    return BadInput(
        f"secrets of agent.environment cannot be resolved: {named}: {problems[0].message}",
        "set them where secrets.providers looks (`agentpkg config show`), or leave them out of agent.environment",
        code="unresolved_secret",
        details={"problems": [problem.as_json() for problem in problems]},
    )
