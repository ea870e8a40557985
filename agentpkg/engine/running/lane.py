"""The landing lane of a run: one thread that judges and lands packages, each on the target that the last one made."""

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self

from agentpkg.core.errors import AgentpkgError, Interrupted


class Lane:
    """The packages in the lane.

    Args:
        wake: called when a job has ended.
    """

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._pool = ThreadPoolExecutor(1, "landing")
        self._jobs: dict[str, Future[None]] = {}
        self._stopped = threading.Event()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self.stop()
        self._pool.shutdown()

    def __contains__(self, wp: object) -> bool:
        return wp in self._jobs

    def __bool__(self) -> bool:
        return bool(self._jobs)

    def stopped(self) -> bool:
        """:meth:`stop` was called; jobs ask this while they work."""
        return self._stopped.is_set()

    def stop(self) -> None:
        """Drops what waits, and has what works stop where nothing is lost."""
        self._stopped.set()
        for job in self._jobs.values():
            job.cancel()

    def submit(self, job: Callable[[], None], *wps: str) -> None:
        """Puts a package, or several that have one job, at the end of the lane."""
        future = self._pool.submit(job)
        self._jobs.update(dict.fromkeys(wps, future))
        future.add_done_callback(lambda _: self._wake())

    def collect(self) -> list[tuple[str, AgentpkgError | OSError | None]]:
        """What ended since the last call: packages with what was refused, or None where a job did its work.

        An error of the system's is given too: it may be a full disk, which is nobody's fault.

        Raises:
            BaseException: what nobody planned for, as the job raised it.
        """
        ended = [(wp, job) for wp, job in self._jobs.items() if job.done()]
        for wp, _ in ended:
            del self._jobs[wp]
        return [(wp, _error(job)) for wp, job in ended]


def _error(job: "Future[None]") -> AgentpkgError | OSError | None:
    if job.cancelled():
        return Interrupted("the run was stopped")
    try:
        job.result()
    except (AgentpkgError, OSError) as error:
        return error
    return None
