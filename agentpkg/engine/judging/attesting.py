"""What stood behind each merge, as in-toto statements: the commit, what judged it, and each requirement's evidence.

A statement is of the predicate type *test result*; what that type does not name (requirements, review, audit entry) are
fields of its own, which consumers of the type leave alone. Everything in it is read back from the audit chain and the
evidence that it names; nothing is signed here (the chain is: ``events sign``).
"""

from collections.abc import Iterator, Mapping
from typing import Any

from agentpkg.checks import reuse
from agentpkg.checks.base import SPECIFICATION
from agentpkg.checks.evidence import EvidenceStore
from agentpkg.checks.requirements import naming
from agentpkg.core.records import Entry
from agentpkg.engine.judging import frozen
from agentpkg.engine.project import Project

STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "https://in-toto.io/attestation/test-result/v0.1"

Json = dict[str, Any]


def statements(project: Project, feature: str, wp: str | None = None) -> Iterator[Json]:
    """A statement for each merge of a feature, oldest first.

    Args:
        wp: only of this package.
    """
    ledger = project.ledger_if_any
    reviews: dict[str, Entry] = {}
    answers: dict[str, list[Entry]] = {}
    for entry in ledger.entries(feature) if ledger else ():
        said = entry.metadata
        if said.get("kind") == "review" and said.get("candidate"):
            reviews[str(said["candidate"])] = entry
        elif said.get("kind") in ("approval", "denial"):
            answers.setdefault(str(said.get("candidate")), []).append(entry)
        elif entry.transition.endswith("->done") and said.get("merge_commit") and wp in (None, entry.wp_id):
            commit = str(said["merge_commit"])
            yield _statement(frozen.store(project), entry, reviews.get(commit), answers.get(commit, []))


def _statement(store: EvidenceStore, done: Entry, review: Entry | None, answers: list[Entry]) -> Json:
    said = done.metadata
    tree = {"gitTree": said["tree"]} if said.get("tree") else {}
    return {
        "_type": STATEMENT,
        "subject": [{
            "name": f"{done.feature_id}/{done.wp_id}", "digest": {"gitCommit": said["merge_commit"], **tree},
        }],
        "predicateType": PREDICATE,
        "predicate": _predicate(store, done, review, answers),
    }  # fmt: skip


def _predicate(store: EvidenceStore, done: Entry, review: Entry | None, answers: list[Entry]) -> Json:
    checks = list(review.metadata.get("checks", ())) if review else []
    documents = {str(c["evidence"]): reuse.read(store, c["evidence"]) for c in checks if c.get("evidence")}
    by = {status: [_name(c) for c in checks if c["status"] == status] for status in ("pass", "warn", "fail")}
    forced = bool(done.metadata.get("forced"))
    result = "FAILED" if review is None or by["fail"] else "WARNED" if by["warn"] or forced else "PASSED"
    definitions = review.metadata.get("definitions") if review else None
    return {
        "result": result,
        "configuration": [{"name": "definitions", "digest": {"sha256": definitions}}] if definitions else [],
        "passedTests": by["pass"], "warnedTests": by["warn"], "failedTests": by["fail"],
        "requirements": list(_requirements(done, checks, documents, answers)),
        "evidence": [_descriptor(c, documents) for c in checks if c.get("evidence")],
        "review": _review(review, documents), "forced": {"reason": done.metadata.get("reason")} if forced else None,
        "landing": {
            "by": done.actor, "base": done.metadata.get("base"), "head": done.metadata.get("head"),
            "strategy": done.metadata.get("strategy"), "approvals": list(done.metadata.get("approvals", ())),
            "time": done.timestamp,
        },
        "audit": {"feature": done.feature_id, "entry": done.id, "hash": done.hash},
    }  # fmt: skip


def _name(check: Mapping[str, Any]) -> str:
    return f"{check['group']}/{check['name']}"


def _descriptor(check: Mapping[str, Any], documents: Mapping[str, Json]) -> Json:
    """Evidence as an in-toto resource; ``missing`` where its file is gone or is not what its name says."""
    evidence = str(check["evidence"])
    found = {} if documents.get(evidence) else {"missing": True}
    return {"name": _name(check), "digest": {"sha256": evidence.removeprefix("sha256:")}, **found}


def _review(review: Entry | None, documents: Mapping[str, Json]) -> Json | None:
    if review is None:
        return None
    first: Json = next((document for document in documents.values() if document), {})
    return {
        "reviewer": first.get("reviewer"), "isolation": first.get("isolation"), "verdict": review.metadata["verdict"],
        "cycle": review.metadata["cycle"], "entry": review.id, "hash": review.hash,
    }  # fmt: skip


def _requirements(
    done: Entry, checks: list[Mapping[str, Any]], documents: Mapping[str, Json], answers: list[Entry]
) -> Iterator[Json]:
    """Each requirement with its tests, its evidence, and people's words that name it."""
    for check in checks:
        data = documents.get(str(check.get("evidence")), {}).get("data") or {}
        if check["group"] != SPECIFICATION or data.get("requirement") != check["name"]:
            continue
        ref = str(check["name"])
        ids = [str(one["evidence_id"]) for one in done.evidence_refs if one["fr_id"] == ref]
        words = [
            {"by": a.metadata.get("by"), "reason": a.metadata.get("reason"), "hash": a.hash}
            for a in answers
            if a.metadata.get("kind") == "approval" and naming(ref).search(str(a.metadata.get("reason") or ""))
        ]
        kind = data.get("kind") or ("attestation" if words else None)
        yield {
            "requirement": ref, "status": check["status"], "kind": kind,
            "tests": data.get("tests", []), "attestations": words,
            "evidence": [{"digest": {"sha256": one.removeprefix("sha256:")}} for one in ids],
        }  # fmt: skip
