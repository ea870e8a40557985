"""Checks of a review run behind the same walls: what code under test can reach, and how its copy is prepared."""

import contextlib
import json
import os
import socket
import threading
import venv
from pathlib import Path

import pytest

from agentpkg.core.errors import Lacking
from agentpkg.core.records import CheckResult, ReviewRow
from agentpkg.engine.judging import review
from agentpkg.isolation import probe_all
from tests.isolation.support import require
from tests.support.engine_shop import FEATURE, Shop, ShopFactory
from tests.support.repos import commit

LEVELS = [name for name in ("strong", "medium", "basic") if probe_all()[name].works]

#: prints a word for each thing that a check must not reach
SNOOP = """\
head -c 1 $home/.ssh/id >/dev/null 2>&1 && echo REACHED key
head -c 1 $repo/.git/agentpkg/ledger.db >/dev/null 2>&1 && echo REACHED ledger
head -c 1 $repo/README.md >/dev/null 2>&1 && echo REACHED checkout
( echo x > $repo/planted ) 2>/dev/null
kill -0 $pid 2>/dev/null && echo REACHED process
bash -c 'echo > /dev/tcp/127.0.0.1/'$port 2>/dev/null && echo REACHED network
git log -1 --format=%s && touch made-here && echo fine; [ -s src/wp01.txt ]
"""


def judged(shop: Shop) -> ReviewRow:
    shop.implement("WP01")
    return review.review(shop.project, FEATURE, "WP01").review


def named(found: ReviewRow, name: str) -> CheckResult:
    (one,) = [check for check in found.checks if check.name == name]
    return one


def evidence(shop: Shop, check: CheckResult) -> dict[str, object]:
    assert check.evidence is not None
    digest = check.evidence.removeprefix("sha256:")
    return json.loads((shop.state / "evidence" / digest[:2] / digest).read_bytes())  # type: ignore[no-any-return]


def with_review(shops: ShopFactory, level: str, setup: list[str], *runs: str, more: str = "") -> Shop:
    """A shop with these checks, in this order."""
    checks = ", ".join(json.dumps({"name": f"check{i}", "run": run}) for i, run in enumerate(runs, 1))
    shop = shops(level=level, checks=checks, more=more)
    config = shop.repo / ".kittify" / "config.yaml"
    config.write_text(config.read_text().replace("review:\n", f"review:\n  setup: {json.dumps(setup)}\n"))
    return shop


@pytest.mark.slow
@pytest.mark.parametrize("level", LEVELS)
def test_a_check_reaches_nothing_but_its_copy(shops: ShopFactory, still_world: Path, level: str) -> None:
    (still_world / ".ssh").mkdir()
    (still_world / ".ssh" / "id").write_text("key")
    with socket.create_server(("127.0.0.1", 0)) as server:
        shop = with_review(shops, level, [], "SNOOP")
        names = {"home": still_world, "repo": shop.repo, "pid": os.getpid(), "port": server.getsockname()[1]}
        head = "".join(f"{name}='{value}'\n" for name, value in names.items())
        config = shop.repo / ".kittify" / "config.yaml"
        config.write_text(config.read_text().replace('"SNOOP"', json.dumps(head + SNOOP)))
        found = judged(shop)
    check = named(found, "check1")
    data = evidence(shop, check)["data"]
    assert isinstance(data, dict)
    reached = {line.split()[1] for line in str(data["output"]).splitlines() if line.startswith("REACHED")}
    assert check.status == "pass", data
    assert "fine" in str(data["output"])
    baseline = {"key", "ledger", "checkout", "process", "network"}
    assert reached == (baseline if level == "basic" else set())
    assert (shop.repo / "planted").exists() == (level == "basic")
    assert named(found, "isolation").detail == f"made at level {level}, checked at {level}"
    assert evidence(shop, check)["isolation"] == level
    assert not list(Path(os.environ["TMPDIR"]).glob("agentpkg-check-*"))


