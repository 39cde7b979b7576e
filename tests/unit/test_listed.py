"""Reading objects that were listed once."""

from __future__ import annotations

import pytest
from kubernetes.client.models import V1ConfigMap, V1Namespace

from operatorkit.kinds import CONFIG_MAPS
from operatorkit.listed import ListedReader


async def test_objects_are_found_by_name_labels_and_index(cluster):
    for name, labels in (("b", {"app": "web"}), ("a", {"app": "db"})):
        body = {"metadata": {"name": name, "labels": labels}, "data": {"value": f"{name}1"}}
        await cluster.create(CONFIG_MAPS, body, namespace=cluster.namespace)
    reader = await ListedReader.load(
        cluster,
        V1ConfigMap,
        namespace=cluster.namespace,
        indexes={(V1ConfigMap, "values"): lambda obj: (obj.data or {}).values()},
    )

    def names(**options):
        return [each.metadata.name for each in reader.list(V1ConfigMap, **options) if each.metadata.name in "ab"]

    assert names() == names(namespace=cluster.namespace) == ["a", "b"]
    assert names(namespace="another") == []
    assert names(labels={"app": "web"}) == ["b"]
    assert names(index=("values", "a1")) == ["a"]
    assert reader.get(V1ConfigMap, "a", namespace=cluster.namespace).data == {"value": "a1"}
    assert reader.get(V1ConfigMap, "c") is None
    assert reader.list(V1Namespace) == []
    with pytest.raises(KeyError):
        reader.list(V1ConfigMap, index=("unknown", "a1"))
