"""A key, a signature and its upload, by the commands alone: the Pod is admitted then."""

from __future__ import annotations

import pytest
from scenarios.attestation.team import image, pod
from scenarios.attestation.test_forgeries import admits, use_keys


@pytest.mark.parametrize("type_", ["PGP", "PKIX", "JWT"])
async def test_an_image_is_attested_by_the_commands_alone(team, shell, tmp_path, type_):
    reference = image()
    output = await shell(f"operatorkit attest keygen --type {type_} -o qa && operatorkit attest sign {reference} "
                         f"--key qa.key --type {type_} --note projects/team/notes/qa > qa.json")  # fmt: skip
    assert output == "qa.key and qa.pub\n"
    await use_keys(team, {"id": "qa", "type": type_, "publicKey": (tmp_path / "qa.pub").read_text()})
    await team.denied(pod(reference))
    output = await shell(f"operatorkit attest upload --server {team.url} --occurrence qa.json")
    assert output.startswith("projects/team/occurrences/"), output
    await admits(team, reference)