@pytest.mark.slow
@pytest.mark.parametrize("level", LEVELS)
def test_what_setup_makes_is_in_every_copy_at_the_same_path(shops: ShopFactory, level: str, tmp_path: Path) -> None:
    script = "echo once >> made.log; pwd > where; echo '#!'$(pwd)/interpreter > script; ln -s $(pwd)/made.log link"
    looks = '[ "$(cat made.log)" = once ] && [ "$(cat where)" = "$(pwd)" ] && cat link && echo spoilt > made.log'
    shop = with_review(shops, level, [script, "echo more > more"], looks, f"[ -e more ] && {looks}")
    found = judged(shop)
    assert [check.status for check in found.checks if check.name.startswith("check")] == ["pass", "pass"], found.checks


@pytest.mark.slow
@pytest.mark.parametrize("level", LEVELS)
def test_a_setup_that_fails_for_the_candidate_alone_is_its_fault(shops: ShopFactory, level: str) -> None:
    shop = with_review(shops, level, ["[ ! -e src/wp01.txt ] || { echo broken; exit 3; }"], "true")
    check = named(judged(shop), "check1")
    assert check.status == "fail"
    assert check.detail.endswith("ended with 3: broken, but not on the target")


@pytest.mark.slow
@pytest.mark.parametrize("level", LEVELS)
def test_a_setup_that_fails_anywhere_gives_no_verdict(shops: ShopFactory, level: str) -> None:
    shop = with_review(shops, level, ["echo no index; exit 2"], "true")
    with pytest.raises(Lacking, match=r"ended with 2: no index, on the target too") as caught:
        judged(shop)
    assert "isolation.network.allow" in caught.value.hint


def greet(server: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while True:
            connection, _ = server.accept()
            with connection:
                connection.sendall(b"hello\n")


@pytest.mark.slow
def test_setup_may_have_a_network_that_checks_have_not(shops: ShopFactory) -> None:
    require("strong")
    with socket.create_server(("127.0.0.2", 0)) as server, socket.create_server(("127.0.0.1", 0)) as near:
        far, port = server.getsockname()[1], near.getsockname()[1]
        server.settimeout(20)
        allow = json.dumps([f"127.0.0.2:{far}", f"tcp:127.0.0.1:{port}"])
        request = f"printf 'CONNECT 127.0.0.2:{far} HTTP/1.1\\r\\n\\r\\n' >&3; head -n 1 <&3"
        ask = f'bash -c "exec 3<>/dev/tcp/127.0.0.1/3128; {request}"'
        # not over before somebody has answered: what never got through is no decision
        local = f"bash -c 'exec 3<>/dev/tcp/127.0.0.1/{port}; head -n 1 <&3 | grep hello'"
        threading.Thread(target=greet, args=(near,), daemon=True).start()
        shop = with_review(shops, "strong", [f"{ask} | grep -q ' 200 '", local], local, f"{ask} | grep -q ' 403 '")
        config = shop.repo / ".kittify" / "config.yaml"
        config.write_text(config.read_text().replace("isolation: {", f"isolation: {{network: {{allow: {allow}}}, "))
        found = judged(shop)
    assert [check.status for check in found.checks if check.name.startswith("check")] == ["pass", "pass"], found.checks
    [told] = [check for check in found.checks if check.name == "network"]
    lines = [f"allowed 127.0.0.2:{far}", f"allowed tcp:127.0.0.1:{port}", f"refused 127.0.0.2:{far}"]
    assert (told.status, told.detail) == ("warn", ", ".join(lines))


@pytest.mark.slow
@pytest.mark.parametrize("level", LEVELS)
def test_an_editable_install_of_the_users_tree_is_no_verdict(shops: ShopFactory, level: str, tmp_path: Path) -> None:
    environment = tmp_path / "env"
    venv.EnvBuilder(with_pip=False, symlinks=True).create(environment)
    shop = with_review(shops, level, [], f"{environment}/bin/python -c 'import auth'")
    commit(shop.repo, {"src/auth/__init__.py": "", "src/wp.txt": ""}, "a package")
    (next(environment.glob("lib/python*/site-packages")) / "auth.pth").write_text(f"{shop.repo}/src\n")
    config = shop.repo / ".kittify" / "config.yaml"
    config.write_text(config.read_text().replace(
        'mounts: ["', f'mounts: ["{environment}", "'))  # fmt: skip
    with pytest.raises(Lacking, match="imports auth from"):
        judged(shop)
