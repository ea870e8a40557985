from pathlib import Path

import pytest

from agentpkg.core.model import FailureClass, Outcome
from agentpkg.harnesses.base import StreamEnd
from agentpkg.sessions.fulldisk import Full, Rooms
from agentpkg.sessions.judge import Facts, judge

FINE = StreamEnd(error=False, text="all done")
FULL = Full("/work", 0)
ERROR = StreamEnd(error=True, text="overloaded")


@pytest.mark.parametrize(
    ("facts", "outcome", "reason", "failure"),
    [
        (Facts(end=FINE, admitted=1), Outcome.COMPLETED, None, None),
        # a stream that says nothing of the end: commits count, then the exit code
        (Facts(admitted=1), Outcome.COMPLETED, None, None),
        (Facts(admitted=1, exit_code=3), Outcome.FAILED, "exit_code", FailureClass.AGENT),
        # a stream that says it went well outweighs the exit code
        (Facts(end=FINE, admitted=1, exit_code=1), Outcome.COMPLETED, None, None),
        # exit 0 alone proves nothing
        (Facts(end=FINE), Outcome.FAILED, "no_commits", FailureClass.AGENT),
        (Facts(end=ERROR, admitted=5), Outcome.FAILED, "agent_error", FailureClass.AGENT),
        (Facts(end=FINE, carried=2), Outcome.COMPLETED, None, None),
        (Facts(end=FINE, admitted=1, refused="link"), Outcome.FAILED, "import_refused", FailureClass.AGENT),
        (Facts(stop="timeout", end=FINE, admitted=1), Outcome.TIMEOUT, "timeout", FailureClass.TIMEOUT),
        (Facts(stop="silence", killed=True, exit_code=-9), Outcome.TIMEOUT, "silence", FailureClass.TIMEOUT),
        (Facts(stop="memory", killed=True, exit_code=-9), Outcome.FAILED, "memory", FailureClass.LIMIT),
        (
            Facts(end=StreamEnd(error=True, fault="provider"), exit_code=1, admitted=1),
            Outcome.FAILED,
            "provider",
            FailureClass.PROVIDER,
        ),
        (
            Facts(end=StreamEnd(error=True, fault="environment"), exit_code=1),
            Outcome.FAILED,
            "environment",
            FailureClass.ENVIRONMENT,
        ),
        # a full disk excuses errors, and nothing else
        (Facts(end=ERROR, exit_code=1, full=FULL), Outcome.FAILED, "environment", FailureClass.ENVIRONMENT),
        (Facts(exit_code=3, full=FULL), Outcome.FAILED, "environment", FailureClass.ENVIRONMENT),
        (Facts(end=FINE, full=FULL), Outcome.FAILED, "environment", FailureClass.ENVIRONMENT),
        (Facts(end=FINE, admitted=1, full=FULL), Outcome.COMPLETED, None, None),
        (Facts(end=FINE, admitted=1, refused="x", full=FULL), Outcome.FAILED, "import_refused", FailureClass.AGENT),
        (Facts(end=FINE, refused="x", unread=True), Outcome.FAILED, "environment", FailureClass.ENVIRONMENT),
        (Facts(stop="cancelled", admitted=1), Outcome.CANCELLED, "cancelled", FailureClass.CANCELLED),
        (Facts(stop="interrupted", refused="x"), Outcome.CANCELLED, "interrupted", FailureClass.CANCELLED),
        (Facts(trouble="no bwrap", stop="timeout"), Outcome.FAILED, "environment", FailureClass.ENVIRONMENT),
        (Facts(exit_code=-9), Outcome.FAILED, "killed", FailureClass.ENVIRONMENT),
        (Facts(end=ERROR, exit_code=-9), Outcome.FAILED, "killed", FailureClass.ENVIRONMENT),
        (Facts(exit_code=-15, admitted=1), Outcome.FAILED, "exit_code", FailureClass.AGENT),
    ],
)
def test_facts_give_one_outcome(
    facts: Facts, outcome: Outcome, reason: str | None, failure: FailureClass | None
) -> None:
    assert judge(facts)[:3] == (outcome, reason, failure)


def test_the_detail_says_what_a_person_needs() -> None:
    denied = StreamEnd(error=False, denials=("Bash(git commit)",))
    assert judge(Facts(end=StreamEnd(True, "bad key"), exit_code=2)).detail == "exit code 2: bad key"
    assert judge(Facts(end=denied, uncommitted=3)).detail == (
        "it ended without a commit; 3 changed paths were left uncommitted; "
        "1 call was denied, the last: Bash(git commit)"
    )
    assert judge(Facts(astray="on a detached HEAD", uncommitted=1)).detail == (
        "it ended on a detached HEAD, and without a commit on the package's branch: only what is there counts; "
        "1 changed path was left uncommitted"
    )
    assert judge(Facts(refused="src/x: a link that leaves the tree")).detail == "src/x: a link that leaves the tree"


def test_words_of_a_full_disk_prove_nothing_where_there_is_room(tmp_path: Path) -> None:
    rooms = Rooms((tmp_path, tmp_path / "missing"))
    rooms.hear("dd: error writing '/dev/full': No space left on device")
    assert rooms.full() is None
    # what statvfs(2) cannot know
    rooms.hear("cp: error writing 'x': Disk quota exceeded")
    found = rooms.full()
    assert found is not None
    assert found.folder == str(tmp_path)
