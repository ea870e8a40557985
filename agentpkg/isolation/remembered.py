"""What was found to work on this machine, kept until it may be otherwise: another boot, user, kernel or program.

What does not work is looked at anew each time, so that a fix counts at once.
"""

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from agentpkg.core.errors import BadInput
from agentpkg.files import read_bounded, write_atomic
from agentpkg.isolation.base import Isolation, Probe
from agentpkg.proc import tree

_LIMIT = 1 << 20

#: changes whenever a probe of this version looks at something else
_RULES = 2


def remembered(memory: Path | None, levels: Mapping[str, Isolation]) -> dict[str, Probe]:
    """The levels' probes, from ``memory`` where that still holds; what had to be looked at is kept there."""
    stamps = {name: _stamp(level) for name, level in levels.items()}
    known = _read(memory) if memory is not None else {}
    found: dict[str, Probe] = {}
    for name, level in levels.items():
        kept = known.get(name)
        found[name] = kept[1] if kept is not None and kept[0] == stamps[name] else level.probe()
    working = {name: (stamps[name], probe) for name, probe in found.items() if probe.works}
    if memory is not None and working != known:
        document = {name: {"stamp": stamp, **asdict(probe)} for name, (stamp, probe) in working.items()}
        # a folder that cannot be written costs a look each time, nothing else
        with suppress(OSError):
            write_atomic(memory, json.dumps(document, indent=1))
    return found


def _stamp(level: Isolation) -> str:
    return f"{_RULES} {tree.here()} {os.geteuid()} {os.uname().release} {level.stamp()}"


def _read(memory: Path) -> dict[str, tuple[str, Probe]]:
    try:
        values: dict[str, Any] = json.loads(read_bounded(memory, _LIMIT))
        return {
            name: (one["stamp"], Probe(one["works"], one["detail"], one["fix"], one["facts"]))
            for name, one in values.items()
        }
    except (OSError, BadInput, ValueError, KeyError, TypeError, AttributeError):
        return {}
