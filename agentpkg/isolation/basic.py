"""Level ``basic``: no walls. Damage is detected afterwards, not prevented.

What keeps an honest agent apart is its private git dir, what finds a dishonest one is admission, the comparison of the
repository before and after, and the sweep of its processes. Never called a sandbox.
"""

from collections.abc import Mapping

from agentpkg.isolation.base import Place, Probe, Room, Wrapped


class Basic:
    """Runs the command as it is."""

    name = "basic"
    covers_git = False
    cuts_network = False
    moves = False
    network_over = ""

    def stamp(self) -> str:
        """It never changes."""
        return ""

    def probe(self) -> Probe:
        """It works everywhere."""
        return Probe(True, "basic: damage by an agent is detected afterwards, not prevented")

    def wrap(self, argv: tuple[str, ...], env: Mapping[str, str], place: Place, facts: Mapping[str, str]) -> Wrapped:
        """Arguments and environment unchanged: the worktree's own ``.git`` file names the private git dir."""
        return Wrapped(argv, dict(env))

    def wrap_room(self, argv: tuple[str, ...], env: Mapping[str, str], room: Room, facts: Mapping[str, str]) -> Wrapped:
        """Arguments and environment unchanged."""
        return Wrapped(argv, dict(env))

    def reader(
        self, program: str, reads: tuple[str, ...], writes: tuple[str, ...], facts: Mapping[str, str]
    ) -> tuple[str, ...]:
        """Nothing."""
        return ()
