"""Evidence of checks, kept by content: what an audit entry names can always be read back and compared."""

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agentpkg import files
from agentpkg.checks.base import canonical

_ID = re.compile(r"sha256:([0-9a-f]{64})")


class EvidenceStore:
    """Files below one folder, ``<aa>/<sha256>``, written once and never changed."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def put(self, data: bytes) -> str:
        """Stores bytes, on the disk before it returns, and gives their id ``sha256:…``."""
        digest = hashlib.sha256(data).hexdigest()
        path = self._path(digest)
        if not path.exists():
            # not the folders above: a repository that was moved away gets no stray ones in its place
            self.root.mkdir(exist_ok=True, mode=0o700)
            path.parent.mkdir(exist_ok=True, mode=0o700)
            files.write_atomic(path, data, 0o600, sync=True)
        return f"sha256:{digest}"

    def put_json(self, value: Mapping[str, Any]) -> str:
        """Stores a JSON document in canonical form and gives its id."""
        return self.put(canonical(value))

    def get(self, evidence: str) -> bytes | None:
        """The bytes of an id, or None when there are none or they are no longer those the id names."""
        match = _ID.fullmatch(evidence)
        if not match:
            return None
        try:
            data = self._path(match[1]).read_bytes()
        except FileNotFoundError:
            return None
        return data if hashlib.sha256(data).hexdigest() == match[1] else None

    def _path(self, digest: str) -> Path:
        return self.root / digest[:2] / digest
