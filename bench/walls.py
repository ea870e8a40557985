"""What walls cost: the start of a process behind them, and the way of commits through admission."""

import subprocess
from collections.abc import Sequence
from functools import partial
from itertools import count
from pathlib import Path

from measures import Pairs, Sizes, timed
from scenes import Scene

from agentpkg.git.admission import Admitted, Request, admit
from agentpkg.git.control import open_control
from agentpkg.git.discover import discover
from agentpkg.git.identity import agent_identity
from agentpkg.git.private import enter, make_private
from agentpkg.git.repo import git_program
from agentpkg.git.worktrees import create
from agentpkg.isolation import Place, Walls, choose
from agentpkg.secrets.finder import Finder

#: commits of one admission
COMMITS = 10


def start(folder: Path, sizes: Sizes) -> Pairs:
    """A process behind the best walls of this machine, from its command line to its end."""
    scene = Scene(folder / "ours", sizes.files, 1)
    walls, place = choose(), _place(scene, folder)

    def ours() -> None:
        wrapped = walls.wrap(("/bin/true",), scene.environ, place)
        subprocess.run(wrapped.argv, env=wrapped.env, pass_fds=wrapped.keep, check=True)
        wrapped.close()

    def plain() -> None:
        subprocess.run(["/bin/true"], env=scene.environ, check=True)

    while True:
        yield partial(timed, ours), partial(timed, plain)


def _place(scene: Scene, folder: Path) -> Place:
    repo = discover(scene.repo)
    worktree, session = scene.repo / ".worktrees" / "walls", folder / "session"
    session.mkdir()
    create(repo, open_control(repo), worktree, "walls", scene.head())
    covering = choose().covers_git
    private = make_private(repo, session, worktree, "walls", scene.head(), agent_identity("bench"), covering=covering)
    return Place(str(worktree), str(private), str(repo.work_tree), str(repo.common_dir), str(session))


def admission(folder: Path, sizes: Sizes) -> Pairs:
    """Ten commits of a session through admission, its git behind walls; beside ``git fetch`` of ten commits."""
    scene = Scene(folder / "ours", sizes.files, 1)
    repo = discover(scene.repo)
    control, walls = open_control(repo), choose()
    clone = folder / "clone"
    scene.git("clone", "-q", str(scene.repo), str(clone))
    for number in count(1):
        request = _request(scene, folder, f"feat/{number}", walls)
        scene.git("checkout", "-q", "-B", "work", "origin/main", cwd=clone)
        _commit(scene, clone, f"plain{number}")

        def ours(request: Request = request) -> None:
            assert isinstance(admit(repo, control, request), Admitted)

        fetch = partial(scene.git, "fetch", "-q", str(clone), f"work:refs/heads/plain{number}")
        yield partial(timed, ours), partial(timed, fetch)


def _request(scene: Scene, folder: Path, branch: str, walls: Walls) -> Request:
    repo = discover(scene.repo)
    base, session = scene.head(), folder / branch.replace("/", "-")
    worktree = scene.repo / ".worktrees" / session.name
    session.mkdir()
    create(repo, open_control(repo), worktree, branch, base)
    private = make_private(repo, session, worktree, branch, base, agent_identity("bench"))
    enter(repo, worktree, private)
    _commit(scene, worktree, session.name)

    def enclose(reads: Sequence[Path], writes: Sequence[Path]) -> tuple[str, ...]:
        return walls.reader(git_program(), tuple(map(str, reads)), tuple(map(str, writes)))

    return Request(private, branch, base, (base,), Finder({}), enclose=enclose)


def _commit(scene: Scene, where: Path, text: str) -> None:
    for number in range(COMMITS):
        (where / f"made{number}.txt").write_text(f"{text} {number}\n" * 50)
        scene.git("add", "-A", cwd=where)
        scene.git("commit", "-q", "-m", f"feat(WP01): {number}", cwd=where)
