import json
import os
import sys
import threading
import time
from pathlib import Path

import pytest

from agentpkg.checks import copy
from agentpkg.checks.base import CheckSpec, CoverageSpec, Finding, NoVerdict, Reviewed
from agentpkg.checks.pipeline import run_all
from agentpkg.core.errors import Interrupted
from agentpkg.core.model import Verdict
from tests.checks.scene import PASSING, checks, named, scene, store
from tests.support.repos import ScratchFactory, commit, git
from tests.support.wait import until

PYTEST = f"{sys.executable} -m pytest -q -p no:cacheprovider --junitxml=report.xml"


TESTING = "def test_a():\n    assert open('src/a.py').read() == 'x = 1\\n'\n"


def reviewed(outcome: Reviewed | NoVerdict) -> Reviewed:
    assert isinstance(outcome, Reviewed), outcome
    return outcome


def leftovers() -> list[Path]:
    return list(Path(os.environ["TMPDIR"]).glob(f"{copy.PREFIX}*"))


def test_a_good_candidate_is_approved_with_evidence_for_everything(scratch: ScratchFactory, tmp_path: Path) -> None:
    context = scene(
        scratch(), {"src/a.py": "x = 1\n", "tests/test_a.py": TESTING},
        wp={"deliverables": ("src/a.py", "tests/test_a.py"), "owned_files": ("src/**", "tests/**"),
            "acceptance": ("test -f src/a.py",), "requirement_refs": ("FR-1",)},
        checks=checks(PYTEST, report="report.xml"),
    )  # fmt: skip
    kept = store(tmp_path)
    out = reviewed(run_all(context, kept))
    assert out.verdict is Verdict.APPROVED, out.checks
    assert (out.tests_passed, out.tests_failed) == (1, 0)
    assert named(out.checks, "src/a.py").detail == "1 line"
    assert named(out.checks, "deliverables").detail == "All 2 deliverables present"
    assert named(out.checks, "check1").detail == "All tests pass (1/1)"
    assert [r.group for r in out.checks] == sorted(
        (r.group for r in out.checks),
        key=["deliverables", "test-quality", "code-quality", "specification", "governance"].index,
    )
    for result in out.checks:
        proof = json.loads(kept.get(result.evidence or "") or b"null")
        assert proof["candidate"] == context.candidate
        assert proof["definitions"] == context.definitions.key()
        assert len(proof["tree"]) == 40
    accepted = named(out.checks, "test -f src/a.py")
    assert out.evidence_refs == ({"fr_id": "FR-1", "evidence_id": accepted.evidence},)
    assert not leftovers()


@pytest.mark.slow
def test_failing_tests_reject_and_their_evidence_says_how(scratch: ScratchFactory, tmp_path: Path) -> None:
    bad = "def test_sum():\n    assert 1 + 1 == 3\n" + PASSING
    context = scene(scratch(), {"tests/test_a.py": bad}, checks=checks(PYTEST, report="report.xml"))
    kept = store(tmp_path)
    out = reviewed(run_all(context, kept))
    assert out.verdict is Verdict.CHANGES_REQUESTED
    assert (out.tests_passed, out.tests_failed) == (1, 1)
    assert "1 of 2 tests failed: tests.test_a::test_sum" in named(out.checks, "check1").detail
    told = json.loads(kept.get(named(out.checks, "check1").evidence or "") or b"")["data"]["output"]
    assert "assert (1 + 1) == 3" in told
    assert copy.PREFIX not in told


@pytest.mark.slow
@pytest.mark.parametrize(
    ("run", "detail"),
    [
        ("true", "exit code 0, but the report report.xml was not written"),
        ("touch report.xml", "cannot be read: no well-formed XML"),
        ("echo '<html/>' > report.xml", "it has no <testsuite>"),
        ("ln -s /etc/passwd report.xml", "was not written"),
        ("echo '<testsuite/>' > report.xml", "only 0 tests ran, 0 skipped; at least 2 must"),
        (
            "echo '<testsuite><testcase/><testcase><skipped/></testcase></testsuite>' > report.xml",
            "only 1 tests ran, 1 skipped; at least 2 must",
        ),
        ("echo '<testsuite failures=\"1\"><testcase/></testsuite>' > report.xml", "1 of 2 tests failed"),
        (
            "echo '<!DOCTYPE a [<!ENTITY b \"c\">]><testsuite/>' > report.xml",
            "it declares entities or types of its own",
        ),
    ],
)
def test_a_check_with_a_report_passes_by_exit_code_and_report_only(
    scratch: ScratchFactory, tmp_path: Path, run: str, detail: str
) -> None:
    planted = "<testsuite><testcase/><testcase/><testcase/></testsuite>"
    context = scene(scratch(), {"report.xml": planted}, checks=checks(run, report="report.xml", minimum_tests=2))
    found = named(reviewed(run_all(context, store(tmp_path))).checks, "check1")
    assert (found.status, detail in found.detail) == ("fail", True), found


