"""In-toto statements of merges, and what of them can be checked without agentpkg."""

import hashlib
import json

import pytest

from agentpkg.core.model import State
from agentpkg.engine import moving
from agentpkg.engine.judging import attesting
from agentpkg.engine.landing import merging
from tests.support.engine_shop import FEATURE, ShopFactory
from tests.support.repos import git


@pytest.mark.slow
def test_a_statement_names_the_commit_and_evidence_that_can_be_read_back(shops: ShopFactory) -> None:
    shop = shops(
        {"WP01": [], "WP02": []},
        packages={"WP01": {"requirement_refs": ["FR-1"], "acceptance": ["test -d src # FR-1"]}},
    )
    shop.implement("WP01")
    merging.land(shop.project, FEATURE, "WP01", "ci:automation")
    shop.implement("WP02")
    moving.move(shop.project, FEATURE, "WP02", moving.Wish(State.DONE, force=True, reason="I looked"))
    first, second = attesting.statements(shop.project, FEATURE)
    assert (first["_type"], first["predicateType"]) == (attesting.STATEMENT, attesting.PREDICATE)
    (subject,) = first["subject"]
    assert subject["name"] == f"{FEATURE}/WP01"
    commit = subject["digest"]["gitCommit"]
    assert git(shop.repo, "rev-parse", f"{commit}^{{tree}}") == subject["digest"]["gitTree"]
    said = first["predicate"]
    (wanted,) = said["requirements"]
    assert (wanted["requirement"], wanted["status"], wanted["kind"]) == ("FR-1", "pass", "acceptance")
    named = {one["digest"]["sha256"] for one in said["evidence"]}
    assert {one["digest"]["sha256"] for one in wanted["evidence"]} <= named
    for digest in named:
        data = (shop.state / "evidence" / digest[:2] / digest).read_bytes()
        assert hashlib.sha256(data).hexdigest() == digest
        assert json.loads(data)["candidate"] == commit
    done = list(shop.project.ledger.entries(FEATURE))[said["audit"]["entry"] - 1]
    assert (done.hash, done.metadata["merge_commit"]) == (said["audit"]["hash"], commit)
    assert said["review"]["verdict"] == "approved"
    assert (second["predicate"]["result"], second["predicate"]["forced"]) == ("FAILED", {"reason": "I looked"})
    assert [s["subject"] for s in attesting.statements(shop.project, FEATURE, "WP02")] == [second["subject"]]
    (shop.state / "evidence" / digest[:2] / digest).write_bytes(b"{}")
    again = next(attesting.statements(shop.project, FEATURE))["predicate"]["evidence"]
    assert [one["digest"]["sha256"] for one in again if one.get("missing")] == [digest]
