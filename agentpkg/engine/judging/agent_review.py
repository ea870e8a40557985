"""The review by an agent: another one than the author, in a sealed copy of the candidate, its verdict read by schema.

It is asked only about what all other checks let pass, and it is one more of them: its findings are a check's result,
with evidence. What it cannot say in time, or in words that can be read, is no verdict at all: nothing is approved,
nothing is rejected, and no review cycle is used up.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentpkg.checks import copy, reuse, tree, verdict
from agentpkg.checks.base import Finding, NoVerdict, ReviewContext, Reviewed, digest, one_line
from agentpkg.checks.reuse import Known, Parts
from agentpkg.config import AgentSettings
from agentpkg.core.errors import AgentpkgError, Interrupted, Lacking
from agentpkg.core.hosts import parse_all
from agentpkg.core.model import Verdict, WorkPackage
from agentpkg.core.records import PackageRow
from agentpkg.core.scope import Scope
from agentpkg.engine import cleaning
from agentpkg.engine.asking import budgets
from agentpkg.engine.enclosing import vault, walls
from agentpkg.engine.enclosing.enclosure import ReviewWalls, way_out
from agentpkg.engine.judging import frozen, handoff, reviewers
from agentpkg.engine.project import Project
from agentpkg.git.diff import patch
from agentpkg.git.lent import lent
from agentpkg.git.refs import tree_of
from agentpkg.harnesses import harness_named
from agentpkg.harnesses.base import Job, Launch
from agentpkg.isolation import Network, Room, Walls, Wrapped
from agentpkg.secrets.redact import Redactor
from agentpkg.secrets.resolve import resolve_environment
from agentpkg.sessions import environment, limits, runner
from agentpkg.sessions.log import SessionLog

if TYPE_CHECKING:
    from agentpkg.isolation.proxy import Decision

#: how often a reviewer is asked whose answer cannot be read
_TRIES = 2

#: seconds between being asked to stop and being killed
_GRACE = 5.0

#: a reviewer changes nothing
_NOTHING = Scope(forbidden=(("/**",),))

Cancelled = Callable[[], bool]


@dataclass
class _Reviewer:
    """One reviewer at work on one candidate."""

    project: Project
    row: PackageRow
    agent: AgentSettings
    context: ReviewContext
    walls: Walls
    cancelled: Cancelled
    said: list[str] = field(default_factory=list)

    def ask(self, prompt: str) -> runner.Ended:
        """Runs the agent in a copy; what it says is in :attr:`said`."""
        self.said.clear()
        with copy.throw_away(self.context, cancelled=self.cancelled) as place:
            folder = place.temporary.parent / "reviewer"
            secrets = resolve_environment(
                self.agent.environment, vault.providers(self.project), self.context.wp.secrets,
                self.project.loaded.variable_places(self.agent.name),
            )  # fmt: skip
            job = self._job(place, folder, prompt)
            launch = self._launch(job, folder, place)
            hidden = {name: value.reveal() for name, value in secrets.hidden.items()}
            env = environment.build(self.project.environ, {**secrets.plain, **hidden}, self.agent.name, job)
            env |= {**launch.env, copy.MARK: place.root.parent.name}
            with self._inside(launch, env, place) as inside:
                return self._run(
                    replace(launch, argv=inside.argv, env={}), inside, job, Redactor(secrets.secrets), place
                )

    @property
    def _decided(self) -> "list[Decision]":
        walls = self.context.walls
        return walls.decided if isinstance(walls, ReviewWalls) else []

    def _job(self, place: copy.Copy, folder: Path, prompt: str) -> Job:
        # it carries the mark of the author's session: to agentpkg it is an agent, and no person
        return Job(
            session=self.row.session or f"review-{place.root.parent.name}", feature=self.row.feature, wp=self.row.wp,
            attempt=1, repository=str(self.project.work_tree), worktree=str(place.seen_as), prompt=prompt,
            prompt_path=str(folder / "prompt.md"), task_path=str(folder / "prompt.md"), model=self.agent.model,
            folder=str(folder / "harness"), private=str(place.root / ".git"), scope=_NOTHING,
            isolation=self.walls.level, read_only=True,
        )  # fmt: skip

    def _launch(self, job: Job, folder: Path, place: copy.Copy) -> Launch:
        launch = harness_named(self.agent.harness).launch(self.agent, job).placed(str(place.root / ".git"))
        for name, text in {"../prompt.md": job.prompt, **launch.files}.items():
            path = Path(os.path.normpath(folder / "harness" / name))
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        return replace(launch, reads=(*launch.reads, job.prompt_path, *([job.folder] if launch.files else ())))

    @contextmanager
    def _inside(self, launch: Launch, env: dict[str, str], place: copy.Copy) -> Iterator[Wrapped]:
        git = self.context.control.git_dir
        borrowed = map(str, lent(self.project.repository.objects))
        objects = (str(git / "objects"), str(git.parent.parent / "objects"), *borrowed)
        hosts = (*self.project.settings.isolation.network.allow, *self.agent.network, *launch.hosts)
        with way_out(self.walls, parse_all(hosts) if self.walls.cuts_network else (), self._decided) as network:
            inside = self.walls.wrap_room(launch.argv, env, self._room(launch, place, objects, network))
            try:
                yield inside
            finally:
                inside.close()

    def _room(self, launch: Launch, place: copy.Copy, objects: tuple[str, ...], network: Network | None) -> Room:
        real = os.path.realpath
        own = tuple(path for path in launch.reads if path.startswith(f"{place.temporary.parent}/"))
        return Room(
            root=real(place.root), seen_as=real(place.seen_as), temporary=real(place.temporary), home=real(place.home),
            reads=(*objects, *own), programs=tuple(path for path in launch.reads if path not in own),
            mounts=walls.mounts(self.project), network=network, sealed=True,
            closed=(str(self.project.work_tree), str(self.project.repository.common_dir)), states=launch.writes,
        )  # fmt: skip

    def _run(self, launch: Launch, inside: Wrapped, job: Job, redactor: Redactor, place: copy.Copy) -> runner.Ended:
        name = f"{self.row.feature}-{self.row.wp}-{self.context.candidate[:16]}"
        folder = self.project.state / cleaning.REVIEWS / name
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        log = SessionLog(folder / "events.jsonl", redactor)
        group = inside.status.group if inside.status else lambda: None
        hooks = runner.Hooks(
            recorded=self._hear, should_stop=lambda: "interrupted" if self.cancelled() else None, group=group
        )
        try:
            ended = runner.run(
                launch, harness_named(self.agent.harness).reader(job), cwd=place.root, env=inside.env,
                mark=f"{copy.MARK}={place.root.parent.name}", log=log, redactor=redactor,
                timeout=self.project.settings.review.agent.timeout_seconds, grace=_GRACE, hooks=hooks,
                limits=self._bounds(), keep=inside.keep,
            )  # fmt: skip
        finally:
            log.close()
        if why := inside.failed_to_start(ended.exit_code, "\n".join(self.said)):
            raise Lacking(why, "`agentpkg doctor` tells more; isolation.level can ask for less",
                          code="isolation_unavailable")  # fmt: skip
        return ended

    def _bounds(self) -> list[limits.Limit]:
        """What is left of the budgets of its package and feature."""
        project, row = self.project, self.row
        caps = budgets.from_plan(budgets.plan(project, project.read(row.feature), row.wp))
        spent = budgets.spent(budgets.usages(project.state, project.ledger, row.feature), row.wp)
        return [limits.Spending(lambda: caps, lambda: spent)]

    def _hear(self, record: Any) -> None:
        if record["kind"] in ("text", "output"):
            self.said.append(str(record["text"]))


def judge(
    project: Project, row: PackageRow, package: WorkPackage, context: ReviewContext, done: Reviewed, known: Known,
    cancelled: Cancelled, insist: bool = False,
) -> tuple[Finding, Parts] | NoVerdict:  # fmt: skip
    """What the configured reviewer says of a candidate, and what that is bound to.

    Args:
        done: what the other checks said.
        known: earlier results; an approval of the very same is taken again.
        insist: ask the reviewer also while its provider has said that it does not serve yet.
    """
    name = project.settings.review.agent.name
    if done.verdict is not Verdict.APPROVED:
        return Finding("specification", f"review by {name}", "skip", "not asked: other checks failed"), {}
    try:
        subject = _subject(project, row, package, context, done)
        found = _known(project, row, known, bound(project, row, context, subject))
        return found or _of_the_first_that_serves(project, row, context, subject, cancelled, insist)
    except Interrupted:
        raise
    except AgentpkgError as error:
        return NoVerdict(f"review by {name}", error.message, error.hint, error.code, error.details)


def bound(project: Project, row: PackageRow, context: ReviewContext, subject: verdict.Subject) -> dict[str, Parts]:
    """What the word of each agent that could review a candidate is bound to, by the name of its check."""
    level = walls.of(project).level
    trees = [tree_of(context.control, commit)
             for commit in (context.base, context.candidate)]  # fmt: skip
    # the commit itself says when it was made; what the other checks said follows from the files
    asked = verdict.prompt(replace(subject, candidate="", checks=()))
    return {
        _name(agent): {
            "files": digest(trees), "question": digest(asked), "agent": digest(asdict(agent)),
            "isolation": digest(level), "reviewer": digest(reuse.reviewer()),
        }
        for agent in reviewers.line(project, row)[0]
    }  # fmt: skip


def bound_now(project: Project, row: PackageRow, package: WorkPackage, context: ReviewContext) -> dict[str, Parts]:
    """As :func:`bound`, for a candidate that nothing was run on yet; empty where no reviewer is configured."""
    if project.settings.review.agent.name is None:
        return {}
    nothing = Reviewed(Verdict.APPROVED, ())
    return bound(project, row, context, _subject(project, row, package, context, nothing))


def _name(agent: AgentSettings) -> str:
    return one_line(f"review by {agent.name}", 200)


def _known(
    project: Project, row: PackageRow, known: Known, parts: Mapping[str, Parts]
) -> tuple[Finding, Parts] | None:  # fmt: skip
    """An earlier approval of the very same files, for the same question to the same agent."""
    for name, mine in parts.items():
        found = known.find(name, mine, ("pass", "warn"))
        if found is not None:
            evidence, document = found
            data = {**document["data"], "reused": document["data"].get("reused", evidence)}
            return Finding(document["group"], name, document["status"], document["detail"], data), mine
    return None


def _of_the_first_that_serves(
    project: Project, row: PackageRow, context: ReviewContext, subject: verdict.Subject, cancelled: Cancelled,
    insist: bool,
) -> tuple[Finding, Parts] | NoVerdict:  # fmt: skip
    refused: dict[str, str] = {}
    while True:
        agent = reviewers.choose(project, row, refused, insist)
        reviewer = _Reviewer(project, row, agent, context, walls.of(project), cancelled)
        found = _asked(reviewer, subject)
        if isinstance(found, NoVerdict):
            return found
        if isinstance(found, Finding):
            return found, bound(project, row, context, subject)[_name(agent)]
        refused[agent.name] = found


def _require_budget(project: Project, row: PackageRow) -> None:
    found = budgets.over(project, project.read(row.feature), row.wp)
    if found is not None:
        raise Lacking(f"nothing is left for a review: {found}", f"raise {found.key}", code="budget_spent")


def _subject(
    project: Project, row: PackageRow, package: WorkPackage, context: ReviewContext, done: Reviewed
) -> verdict.Subject:
    sha = frozen.digests(project, row).get("constitution_sha256")
    rules = frozen.store(project).get(f"sha256:{sha}") if sha else None
    session = project.ledger.session(row.session) if row.session else None
    change = patch(context.control, context.base, context.candidate)
    return verdict.Subject(
        context.candidate, row.feature, package, context.requirements, change, done.checks,
        rules.decode("utf-8", "replace") if rules else "",
        handoff.last_words(project, row, session) if session else "", project.settings.review.agent.refuses,
    )  # fmt: skip


def _asked(reviewer: _Reviewer, subject: verdict.Subject) -> Finding | NoVerdict | str:
    """Its word, or until when the model's provider refuses to let it say one."""
    prompt, name = verdict.prompt(subject), reviewer.agent.name
    why = ""
    for _ in range(_TRIES):
        _require_budget(reviewer.project, reviewer.row)
        ended = reviewer.ask(prompt)
        until = reviewers.remember(reviewer.project, reviewer.row, reviewer.agent, subject.candidate, ended)
        if ended.stop == "interrupted":
            raise Interrupted("the review was stopped", "run it again: agentpkg review")
        if until is not None:
            return until
        if (silent := _cut_short(reviewer, ended)) is not None:
            return silent
        try:
            answer = verdict.read("\n".join(reviewer.said), subject.candidate)
        except verdict.Unreadable as error:
            why = str(error)
            continue
        files = [*tree.files(reviewer.context.control, reviewer.context.candidate),
                 *tree.files(reviewer.context.control, reviewer.context.base)]  # fmt: skip
        return verdict.judge(answer, subject, name, ended.end.usage, files)
    return _none(name, why)


def _cut_short(reviewer: _Reviewer, ended: runner.Ended) -> NoVerdict | None:
    """Why what it said is not its last word; None when it is."""
    name = reviewer.agent.name
    if ended.stop == "timeout":
        return _none(name, f"it gave no verdict within {reviewer.project.settings.review.agent.timeout_seconds} s")
    if ended.stop == "budget":
        return NoVerdict(f"review by {name}", f"the reviewer {name} was stopped: {ended.said}",
                         "raise the budget, and review again", "budget_spent")  # fmt: skip
    if ended.stop is not None or ended.end.error or (ended.exit_code and ended.end.error is None):
        return _none(name, ended.end.text or ended.said or f"it ended with {ended.exit_code}")
    return None


def _none(name: str, why: str) -> NoVerdict:
    return NoVerdict(f"review by {name}", f"the reviewer {name} gave none: {why}",
                     "review again, or name another one in review.agent.name", "no_verdict")  # fmt: skip
