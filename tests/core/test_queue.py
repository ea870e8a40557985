"""The merge queue's order."""

from agentpkg.core.graph import Length
from agentpkg.core.queue import order
from agentpkg.core.schedule import Candidate


def placed(
    *waiting: Candidate, needs: dict[str, list[str]] | None = None, under_way: str = ""
) -> list[tuple[str, str]]:
    found = order(waiting, needs or {}, set(under_way.split()))
    assert found == order(waiting[::-1], needs or {}, set(under_way.split()))
    return [(one.wp, one.reason) for one in found]


def test_dependencies_come_first_then_priority_then_what_is_under_way_then_what_most_waits_for() -> None:
    assert placed(
        Candidate("WP01", 9), Candidate("WP02"), Candidate("WP03", 5), Candidate("WP04", 0, Length(0, 3)),
        Candidate("WP05"), Candidate("WP06", 5),
        needs={"WP01": ["WP09"], "WP09": ["WP02"], "WP02": []}, under_way="WP05",
    ) == [
        ("WP03", "priority 5"), ("WP06", "priority 5"), ("WP05", "its checks run already"),
        ("WP04", "2 packages wait for it"), ("WP02", "by its name"), ("WP01", "depends on WP02; priority 9"),
    ]  # fmt: skip
    assert placed() == []
