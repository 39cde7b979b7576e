"""What is remembered, and how long."""

from __future__ import annotations

from dataclasses import replace

import pytest

from operators.attestation.memory import SECONDS, FactMemory
from operators.attestation.policy import Authority, Evidence, Question
from operators.attestation.signatures import Statement, VerificationKey, Verified

KEY = ("ClusterAttestationAuthority", "", "qa")
QUESTION = Question(KEY, "sha256:" + "a" * 64)
AUTHORITY = Authority(
    key=KEY, note="n", server="s", keys=(VerificationKey(id="k", type="PGP", public_key=b"x"),)
)  # fmt: skip
FOUND = Evidence((Verified(Statement(QUESTION.digest, None, "digest"), "k", "f"),))


@pytest.fixture
def memory():
    memory = FactMemory()
    memory.remember({QUESTION: FOUND}, {KEY: AUTHORITY}, 10.0)
    return memory


def test_a_fact_is_known_for_a_second_from_when_it_was_asked_for(memory):
    assert memory.recall([QUESTION], {KEY: AUTHORITY}, 10.0 + SECONDS - 0.001) == {QUESTION: FOUND}
    assert memory.recall([QUESTION], {KEY: AUTHORITY}, 10.0 + SECONDS) == {}


def test_a_changed_authority_is_another_question(memory):
    revoked = replace(AUTHORITY, keys=(replace(AUTHORITY.keys[0], public_key=b"y"),))
    for changed in (revoked, replace(AUTHORITY, note="other"), replace(AUTHORITY, identity="Exact")):
        assert memory.recall([QUESTION], {KEY: changed}, 10.1) == {}


@pytest.mark.parametrize("evidence", [Evidence(), Evidence(rejection="no"), replace(FOUND, unavailable="down")])
def test_what_was_not_found_is_not_remembered(evidence):
    memory = FactMemory()
    memory.remember({QUESTION: evidence}, {KEY: AUTHORITY}, 10.0)
    assert memory.recall([QUESTION], {KEY: AUTHORITY}, 10.0) == {}


def test_memory_is_bounded():
    memory = FactMemory()
    for number in range(10_001):
        memory.remember({Question(KEY, str(number)): FOUND}, {KEY: AUTHORITY}, 10.0)
    kept = memory.recall([Question(KEY, "0"), Question(KEY, "10000")], {KEY: AUTHORITY}, 10.0)
    assert list(kept) == [Question(KEY, "10000")]
