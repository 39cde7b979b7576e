"""A PetSet creates and deletes the pods and claims that a StatefulSet does, in the same order.

On the real control plane each script is executed by a StatefulSet too, which must leave the record in
`statefulset.json`; RECORD_STATEFUL_SETS=1 writes that file. A PetSet must leave the same record on each control plane,
except in scripts that name an improvement.
"""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

import pytest
from scenarios.petset.pairs import Recorder, Side
from scenarios.petset.scripts import IMPROVEMENTS, SCRIPTS, TOPICS

from operatorkit.testing.running import install_crds, remove_finalizers, running
from operators.petset import PetSet, app

RECORDS = Path(__file__).with_name("statefulset.json")
_AT_ONCE = 5
RECORDING = "RECORD_STATEFUL_SETS" in os.environ

pytestmark = pytest.mark.slow


def recorded():
    return json.loads(RECORDS.read_text()) if RECORDS.exists() else {}


def wanted(script, theirs):
    """Return the record that a PetSet leaves: that of a StatefulSet, except for the steps with an improvement."""
    steps = script.steps_from_creation
    return [lines if step.own is None else list(step.own) for step, lines in zip(steps, theirs, strict=True)]


@pytest.mark.parametrize("topic", TOPICS)
async def test_a_pet_set_does_what_a_stateful_set_does(cluster, nodes, is_real, topic):
    await install_crds(cluster, [PetSet])
    scripts = TOPICS[topic]
    async with Recorder(cluster) as recorder, running(app, cluster, namespace=cluster.namespace):
        pets, theirs = await asyncio.gather(
            _run_all(cluster, recorder, "PetSet", scripts),
            _run_all(cluster, recorder, "StatefulSet", scripts if is_real else {}),
        )
    await remove_finalizers(app, cluster, cluster.namespace)
    if RECORDING and is_real:
        new = {f"{topic}: {name}": record for name, record in theirs.items() if not isinstance(record, str)}
        whole = {**recorded(), **new}
        ordered = {name: whole[name] for name in SCRIPTS if name in whole}
        RECORDS.write_text(json.dumps(ordered, indent=1) + "\n")
    known = {name: recorded().get(f"{topic}: {name}") for name in scripts}
    assert {name: known[name] for name in theirs} == theirs, "a StatefulSet leaves another record than the stored one"
    assert pets == {name: wanted(script, known[name]) for name, script in scripts.items()}


async def _run_all(cluster, recorder, kind, scripts):
    """Execute scripts side by side; return the record of each, or what it waits for in vain."""
    letter = kind[0].lower()
    numbered = enumerate(scripts.items())
    sides = {name: Side(cluster, recorder, kind, f"{letter}{number}", it) for number, (name, it) in numbered}
    turns = asyncio.Semaphore(_AT_ONCE)

    async def run(side):
        async with turns:
            return await side.run()

    done = await asyncio.gather(*map(run, sides.values()), return_exceptions=True)
    return {name: str(it) if isinstance(it, Exception) else it for name, it in zip(sides, done, strict=True)}


def test_every_script_has_a_record_of_a_stateful_set_and_no_other_is_stored():
    assert len(SCRIPTS) >= 60
    assert list(recorded()) == list(SCRIPTS)


def test_each_improvement_is_shown_by_a_script_and_changes_what_it_does():
    records = recorded()
    shown = {script.improvement for script in SCRIPTS.values() if script.improvement}
    assert shown == set(IMPROVEMENTS)
    for name, script in SCRIPTS.items():
        assert (wanted(script, records[name]) != records[name]) == bool(script.improvement), name


def test_the_reference_lists_every_improvement():
    page = (Path(__file__).resolve().parents[3] / "docs" / "reference" / "petset.md").read_text()
    for name, why in IMPROVEMENTS.items():
        assert f"| {name} | {why} |" in page