def test_a_report_of_success_does_not_outweigh_the_exit_code(scratch: ScratchFactory, tmp_path: Path) -> None:
    run = "echo '<testsuite><testcase/></testsuite>' > report.xml; echo broken; exit 3"
    context = scene(scratch(), {"a": "1"}, checks=checks(run, report="report.xml"))
    found = named(reviewed(run_all(context, store(tmp_path))).checks, "check1")
    assert (found.status, found.detail) == ("fail", "exit code 3: broken (it fails on the target too)")


def test_a_report_path_through_a_link_reaches_nothing_outside(scratch: ScratchFactory, tmp_path: Path) -> None:
    repo = scratch()
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "report.xml").write_text("<testsuite><testcase/></testsuite>")
    (repo / "out").symlink_to(precious)
    context = scene(repo, {"a": "1"}, checks=checks("true", report="out/report.xml"))
    found = named(reviewed(run_all(context, store(tmp_path))).checks, "check1")
    assert found.status == "fail"
    assert found.detail.startswith("exit code 0, but the report out/report.xml was not written")
    assert (precious / "report.xml").exists()


def test_what_one_check_does_to_its_copy_no_other_sees(scratch: ScratchFactory, tmp_path: Path) -> None:
    repo = scratch()
    spoil = "echo spoilt > a.txt; rm README.md; git -c user.name=a -c user.email=a@b commit -qam x; chmod 000 ."
    look = 'sleep 0.5; grep -q good a.txt && test -f README.md && test -z "$(git status --porcelain)"'
    context = scene(repo, {"a.txt": "good\n"}, checks=checks(spoil, look))
    out = reviewed(run_all(context, store(tmp_path), parallel=2))
    assert [named(out.checks, name).status for name in ("check1", "check2")] == ["pass", "pass"]
    assert not leftovers()
    assert (repo / "README.md").exists()


def test_a_copy_has_a_git_of_its_own_at_the_candidate_outside_the_repository(
    scratch: ScratchFactory, tmp_path: Path
) -> None:
    repo = scratch()
    context = scene(repo, {"a.txt": "x"})
    with copy.throw_away(context) as place:
        assert not place.root.is_relative_to(repo)
        assert git(place.root, "rev-parse", "HEAD") == context.candidate
        assert git(place.root, "rev-parse", "main") == context.base
        assert git(place.root, "status", "--porcelain") == ""
        assert git(place.root, "rev-parse", "--git-dir") == ".git"
        assert "x" in git(place.root, "show", "HEAD:a.txt")
    assert not place.root.exists()


def test_copies_of_sha256_and_of_shallow_repositories(tmp_path: Path) -> None:
    first = tmp_path / "sha256"
    git(tmp_path, "init", "-q", "-b", "main", "--object-format=sha256", str(first))
    commit(first, {"a": "1"}, "base")
    commit(first, {"a": "2"}, "more")
    git(tmp_path, "clone", "-q", "--depth", "1", f"file://{first}", "shallow")
    for repo in (first, tmp_path / "shallow"):
        context = scene(repo, {"a": "3", "conftest.py": "x"}, checks=checks("git fsck --no-dangling && git log HEAD"))
        out = reviewed(run_all(context, store(tmp_path)))
        assert named(out.checks, "check1").status == "pass", out.checks
        assert named(out.checks, "test configuration").status == "warn"


