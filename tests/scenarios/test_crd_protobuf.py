"""Custom resource definitions in protobuf, as Go's typed clients send them."""

from __future__ import annotations

import json
from pathlib import Path

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


async def test_a_definition_may_come_in_protobuf(http):
    """As client-go's typed clients send it; the bytes are theirs."""
    data = Path(__file__).with_name("definition.pb")
    wanted = json.loads(data.with_suffix(".json").read_text())
    headers = {"Content-Type": "application/vnd.kubernetes.protobuf"}
    accept = {"Accept": "application/vnd.kubernetes.protobuf, */*;q=0.9"}
    path = f"{CRDS}/{wanted['metadata']['name']}"
    await http.delete(path)
    await http.gone(path)
    made = await http.post(CRDS, data.read_bytes(), headers=headers)
    assert made.status == 201, made.text
    assert (await http.get(path, headers=accept)).status == 200
    from_protobuf = made.json["spec"]
    await http.delete(path)
    await http.gone(path)
    from_json = await http.post(CRDS, wanted)
    assert from_json.status == 201, from_json.text
    assert from_json.json["spec"] == from_protobuf
    await http.delete(path)
