"""The merge queue's order, and who is judged together."""

from agentpkg.core.graph import Length
from agentpkg.core.queue import Link, batches, order, passing
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


def test_a_slow_package_is_passed_by_those_that_neither_depend_on_it_nor_touch_what_it_does() -> None:
    waiting = [Candidate(f"WP0{n}") for n in range(1, 6)]
    needs = {"WP01": [], "WP02": ["WP01"], "WP03": ["WP09"], "WP09": ["WP01"], "WP04": [], "WP05": []}
    paths = {"WP01": {"a", "b"}, "WP02": {"c"}, "WP03": {"d"}, "WP04": {"b"}, "WP05": {"e"}}
    others = passing("WP01", paths, needs, paths)
    assert others == {"WP05"}
    assert [(one.wp, one.reason) for one in order(waiting, needs, (), {"WP01": others})] == [
        ("WP04", "by its name"), ("WP05", "by its name"), ("WP01", "its checks take long: WP05 passes it"),
        ("WP02", "depends on WP01"), ("WP03", "depends on WP01"),
    ]  # fmt: skip
    # those that have landed are passed by nobody
    assert [one.wp for one in order(waiting[:2], needs, (), {"WP01": others})] == ["WP01", "WP02"]


def cut(stack: str, size: int, red: str = "", alone: str = "") -> str:
    """The batches of packages called by one letter, whose candidates are called the same."""
    links = [Link(wp, None if wp == "-" else wp, wp in alone) for wp in stack]
    return " ".join("".join(link.wp for link in batch) for batch in batches(links, size, red))


def test_batches_are_full_but_for_who_goes_alone_and_one_that_failed_is_halved() -> None:
    assert cut("abcdefghij", 4) == "abcd efgh ij"
    assert cut("abc", 1) == "a b c"
    assert cut("abcdefg", 4, alone="c") == "ab c defg"
    assert cut("ab-cd", 4) == "ab - cd"
    # nothing is built on what has failed until it is known whose fault it is
    assert cut("abcdefghij", 4, red="d") == "ab"
    assert cut("abcdefghij", 4, red="db") == "a"
    assert cut("abcdefghij", 4, red="h") == "abcd ef"
    # left over: nothing before it failed
    assert cut("defgh", 4, red="d") == "d efgh"
    assert cut("", 4) == ""


def bisected(count: int, size: int, bad: str) -> tuple[str, int]:
    """What lands of packages of which some fail, and how often something was run, one batch after another."""
    stack, red, landed, runs = [chr(97 + n) for n in range(count)], set[str](), "", 0
    while stack:
        first = batches([Link(wp, landed + "".join(stack[: n + 1])) for n, wp in enumerate(stack)], size, red)[0]
        runs += 1
        if not set(bad) & {link.wp for link in first}:
            landed += "".join(link.wp for link in first)
            stack = stack[len(first) :]
        elif len(first) == 1:
            stack = stack[1:]
        else:
            red.add(first[-1].commit or "")
    return landed, runs


def test_whoever_fails_is_found_in_as_many_runs_as_a_batch_can_be_halved() -> None:
    for bad in "abcdefgh":
        landed, runs = bisected(8, 8, bad)
        assert landed == "abcdefgh".replace(bad, "")
        # the whole, its halves, the one that is left, and all that stood behind it
        assert runs <= 1 + 3 + 1 + 1
    assert bisected(16, 8, "") == ("abcdefghijklmnop", 2)
    assert bisected(8, 8, "abcdefgh")[0] == ""
