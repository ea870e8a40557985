"""Stages of a feature: which are finished, which may begin, and what has to be checked next. Pure.

A *gate* is what stands at the end of a stage, or of the whole feature: commands that must pass on the target once all
of its packages are over. It is passed for the packages that it had then; one that comes later opens it again.
"""

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field

from agentpkg.core.model import Feature, State

#: states in which a package needs no more work
OVER = (State.DONE, State.CANCELLED)


@dataclass(frozen=True, slots=True)
class Gate:
    """The check at the end of a stage, or (``stage`` None) of the feature.

    Attributes:
        packages: whose work it is about, fixes of it among them.
        needs: stages that must be finished before.
        commands: through ``/bin/sh -c`` in a clean copy of the target; all must pass.
        entry: commands that must pass before the stage's packages start.
    """

    stage: str | None
    packages: tuple[str, ...]
    needs: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()
    entry: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """As people read it."""
        return self.stage if self.stage is not None else "the feature's done check"


@dataclass(frozen=True, slots=True)
class Checked:
    """One recorded check of a gate or of an entry condition.

    Attributes:
        commit: the target's tip that was checked.
        packages: the gate's packages at that time.
        commands: what was run.
        detail: what failed, in a line.
        tag: the name of the tag that a finished stage gets.
        evidence: of each command, ``sha256:…``.
    """

    passed: bool
    commit: str
    packages: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()
    detail: str = ""
    tag: str | None = None
    evidence: tuple[str, ...] = ()


def gates(feature: Feature, fixes: Mapping[str | None, Sequence[str]]) -> dict[str | None, Gate]:
    """The gates of a feature by stage, the feature's own under None if it has a done check.

    Args:
        fixes: packages that were made to get a gate passed, by stage.
    """
    found: dict[str | None, Gate] = {
        stage.name: Gate(
            stage.name, (*stage.packages, *fixes.get(stage.name, ())), stage.needs, stage.done_check, stage.entry_check
        )
        for stage in feature.stages
    }
    if feature.done_check:
        every = tuple(dict.fromkeys((*feature.packages, *fixes.get(None, ()))))
        found[None] = Gate(None, every, tuple(stage.name for stage in feature.stages), feature.done_check)
    return found


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the gates of a feature are.

    Attributes:
        gates: by stage; None is the feature's own.
        checked: the newest check of each.
        entered: the newest check of each stage's entry condition.
        states: of the packages.
    """

    gates: Mapping[str | None, Gate] = field(default_factory=dict)
    checked: Mapping[str | None, Checked] = field(default_factory=dict)
    entered: Mapping[str, Checked] = field(default_factory=dict)
    states: Mapping[str, State] = field(default_factory=dict)

    def finished(self, stage: str | None) -> bool:
        """The gate is passed, for all packages it has now."""
        last = self.checked.get(stage)
        return last is not None and last.passed and set(self.gates[stage].packages) <= set(last.packages)

    def over(self, gate: Gate) -> bool:
        """None of its packages needs more work."""
        return all(self.states.get(wp, State.PLANNED) in OVER for wp in gate.packages)

    def due(self, stage: str | None) -> bool:
        """All is ready for the gate's check, and it is not passed."""
        gate = self.gates[stage]
        return not self.finished(stage) and not self.open_needs(gate) and self.over(gate) and self._entered(gate)

    def open_needs(self, gate: Gate) -> list[str]:
        """Stages that it needs and that are not finished."""
        return [need for need in gate.needs if need in self.gates and not self.finished(need)]

    def entry_due(self, stage: str) -> bool:
        """The stage's entry condition is what its packages wait for."""
        gate = self.gates[stage]
        return bool(gate.entry) and not self.open_needs(gate) and not self._entered(gate)

    def stage_of(self, wp: str) -> str | None:
        """The stage a package belongs to, None when it is in none."""
        return next((s for s, gate in self.gates.items() if s is not None and wp in gate.packages), None)

    def waits_for(self, wp: str) -> list[str]:
        """What a package's stage still waits for: names of stages, and its own where its entry condition is open."""
        stage = self.stage_of(wp)
        if stage is None:
            return []
        gate = self.gates[stage]
        still = self.open_needs(gate)
        return still or ([] if self._entered(gate) else [stage])

    def fails_at(self, stage: str | None, commit: str) -> Checked | None:
        """The newest check of a gate, if it failed on this very commit with these very commands."""
        return _failed(self.checked.get(stage), commit, self.gates[stage].commands)

    def entry_fails_at(self, stage: str, commit: str) -> Checked | None:
        """As :meth:`fails_at`, of a stage's entry condition."""
        return _failed(self.entered.get(stage), commit, self.gates[stage].entry)

    def _entered(self, gate: Gate) -> bool:
        if not gate.entry or gate.stage is None:
            return True
        last = self.entered.get(gate.stage)
        # whoever has begun is in
        begun = any(self.states.get(wp, State.PLANNED) is not State.PLANNED for wp in gate.packages)
        return begun or (last is not None and last.passed and last.commands == gate.entry)


def _failed(last: Checked | None, commit: str, commands: tuple[str, ...]) -> Checked | None:
    if last is None or last.passed or (last.commit, last.commands) != (commit, commands):
        return None
    return last


def chained(
    dependencies: Mapping[str, Sequence[str]], stages: Sequence[tuple[Sequence[str], Sequence[str], str]]
) -> dict[str, tuple[str, ...]]:  # fmt: skip
    """The graph of packages with the order that stages add: for whatever asks how long all of it takes.

    Args:
        dependencies: what each package's file says.
        stages: ``(packages, needs, name)`` each.
    """
    inside = {name: (packages, needs) for packages, needs, name in stages}
    before: dict[str, tuple[str, ...]] = {}

    def ends(name: str, seen: frozenset[str]) -> tuple[str, ...]:
        """The packages that a stage's end waits for: its own, or where it has none those of the stages before it."""
        if name not in inside or name in seen:
            return ()
        packages, needs = inside[name]
        return tuple(packages) or tuple(wp for need in needs for wp in ends(need, seen | {name}))

    for packages, needs, _ in stages:
        first = tuple(dict.fromkeys(wp for need in needs for wp in ends(need, frozenset())))
        before |= {wp: tuple(one for one in first if one in dependencies) for wp in packages}
    return {wp: tuple(dict.fromkeys((*needs, *before.get(wp, ())))) for wp, needs in dependencies.items()}


def in_stages(feature: Feature, dependencies: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
    """As :func:`chained`, by the stages of a feature."""
    return chained(dependencies, [(stage.packages, stage.needs, stage.name) for stage in feature.stages])


def needed(feature: Feature, wanted: Container[str], stage: str | None) -> set[str]:
    """The packages of all stages that a stage needs, directly or not, but for those that are in ``wanted``."""
    by_name = {one.name: one for one in feature.stages}
    found: set[str] = set()
    left = list(by_name[stage].needs) if stage in by_name else []
    seen: set[str] = set()
    while left:
        name = left.pop()
        if name in by_name and name not in seen:
            seen.add(name)
            found |= {wp for wp in by_name[name].packages if wp not in wanted}
            left += by_name[name].needs
    return found
