"""The review of several candidates at once, where commands take long: these run once, at the tip of the stack.

What a package is judged by beside commands (scope, deliverables, policy, what is odd about its tests, probes) is judged
for each candidate as ever, and who does not pass that by itself is judged alone. A tip that fails blames nobody: what
failed is not looked into, the caller tries with fewer. A tip that passes is what all evidence of the commands names.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from agentpkg.checks import changes, copy, deliverables, editable, governance, history, pipeline, runconfig, tree
from agentpkg.checks.base import CheckSpec, Finding, NoVerdict, ReviewContext, Reviewed
from agentpkg.checks.command import Bench, Ran
from agentpkg.checks.evidence import EvidenceStore
from agentpkg.checks.integrity import change, failures, roles
from agentpkg.checks.integrity import review as integrity
from agentpkg.checks.integrity.change import FileChange
from agentpkg.checks.integrity.failures import Looked
from agentpkg.checks.integrity.probes import Budget
from agentpkg.checks.reuse import Bindings, Known, command_parts, integrity_parts
from agentpkg.core.model import Verdict
from agentpkg.core.records import Need
from agentpkg.git.refs import tree_of

Files = Mapping[str, tree.Blob]


@dataclass(frozen=True, slots=True)
class Apart:
    """Some may not be judged with others.

    Attributes:
        alone: their numbers in the batch.
        failing: those of them that do not pass by themselves.
    """

    alone: frozenset[int]
    failing: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Red:
    """Something failed at the tip; nobody can say whose it is."""

    what: str


@dataclass(frozen=True, slots=True)
class _Look:
    """One candidate, and what is said of it without running anything."""

    context: ReviewContext
    before: Files
    after: Files
    changed: Sequence[FileChange]
    facts: Sequence[Finding]
    needs: Sequence[Need]

    @property
    def code(self) -> set[str]:
        """The changed files that probes put other contents into."""
        return {one.path for one in self.changed if roles.is_product(one.path) or roles.is_test(one.path)}


def run_together(
    contexts: Sequence[ReviewContext], store: EvidenceStore, extra: Sequence[Sequence[Finding]],
    known: Sequence[Known], parallel: int = pipeline.PARALLEL, *, cancelled: Callable[[], bool] = lambda: False,
) -> list[Reviewed] | Apart | Red | NoVerdict:  # fmt: skip
    """Judges candidates that are stacked on each other, of one project and with the same ``batch``.

    Args:
        contexts: in the order of the stack.
        extra: findings of the caller's own, for each.
        known: earlier results of each, of which those that look at the very same are taken again.
        parallel: commands that may run at once.

    Returns:
        A review for each; or who has to be judged alone, or that the tip failed, or why the machine allows no verdict.

    Raises:
        Interrupted: when ``cancelled`` said so.
    """
    copy.sweep(copy.place(contexts[0].outside))
    looks = list(_looks(contexts))
    tip = replace(contexts[-1], base=contexts[0].base)
    specs = _specs(contexts)
    apart = _apart(looks, [spec.run for spec in specs])
    if apart.alone:
        return apart
    bindings = _bindings(tip, looks, specs)
    old = _old(known, looks, bindings)
    settled = [mine.findings(one.integrity) for mine, one in zip(known, bindings, strict=True)]
    left = [spec for spec in specs if spec not in old]
    bench = Bench(tip, (), editable.packages(looks[0].before), cancelled=cancelled)
    with pipeline.prepared(bench, left or ([] if all(settled) else specs)) as bench:
        ran = pipeline.side_by_side(bench, left, parallel)
        if isinstance(ran, NoVerdict):
            return ran
        every = {**old, **{one.spec: one for one in ran}}
        looked = _look_again(bench, [every[spec] for spec in specs], looks)
        failed = [one.finding for one in looked.ran if one.finding.status == "fail"]
        if failed:
            return Red(f"{failed[0].name}: {failed[0].detail}")
        tested = [
            before or _tested(bench, look, _own(look, looked), parallel)
            for look, before in zip(looks, settled, strict=True)
        ]
    return _concluded(store, looks, looked, tested, extra, bindings)


def _look_again(bench: Bench, ran: Sequence[Ran], looks: Sequence[_Look]) -> Looked:
    budget = Budget(bench.context.definitions.integrity.probe_seconds)
    return failures.look_again(bench, ran, looks[0].before, looks[-1].after, budget, together=True)


def _looks(contexts: Sequence[ReviewContext]) -> Iterator[_Look]:
    before = tree.files(contexts[0].control, contexts[0].base)
    for context in contexts:
        after = tree.files(context.control, context.candidate)
        policy, needs = governance.check(context, before, after)
        facts = [
            *deliverables.check(context, after), *changes.check(context, before, after), *history.check(context),
            *policy,
        ]  # fmt: skip
        yield _Look(context, before, after, change.gather(context, before, after), facts, needs)
        before = after


def _specs(contexts: Sequence[ReviewContext]) -> list[CheckSpec]:
    """The configured checks, and the acceptance commands of all, each once."""
    asked = [spec for context in contexts for spec in pipeline.acceptance(context)]
    return [*contexts[0].definitions.checks, *dict.fromkeys(asked)]


def _apart(looks: Sequence[_Look], commands: Sequence[str]) -> Apart:
    """Who waits for people, changes how tests run or code that another one changes too, or does not pass by itself."""
    failing = {n for n, look in enumerate(looks) if any(one.status == "fail" for one in look.facts)}
    alone = {
        number
        for number, look in enumerate(looks)
        if look.needs
        or runconfig.changed(look.after, look.before, commands)
        or any(look.code & {one.path for one in other.changed} for other in looks[number + 1 :])
        or _doubtful(look, commands)
    }
    return Apart(frozenset(alone | failing), frozenset(failing))


def _doubtful(look: _Look, commands: Sequence[str]) -> bool:
    return any(one.status == "fail" for one in integrity.at_sight(Bench(look.context), look.changed, commands))


def _own(look: _Look, looked: Looked) -> Looked:
    """What ran for one package: the configured checks, and its own acceptance commands, in its order."""
    by_spec = {one.spec: one for one in looked.ran}
    return replace(looked, ran=[by_spec[spec] for spec in _own_specs(look.context)])


def _own_specs(context: ReviewContext) -> list[CheckSpec]:
    return [*context.definitions.checks, *pipeline.acceptance(context)]


def _tested(bench: Bench, look: _Look, own: Looked, parallel: int) -> list[Finding]:
    """What probes say of a package's tests, at the tip, which has the package's own code and tests as its candidate."""
    context = replace(look.context, candidate=bench.context.candidate)
    budget = Budget(context.definitions.integrity.probe_seconds)
    return integrity.check(replace(bench, context=context), own, look.changed, parallel, budget)


def _concluded(
    store: EvidenceStore, looks: Sequence[_Look], looked: Looked, tested: Sequence[Sequence[Finding]],
    extra: Sequence[Sequence[Finding]], bindings: Sequence[Bindings],
) -> list[Reviewed] | Apart | Red:  # fmt: skip
    found: list[Reviewed] = []
    for look, tests, more, bound in zip(looks, tested, extra, bindings, strict=True):
        own = _own(look, looked)
        measured = pipeline.covered(look.context, own.ran, sorted(c.path for c in look.changed), looks[-1].after)
        if any(one.status == "fail" for one in measured):
            return Red(measured[0].detail)
        facts = [*look.facts, *measured, *looked.records, *tests, *more]
        facts += [] if looked.ran else [pipeline.nothing_ran()]
        found.append(pipeline.conclude(look.context, store, own.ran, facts, bound, look.changed))
    failing = frozenset(n for n, one in enumerate(found) if one.verdict is not Verdict.APPROVED)
    return Apart(failing, failing) if failing else found


def _bindings(tip: ReviewContext, looks: Sequence[_Look], specs: Sequence[CheckSpec]) -> list[Bindings]:
    """What the results of each will be bound to: its commands to the tip, what is said of its tests to its files."""
    level = tip.walls.level if tip.walls else None
    at_tip = tree_of(tip.control, tip.candidate)
    bound = {spec: command_parts(tip, at_tip, (), spec, level) for spec in specs}
    found = []
    for context in (look.context for look in looks):
        commands = tuple(bound[spec] for spec in _own_specs(context))
        trees = (tree_of(context.control, context.base), tree_of(context.control, context.candidate))
        found.append(Bindings(at_tip, commands, integrity_parts(context, trees, commands, level)))
    return found


def _old(known: Sequence[Known], looks: Sequence[_Look], bindings: Sequence[Bindings]) -> dict[CheckSpec, Ran]:
    """The commands that passed for one of them at this very tip."""
    found: dict[CheckSpec, Ran] = {}
    for mine, look, bound in zip(known, looks, bindings, strict=True):
        for spec, parts in zip(_own_specs(look.context), bound.commands, strict=True):
            if spec not in found and (ran := mine.command(spec, parts)) is not None:
                found[spec] = ran
    return found
