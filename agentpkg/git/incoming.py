"""The quarantine through which objects enter the repository: a folder beside its own objects, renamed in at the end.

Objects arrive as a pack that ``index-pack --strict`` re-hashes and checks (fsck), so the names of what arrives are
facts, whatever the source is. Until :meth:`Incoming.accept` nothing of it is part of the repository; the folder's name
(``tmp_objdir-…``) makes git's own ``prune`` remove what a crash left behind.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from agentpkg.files import sync_folder, temporary_folder
from agentpkg.git.repo import TIMEOUT, Git, failure

#: what git may not believe of a source that somebody else wrote
_DISTRUST = (
    "core.commitGraph=false",
    "core.multiPackIndex=false",
    "pack.useBitmaps=false",
    "repack.writeBitmaps=false",
)

#: the order in which the files of a pack may appear: the index last, since it makes the rest visible
_ORDER = (".rev", ".pack", ".idx")


@dataclass(frozen=True, slots=True)
class Incoming:
    """A folder of new objects over the repository's.

    Attributes:
        git: reads both, with the control dir's configuration; writes to the folder.
        objects: the repository's object folder.
    """

    git: Git
    folder: Path
    objects: Path

    def receive(
        self, source: Git, new: str, excluded: Sequence[str], *, max_bytes: int, timeout: float = TIMEOUT
    ) -> None:
        """Takes what ``new`` reaches and ``excluded`` do not, out of ``source``.

        Args:
            source: where the objects are read; nothing of it is believed.
            max_bytes: the most bytes of the pack, compressed.
            timeout: seconds for all of it.

        Raises:
            GitFailed: an object is corrupt, missing or malformed, or a limit is reached.
        """
        revisions = "".join(f"{sha}\n" for sha in (new, *(f"^{sha}" for sha in excluded))).encode()
        pack = ("pack-objects", "--revs", "--stdout", "-q", "--delta-base-offset")
        index = ("index-pack", "--stdin", "--strict", "--fix-thin", f"--max-input-size={max_bytes}")
        source = source.but(config=(*source.config, *_DISTRUST))
        with (
            tempfile.TemporaryFile(dir=temporary_folder()) as said,
            source.process(*pack, timeout=timeout, stderr=said) as sender,
        ):
            assert sender.stdin is not None
            with self.git.process(*index, timeout=timeout, stdin=sender.stdout, stderr=said) as receiver:
                _give(sender.stdin, revisions)
                receiver.wait()
                sender.wait() if receiver.returncode == 0 else sender.kill()
            if sender.wait() or receiver.returncode:
                raise failure(index, receiver.returncode or sender.returncode, _all_of(said), self.folder)

    def accept(self) -> None:
        """Moves the objects into the repository, fsynced, visible only when complete."""
        arrived = self.folder / "pack"
        target = self.objects / "pack"
        target.mkdir(exist_ok=True)
        for ending in _ORDER:
            for name in sorted(n for n in os.listdir(arrived) if n.endswith(ending)):
                os.replace(arrived / name, target / name)
        sync_folder(target)


@contextmanager
def incoming(control: Git, objects: Path) -> Iterator[Incoming]:
    """A quarantine for the block; removed at its end with whatever was not accepted.

    Args:
        control: git on the control dir.
        objects: the repository's object folder.
    """
    folder = Path(tempfile.mkdtemp(prefix="tmp_objdir-agentpkg-", dir=objects))
    try:
        (folder / "pack").mkdir()
        # the control dir's own objects are candidates that nobody accepted: they do not count as being there
        yield Incoming(control.but(objects=folder, alternates=(objects,)), folder, objects)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _give(pipe: IO[bytes], data: bytes) -> None:
    try:
        pipe.write(data)
        pipe.close()
    except BrokenPipeError:
        pass


def _all_of(said: IO[bytes]) -> bytes:
    said.seek(0)
    return said.read(1 << 16)