def test_a_temporary_folder_inside_the_repository_is_not_used(
    scratch: ScratchFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tempfile

    repo = scratch()
    (repo / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(repo / "tmp"))
    assert not copy.place((repo,)).is_relative_to(repo)


def test_checks_get_neither_secrets_nor_a_session(
    scratch: ScratchFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = scene(scratch(), {"a": "1"}, checks=checks("env; ! env | grep value-of-it"))
    for name in ("JWT_SECRET", "AGENTPKG_SESSION", "GIT_DIR", "PYTHONPATH"):
        monkeypatch.setenv(name, "value-of-it")
    out = reviewed(run_all(context, store(tmp_path)))
    assert out.verdict is Verdict.APPROVED, out.checks


def test_a_flood_of_output_is_bounded_and_its_end_kept(scratch: ScratchFactory, tmp_path: Path) -> None:
    run = "head -c 30000000 /dev/zero | tr '\\0' 'x'; echo; echo the end; exit 1"
    context = scene(scratch(), {"a": "1"}, checks=(CheckSpec("check1", "code-quality", run),))
    kept = store(tmp_path)
    found = named(reviewed(run_all(context, kept)).checks, "check1")
    assert found.detail == "exit code 1: the end"
    proof = json.loads(kept.get(found.evidence or "") or b"")
    assert proof["data"]["output_dropped"] > 28_000_000
    assert len(proof["data"]["output"]) < 1_100_000


@pytest.mark.slow
def test_a_check_that_hangs_fails_and_nothing_of_it_stays_alive(scratch: ScratchFactory, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    run = f"echo $$ >> {pids}; (setsid sh -c 'trap \"\" TERM; echo $$ >> {pids}; sleep 300' &) ; sleep 300"
    context = scene(scratch(), {"a": "1"}, checks=checks(run, timeout_seconds=1))
    found = named(reviewed(run_all(context, store(tmp_path))).checks, "check1")
    assert (found.status, found.detail) == ("fail", "did not end within 1 s")
    for pid in pids.read_text().split():
        until(lambda pid=pid: not Path(f"/proc/{pid}").exists() or not _runs(int(pid)))
    assert not leftovers()


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize(
    ("run", "reason"),
    [
        ("no-such-program-anywhere --check", "no-such-program-anywhere is not installed"),
        ("cd . && no-such-program-anywhere", "no-such-program-anywhere is not installed"),
        (f"{sys.executable} -m no_such_module", "python has no module no_such_module"),
        ("/etc/passwd", "/etc/passwd cannot be executed"),
        ("env no-such-program-anywhere", "no-such-program-anywhere is not installed"),
        ("echo 'sh: no-such-program: absent, in some language'; : no-such-program; exit 127", "no-such-program is not"),
        ("kill -9 $$", "killed by SIGKILL"),
    ],
)
def test_what_the_machine_lacks_is_no_verdict(scratch: ScratchFactory, tmp_path: Path, run: str, reason: str) -> None:
    context = scene(scratch(), {"a": "1"}, checks=checks(run))
    out = run_all(context, store(tmp_path))
    assert isinstance(out, NoVerdict)
    assert reason in out.reason
    assert out.fix


def test_a_script_the_candidate_lacks_is_the_candidates_fault(scratch: ScratchFactory, tmp_path: Path) -> None:
    context = scene(scratch(), {"a": "1"}, checks=checks("./run-it.sh", "echo 'x: sh: y'; exit 127"))
    out = reviewed(run_all(context, store(tmp_path)))
    assert [named(out.checks, name).status for name in ("check1", "check2")] == ["fail", "fail"]


def test_checks_run_at_the_same_time(scratch: ScratchFactory, tmp_path: Path) -> None:
    meet = "touch {0}/{1}; for i in $(seq 100); do test -f {0}/{2} && exit 0; sleep 0.05; done; exit 1"
    runs = [meet.format(tmp_path, "one", "two"), meet.format(tmp_path, "two", "one")]
    context = scene(scratch(), {"a": "1"}, checks=checks(*runs))
    assert reviewed(run_all(context, store(tmp_path), parallel=2)).verdict is Verdict.APPROVED


def test_a_cancelled_review_leaves_nothing(scratch: ScratchFactory, tmp_path: Path) -> None:
    started = tmp_path / "started"
    context = scene(scratch(), {"a": "1"}, checks=checks(f"touch {started}; sleep 300", "sleep 300", "sleep 300"))
    begun = time.monotonic()
    with pytest.raises(Interrupted):
        run_all(context, store(tmp_path), cancelled=started.exists)
    assert time.monotonic() - begun < 20
    assert not leftovers()
    assert threading.active_count() == 1


def test_a_copy_whose_maker_died_is_swept_and_a_live_one_is_not(scratch: ScratchFactory) -> None:
    context = scene(scratch(), {"a": "1"})
    dead = Path(os.environ["TMPDIR"]) / f"{copy.PREFIX}dead"
    (dead / "copy").mkdir(parents=True)
    (dead / "lock").touch()
    with copy.throw_away(context) as place:
        assert copy.sweep(dead.parent) == [dead]
        assert place.root.exists()
    assert not leftovers()


def test_without_any_command_the_review_says_so(scratch: ScratchFactory, tmp_path: Path) -> None:
    out = reviewed(run_all(scene(scratch(), {"a": "1"}), store(tmp_path)))
    assert out.verdict is Verdict.APPROVED
    assert named(out.checks, "tests").status == "warn"
    assert out.tests_passed is None


def test_strict_requirements_want_evidence(scratch: ScratchFactory, tmp_path: Path) -> None:
    wp = {"requirement_refs": ("FR-1",)}
    lenient = reviewed(run_all(scene(scratch(), {"a": "1"}, wp=wp), store(tmp_path)))
    strict = reviewed(run_all(scene(scratch(), {"a": "1"}, wp=wp, requirements="strict"), store(tmp_path)))
    assert named(lenient.checks, "FR-1").status == "warn"
    assert named(strict.checks, "FR-1").status == "fail"
    assert (lenient.verdict, strict.verdict) == (Verdict.APPROVED, Verdict.CHANGES_REQUESTED)
    assert lenient.evidence_refs == ()


def test_passed_checks_are_the_evidence_where_there_is_no_acceptance(scratch: ScratchFactory, tmp_path: Path) -> None:
    context = scene(scratch(), {"a": "1"}, wp={"requirement_refs": ("FR-1", "FR-2")}, checks=checks("true", "true"))
    out = reviewed(run_all(context, store(tmp_path)))
    assert [ref["fr_id"] for ref in out.evidence_refs] == ["FR-1", "FR-1", "FR-2", "FR-2"]


def test_findings_of_the_caller_count(scratch: ScratchFactory, tmp_path: Path) -> None:
    broken = Finding("governance", "audit trail", "fail", "broken at entry 3")
    out = reviewed(run_all(scene(scratch(), {"a": "1"}), store(tmp_path), extra=[broken]))
    assert out.verdict is Verdict.CHANGES_REQUESTED
    assert named(out.checks, "audit trail").evidence


COVER = f"{sys.executable} -m coverage run --data-file=.cov -m pytest -q && {sys.executable} -m coverage"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("form", "per", "minimum", "status"),
    [
        ("xml -o c.out", "total", 60, "pass"),
        ("xml -o c.out", "total", 99, "fail"),
        ("json -o c.out", "total", 60, "pass"),
        ("xml -o c.out", "file", 70, "fail"),
        ("json -o c.out", "changed", 50, "pass"),
        ("xml -o c.out", "changed", 51, "fail"),
    ],
)
def test_coverage_reports_of_both_formats(
    scratch: ScratchFactory, tmp_path: Path, form: str, per: str, minimum: int, status: str
) -> None:
    repo = scratch({"src/a.py": "def f():\n    return 1\n\n\ndef g():\n    return 2\n", "conftest.py": ""})
    change = {
        "src/a.py": "def f():\n    return 1\n\n\ndef g():\n    return 2\n\n\ndef h():\n    return 3\n",
        "tests/test_a.py": "import sys\nsys.path.insert(0, 'src')\nimport a\n\ndef test_a():\n    assert a.f() == 1\n",
    }
    run = f"{COVER} {form} --data-file=.cov --include='src/*'"
    context = scene(
        repo, change, checks=checks(run), coverage=CoverageSpec("c.out", minimum, per),  # type: ignore[arg-type]
    )  # fmt: skip
    found = named(reviewed(run_all(context, store(tmp_path))).checks, "coverage")
    assert found.status == status, found


def test_no_coverage_report_fails(scratch: ScratchFactory, tmp_path: Path) -> None:
    context = scene(scratch(), {"c.xml": "<coverage/>"}, checks=checks("true"), coverage=CoverageSpec("c.xml", 10))
    found = named(reviewed(run_all(context, store(tmp_path))).checks, "coverage")
    assert (found.status, found.detail) == ("fail", "no check wrote c.xml")
