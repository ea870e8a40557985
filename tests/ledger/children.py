"""What child processes of the tests do with a ledger; each act says what it has done, a line a time."""

import os
import resource
import sys
from pathlib import Path

from agentpkg.core.errors import AgentpkgError, Busy
from agentpkg.core.records import SessionRow
from agentpkg.ledger.ledger import Ledger


def say(text: object) -> None:
    print(text, flush=True)


def append(path: str, feature: str, who: str, count: str) -> None:
    """Appends so many entries, each with an event, in a transaction of its own; says each hash when it is committed."""
    with Ledger.open(Path(path)) as ledger:
        for number in range(int(count)):
            with ledger.write() as tx:
                entry = tx.append(feature, "WP01", "doing", "doing", f"agent:{who}", {"number": number})
                tx.emit(f"feature.{feature}.wp.WP01.state.changed", {"number": number}, entry=entry)
            say(entry.hash)


def lease(path: str, feature: str, who: str) -> None:
    """Tries to become the one live session of WP01."""
    with Ledger.open(Path(path)) as ledger:
        try:
            with ledger.write() as tx:
                epoch = len(tx.sessions(feature, "WP01")) + 1
                tx.put_session(SessionRow(f"sess_{who}", feature, "WP01", "a", "replay", epoch, "now"))
            say("won")
        except Busy as busy:
            say(busy.details["session"])


def fork(path: str, feature: str) -> None:
    """Uses one ledger on both sides of a fork."""
    with Ledger.open(Path(path)) as ledger:
        for _ in range(3):
            child = os.fork()
            with ledger.write() as tx:
                tx.append(feature, "WP01", "doing", "doing", "system:child" if child == 0 else "system:parent", {})
            if child == 0:
                os._exit(0)
            os.waitpid(child, 0)


def fill_disk(path: str, feature: str, room: str) -> None:
    """Appends until files may not grow any more, says how that was told, then goes on with more room."""
    with Ledger.open(Path(path)) as ledger:
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(room), resource.RLIM_INFINITY))
        committed = 0
        try:
            for number in range(100_000):
                with ledger.write() as tx:
                    entry = tx.append(feature, "WP01", "doing", "doing", "agent:a", {"text": "x" * 500, "n": number})
                    tx.emit(f"feature.{feature}.wp.WP01.state.changed", {}, entry=entry)
                committed += 1
        except AgentpkgError as error:
            say(f"{error.exit_code} {error.code}")
        say(committed)
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        with ledger.write() as tx:
            tx.append(feature, "WP01", "doing", "blocked", "system:recovery", {})
        say(ledger.head(feature)[0])


if __name__ == "__main__":
    say("ready")
    sys.stdin.readline()
    {"append": append, "lease": lease, "fork": fork, "fill_disk": fill_disk}[sys.argv[1]](*sys.argv[2:])
