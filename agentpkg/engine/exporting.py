"""What other tools read of a feature: ``progress.json`` and ``features.json``, written whole or not at all."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agentpkg import views
from agentpkg.core.errors import BadInput, NotAllowed
from agentpkg.engine import looking
from agentpkg.engine.project import Project
from agentpkg.files import read_bounded, write_atomic

#: how a file says that it was written here, and may be written again
MADE_BY = "agentpkg export"
_LIMIT = 64 << 20

_NAMES = ("progress.json", "features.json")


def export(project: Project, name: str, folder: Path, force: bool = False) -> list[Path]:
    """Writes both files into a folder, which is made.

    Args:
        force: also over files that were not written here.

    Raises:
        NotAllowed: a file of somebody else's is in the way; nothing was written.
    """
    document = views.status(looking.see(project, project.good_feature(name)))
    texts = (_progress(document), _features(document))
    paths = [folder / name for name in _NAMES]
    foreign = [path for path in paths if not force and not _ours(path)]
    if foreign:
        raise NotAllowed(
            f"{foreign[0]} is there, and agentpkg did not write it",
            "name another folder with --dir, or write over it with --force",
            code="in_the_way", details={"paths": [str(path) for path in foreign]},
        )  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    for path, text in zip(paths, texts, strict=True):
        write_atomic(path, text, mode=0o644)
    return paths


def _progress(document: Mapping[str, Any]) -> str:
    """Where the feature and each of its stages stand."""
    words = {"done": "complete", "active": "in_progress", "ready": "pending", "waiting": "pending", "failed": "failed"}
    last = document["done_check"]
    shown = {
        "made_by": MADE_BY, "feature": document["feature"], "progress": document["progress"],
        "stages": {stage["name"]: words[stage["state"]] for stage in document["stages"]},
        "tags": {stage["name"]: stage["tag"] for stage in document["stages"] if stage["tag"]},
        "done_check": words[last["state"]] if last else None,
        "current": [wp["id"] for wp in document["work_packages"] if wp["state"] == "doing"],
        "next": [wp["id"] for wp in document["work_packages"] if wp["ready"]],
    }  # fmt: skip
    return json.dumps(shown, indent=2, ensure_ascii=False) + "\n"


def _features(document: Mapping[str, Any]) -> str:
    """Every work package on a line of its own, so that ``wc -l`` and ``grep`` are of use."""
    lines = [
        json.dumps(
            {
                "id": wp["id"], "title": wp["title"], "stage": wp["stage"], "state": wp["state"],
                "implemented": wp["state"] == "done", "commit": wp["merge_commit"], "made_by": MADE_BY,
            },
            ensure_ascii=False,
        )
        for wp in document["work_packages"]
    ]  # fmt: skip
    return "[\n" + ",\n".join(lines) + ("\n]\n" if lines else "]\n")


def _ours(path: Path) -> bool:
    try:
        return MADE_BY.encode() in read_bounded(path, _LIMIT)
    except FileNotFoundError:
        return True
    except (OSError, BadInput):
        return False
