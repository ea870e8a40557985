"""What happened after the last entry that is known, as session folders, landed commits and branches tell it."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from agentpkg.core.errors import BadInput
from agentpkg.core.model import Feature, FeatureState, Outcome, State
from agentpkg.core.records import FeatureRow, PackageRow, SessionRow
from agentpkg.engine import transition
from agentpkg.engine.project import Project
from agentpkg.engine.supervising import conclude, lease
from agentpkg.engine.supervising.plan import SessionPlan, read_plan
from agentpkg.engine.transition import RECOVERY
from agentpkg.features.folder import require_good
from agentpkg.ledger.ledger import Transaction

_FIELDS = "%H%n%P%n" + "%n".join(
    f"%(trailers:key={key},valueonly,separator=%x20)" for key in ("Feature", "Work-Package", "Session", "Audit-Hash")
)


@dataclass
class Beyond:
    """Adds what was found to a ledger that holds the known entries.

    Args:
        tx: of that ledger.

    Attributes:
        unknown: what could not be found out, one sentence each.
    """

    project: Project
    tx: Transaction
    unknown: list[str] = field(default_factory=list)

    def add(self) -> None:
        """Adds everything, oldest kinds first: files, sessions, landings, branches."""
        folders = sorted(self._folders(), key=lambda found: (found[0].job["feature"], found[0].job["attempt"]))
        for plan, _ in folders:
            self._register(str(plan.job["feature"]))
        for feature in self.tx.features():
            self._register(feature.id)
        for plan, folder in folders:
            self._session(plan, folder)
        self._unowned()
        for target in sorted({feature.target for feature in self.tx.features()}):
            self._landings(target)
        for row in self.tx.packages():
            self._branch(row)

    # ----------------------------------------------------------------- files

    def _register(self, feature_id: str) -> None:
        """Takes over titles and dependencies from the feature's files, and packages that no entry tells of."""
        feature = self.project.read(feature_id)
        try:
            require_good(feature)
        except BadInput as error:
            self.unknown.append(f"{feature_id}: its files cannot be read ({error.message})")
            feature = Feature(id=feature_id, title=feature_id, path="")
        if feature.path:
            transition.register(self.tx, feature, self.project.target(feature))
        elif self.tx.feature(feature_id) is None:
            said = {"title": feature_id, "recovered": "session folder"}
            self.tx.append(feature_id, None, FeatureState.CREATED, FeatureState.PLANNED, RECOVERY, said)
            target = self.project.settings.project.target_branch
            self.tx.put_feature(FeatureRow(feature_id, feature_id, FeatureState.PLANNED, target))

    # ----------------------------------------------------------------- sessions

    def _folders(self) -> Iterator[tuple[SessionPlan, Path]]:
        top = self.project.state / "sessions"
        for folder in sorted(top.iterdir()) if top.is_dir() else ():
            try:
                yield read_plan(folder), folder
            except FileNotFoundError:
                # its dispatcher died, or is at work; no agent has seen it
                continue
            except (OSError, ValueError, KeyError, TypeError, BadInput):
                self.unknown.append(f"the folder of session {folder.name} cannot be read")

    def _session(self, plan: SessionPlan, folder: Path) -> None:
        known = self.tx.session(plan.session)
        if known is not None and known.ended_at is not None:
            return
        row = known or self._found(plan)
        if row is None:
            return
        owner = lease.signed(folder) or lease.dead()
        row = replace(row, pid=owner.pid, pid_started=owner.started, boot_id=owner.boot_id)
        if known is None:
            transition.found_session(self.tx, row, plan.branch)
        else:
            self.tx.put_session(row)
        end = conclude.remembered_end(plan, folder)
        if end is not None:
            said = {**(end.metadata or {}), "recovered": "session folder"}
            transition.finish(self.tx, row.id, replace(end, metadata=said), RECOVERY)

    def _unowned(self) -> None:
        """Gives live sessions an owner of whose plans nothing is left: who signed their folder, else one that is dead.

        Should one be alive it can change nothing, since it is not the owner any more.
        """
        for row in self.tx.sessions(live=True):
            folder = self.project.state / "sessions" / row.id
            if row.pid is None:
                owner = lease.signed(folder) or lease.dead()
                self.tx.put_session(replace(row, pid=owner.pid, pid_started=owner.started, boot_id=owner.boot_id))
                if not folder.is_dir():
                    self.unknown.append(f"{row.feature} {row.wp}: what session {row.id} had made; its folder is gone")

    def _found(self, plan: SessionPlan) -> SessionRow | None:
        """The row of a session that only its folder tells of; None when the package has gone on without it."""
        feature, wp = str(plan.job["feature"]), str(plan.job["wp"])
        before = self.tx.sessions(feature, wp)
        epoch = int(plan.job["attempt"])
        package = self.tx.package(feature, wp)
        done = package is not None and package.state in (State.DONE, State.CANCELLED)
        if done or any(session.ended_at is None or session.epoch >= epoch for session in before):
            self.unknown.append(f"{feature} {wp}: session {plan.session} is in no entry; its folder is kept")
            return None
        return SessionRow(
            plan.session, feature, wp, plan.agent_name, plan.harness, epoch, "", isolation=plan.isolation,
            model=plan.job.get("model"), base=plan.base, old_head=plan.old_head,
        )  # fmt: skip

    # ----------------------------------------------------------------- git

    def _landings(self, target: str) -> None:
        """Commits on a target that say that they landed a package which is not done."""
        tip = self.project.branch_tip(target)
        if tip is None:
            self.unknown.append(f"the branch {target} is gone, and with it what had landed on it")
            return
        asked = ("--first-parent", "--reverse", "--no-show-signature", "--fixed-strings", "--grep=Work-Package: ")
        lines = self.project.repository.git.text("log", *asked, f"--format={_FIELDS}", tip, "--").split("\n")
        for at in range(0, len(lines) - 5, 6):
            commit, parents, feature, wp, session, digest = lines[at : at + 6]
            row = self.tx.package(feature, wp)
            if row is not None and row.state is not State.DONE:
                self._landed(row, commit, parents.split()[1:], session, digest)

    def _landed(self, row: PackageRow, commit: str, heads: list[str], session: str, digest: str) -> None:
        known = any(entry.hash == digest for entry in self.tx.entries(row.feature))
        begun = any(one.id == session for one in self.tx.sessions(row.feature, row.wp))
        alone = not self.tx.sessions(row.feature)
        if not (known or begun or alone):
            self.unknown.append(
                f"{row.feature} {row.wp}: commit {commit[:12]} says that it landed it, and nothing else does"
            )
            return
        for live in self.tx.sessions(row.feature, row.wp, live=True):
            end = transition.End(Outcome.COMPLETED, metadata={"recovered": "landed commit"})
            transition.finish(self.tx, live.id, end, RECOVERY)
        facts = {"merge_commit": commit, "candidate": commit, **({"head": heads[-1]} if heads else {})}
        if not known:
            # the entry that its Audit-Hash names is lost, so that it cannot be held against the chain
            facts |= {"kind": "adopted", "audit_hash": digest}
            self.unknown.append(f"{row.feature} {row.wp}: how it was judged before it landed as {commit[:12]}")
        transition.found_landing(self.tx, row.feature, row.wp, facts)

    def _branch(self, row: PackageRow) -> None:
        """A planned package's branch with commits of its own, of which nothing else tells."""
        branch = row.branch or self.project.branch_name(row.feature, row.wp)
        head = self.project.branch_tip(branch)
        feature = self.tx.feature(row.feature)
        if row.state is not State.PLANNED or row.session is not None or head is None or feature is None:
            return
        target = self.project.branch_tip(feature.target)
        ahead = ("merge-base", "--is-ancestor", head, target or head)
        if target is not None and self.project.repository.git.run(*ahead, ok=(0, 1)).returncode == 1:
            transition.found_branch(self.tx, row.feature, row.wp, branch, head)
            self.unknown.append(f"{row.feature} {row.wp}: who made the commits on {branch}")
