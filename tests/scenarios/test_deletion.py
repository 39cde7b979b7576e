"""Deletion: finalizers, preconditions, the garbage collector, namespaces."""

from __future__ import annotations

import secrets

import pytest

from operatorkit.testing import eventually, remains


def owner_reference(owner, *, kind="ConfigMap", api_version="v1", **more):
    return {
        "apiVersion": api_version,
        "kind": kind,
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        **more,
    }


async def test_delete_answers_with_what_was_deleted(http, config_map):
    made = await http.created("configmaps", config_map())
    answer = await http.delete(http.path("configmaps", "a"))
    assert answer.status == 200
    assert answer.json == {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "details": {"name": "a", "kind": "configmaps", "uid": made["metadata"]["uid"]},
    }
    assert (await http.get(http.path("configmaps", "a"))).status == 404


async def test_an_object_with_a_finalizer_waits_for_it(http, config_map):
    await http.created("configmaps", config_map(finalizers=["example.com/wait"]))
    path = http.path("configmaps", "a")
    answer = await http.delete(path)
    assert answer.status == 200
    assert answer.json["kind"] == "ConfigMap"
    assert answer.json["metadata"]["deletionTimestamp"]
    assert answer.json["metadata"]["deletionGracePeriodSeconds"] == 0
    assert (await http.get(path)).status == 200
    rejected = await http.patch(path, {"metadata": {"finalizers": ["example.com/wait", "example.com/new"]}})
    assert rejected.status == 422
    assert rejected.json["message"] == (
        'ConfigMap "a" is invalid: metadata.finalizers: Forbidden: no new finalizers can be added if the object is '
        'being deleted, found new finalizers []string{"example.com/new"}'
    )
    assert (await http.patch(path, {"metadata": {"finalizers": None}})).status == 200
    assert (await http.get(path)).status == 404


async def test_a_finalizer_needs_a_domain(http, config_map):
    answer = await http.post(http.path("configmaps"), config_map(finalizers=["bare"]))
    assert answer.status == 422
    assert (
        'metadata.finalizers[0]: Invalid value: "bare": name is neither a standard finalizer name nor is it fully qualified'
        in (answer.json["message"])
    )


@pytest.mark.parametrize("field", ["uid", "resourceVersion"])
async def test_a_precondition_that_does_not_hold_is_a_conflict(http, config_map, field):
    made = await http.created("configmaps", config_map())
    wanted = {"uid": "3a2f9d2e-0000-4000-8000-000000000000", "resourceVersion": "1"}[field]
    body = {"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": {field: wanted}}
    answer = await http.delete(http.path("configmaps", "a"), body)
    assert answer.status == 409
    word = {"uid": "UID", "resourceVersion": "ResourceVersion"}[field]
    end = {"uid": "been deleted and then recreated", "resourceVersion": "been modified"}[field]
    assert answer.json["message"] == (
        f'Operation cannot be fulfilled on ConfigMap "a": the {word} in the precondition ({wanted}) does not match the '
        f"{word} in record ({made['metadata'][field]}). The object might have {end}"
    )
    body["preconditions"] = {field: made["metadata"][field]}
    assert (await http.delete(http.path("configmaps", "a"), body)).status == 200


async def test_a_propagation_that_does_not_exist_is_rejected(http, config_map):
    await http.created("configmaps", config_map())
    answer = await http.delete(http.path("configmaps", "a"), query={"propagationPolicy": "Sideways"})
    assert answer.status == 422
    assert answer.json["message"] == (
        'DeleteOptions.meta.k8s.io "" is invalid: propagationPolicy: Unsupported value: "Sideways": supported values: '
        '"Foreground", "Background", "Orphan", "nil"'
    )


async def test_children_go_with_their_owner(http, config_map):
    owner = await http.created("configmaps", config_map("owner"))
    await http.created("secrets", {"metadata": {"name": "child", "ownerReferences": [owner_reference(owner)]}})
    await http.delete(http.path("configmaps", "owner"), query={"propagationPolicy": "Background"})
    assert (await http.get(http.path("configmaps", "owner"))).status == 404
    await http.gone(http.path("secrets", "child"))


async def test_grandchildren_go_too(http, config_map):
    owner = await http.created("configmaps", config_map("owner"))
    child = await http.created("configmaps", config_map("child", ownerReferences=[owner_reference(owner)]))
    await http.created("configmaps", config_map("grandchild", ownerReferences=[owner_reference(child)]))
    await http.delete(http.path("configmaps", "owner"))
    await http.gone(http.path("configmaps", "grandchild"))


async def test_in_the_foreground_children_go_first(http, config_map):
    owner = await http.created("configmaps", config_map("owner"))
    reference = owner_reference(owner, blockOwnerDeletion=True)
    await http.created("configmaps", config_map("child", ownerReferences=[reference], finalizers=["example.com/wait"]))
    answer = await http.delete(http.path("configmaps", "owner"), query={"propagationPolicy": "Foreground"})
    assert answer.json["metadata"]["finalizers"] == ["foregroundDeletion"]

    async def child_is_going():
        child = (await http.get(http.path("configmaps", "child"))).json
        return "deletionTimestamp" in child["metadata"]

    await eventually(child_is_going)
    assert (await http.get(http.path("configmaps", "owner"))).status == 200
    await http.patch(http.path("configmaps", "child"), {"metadata": {"finalizers": None}})
    await http.gone(http.path("configmaps", "owner"))
    assert (await http.get(http.path("configmaps", "child"))).status == 404


async def test_orphans_stay_and_lose_their_reference(http, config_map):
    owner = await http.created("configmaps", config_map("owner"))
    await http.created("configmaps", config_map("child", ownerReferences=[owner_reference(owner)]))
    await http.delete(http.path("configmaps", "owner"), query={"propagationPolicy": "Orphan"})
    await http.gone(http.path("configmaps", "owner"))
    child = (await http.get(http.path("configmaps", "child"))).json
    assert "ownerReferences" not in child["metadata"]


async def test_a_deployment_adopts_what_an_earlier_one_left(http):
    template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    spec = {"replicas": 0, "selector": {"matchLabels": {"app": "web"}}, "template": template}
    body, path = {"metadata": {"name": "web"}, "spec": spec}, http.path("apps/v1/deployments", "web")

    async def owner_of_only_set():
        found = (await http.get(http.path("apps/v1/replicasets"))).json["items"]
        owners = [it["metadata"].get("ownerReferences") for it in found]
        return len(owners) == 1 and owners[0] and owners[0][0]["uid"]

    first = await http.created("apps/v1/deployments", body)

    async def owned_by_the_first():
        return await owner_of_only_set() == first["metadata"]["uid"]

    await eventually(owned_by_the_first)
    await http.delete(path, {"propagationPolicy": "Orphan"})
    await http.gone(path)
    second = await http.created("apps/v1/deployments", body)

    async def owned_by_the_second():
        return await owner_of_only_set() == second["metadata"]["uid"]

    await eventually(owned_by_the_second, timeout=15)


async def test_a_child_with_another_owner_stays(http, config_map):
    first = await http.created("configmaps", config_map("first"))
    second = await http.created("configmaps", config_map("second"))
    references = [owner_reference(first), owner_reference(second)]
    await http.created("configmaps", config_map("child", ownerReferences=references))
    await http.delete(http.path("configmaps", "first"))

    async def has_one_owner():
        child = (await http.get(http.path("configmaps", "child"))).json
        return [reference["name"] for reference in child["metadata"]["ownerReferences"]] == ["second"]

    await eventually(has_one_owner)


async def test_a_child_whose_owner_never_was_goes(http, config_map):
    ghost = {"metadata": {"name": "ghost", "uid": "3a2f9d2e-0000-4000-8000-000000000000"}}
    await http.created("configmaps", config_map("child", ownerReferences=[owner_reference(ghost)]))
    await http.gone(http.path("configmaps", "child"))


async def test_a_child_of_a_namesake_goes(http, config_map):
    owner = await http.created("configmaps", config_map("owner"))
    wrong = {"metadata": {"name": "owner", "uid": "3a2f9d2e-0000-4000-8000-000000000000"}}
    await http.created("configmaps", config_map("right", ownerReferences=[owner_reference(owner)]))
    await http.created("configmaps", config_map("wrong", ownerReferences=[owner_reference(wrong)]))
    await http.gone(http.path("configmaps", "wrong"))
    assert (await http.get(http.path("configmaps", "right"))).status == 200


async def test_an_owner_reference_needs_its_parts(http, config_map):
    answer = await http.post(http.path("configmaps"), config_map(ownerReferences=[{"kind": "ConfigMap"}]))
    assert answer.status == 422
    fields = {cause["field"] for cause in answer.json["details"]["causes"]}
    assert {
        "metadata.ownerReferences.apiVersion",
        "metadata.ownerReferences.name",
        "metadata.ownerReferences.uid",
    } <= fields


async def test_two_controllers_are_one_too_many(http, config_map):
    owners = [await http.created("configmaps", config_map(name)) for name in ("x", "y")]
    references = [owner_reference(owner, controller=True) for owner in owners]
    answer = await http.post(http.path("configmaps"), config_map(ownerReferences=references))
    assert answer.status == 422
    assert "Only one reference can have Controller set to true" in answer.json["message"]


async def test_a_namespace_takes_everything_in_it_along(http, config_map):
    name = f"test-{secrets.token_hex(4)}"
    made = await http.post("/api/v1/namespaces", {"metadata": {"name": name}})
    assert made.json["spec"] == {"finalizers": ["kubernetes"]}
    assert made.json["status"] == {"phase": "Active"}
    assert made.json["metadata"]["labels"] == {"kubernetes.io/metadata.name": name}
    await http.post(http.path("configmaps", ns=name), config_map(finalizers=["example.com/wait"]))
    await http.post(http.path("secrets", ns=name), {"metadata": {"name": "s"}})
    answer = await http.delete(f"/api/v1/namespaces/{name}")
    assert answer.json["status"]["phase"] == "Terminating"
    await http.gone(http.path("secrets", "s", ns=name))
    rejected = await http.post(http.path("configmaps", ns=name), config_map("late"))
    assert rejected.status == 403
    assert rejected.json["message"] == (
        f'configmaps "late" is forbidden: unable to create new content in namespace {name} because it is being terminated'
    )
    assert rejected.json["details"]["causes"] == [
        {
            "reason": "NamespaceTerminating",
            "message": f"namespace {name} is being terminated",
            "field": "metadata.namespace",
        }
    ]

    async def waits_for_the_finalizer():
        status = (await http.get(f"/api/v1/namespaces/{name}")).json["status"]
        reasons = {condition["type"]: condition["status"] for condition in status.get("conditions", [])}
        return reasons.get("NamespaceFinalizersRemaining") == "True"

    await eventually(waits_for_the_finalizer)
    await http.patch(http.path("configmaps", "a", ns=name), {"metadata": {"finalizers": None}})
    await http.gone(f"/api/v1/namespaces/{name}")


async def test_the_pods_of_a_namespace_go_before_everything_else(http, config_map):
    name = f"{http.namespace}-ordered"
    assert (await http.post("/api/v1/namespaces", {"metadata": {"name": name}})).status == 201
    pod = {"metadata": {"name": "p", "finalizers": ["example.com/hold"]}}
    pod["spec"] = {
        "nodeName": "nowhere",
        "terminationGracePeriodSeconds": 0,
        "containers": [{"name": "c", "image": "i"}],
    }
    assert (await http.post(http.path("pods", ns=name), pod)).status == 201
    assert (await http.post(http.path("configmaps", ns=name), config_map("kept"))).status == 201
    held = config_map("held", finalizers=["example.com/other"])
    assert (await http.post(http.path("configmaps", ns=name), held)).status == 201
    await http.delete(f"/api/v1/namespaces/{name}")

    async def reported():
        status = (await http.get(f"/api/v1/namespaces/{name}")).json["status"]
        return {it["type"]: (it["status"], it["message"]) for it in status.get("conditions") or ()}

    async def deleted():
        return (await http.get(http.path("pods", "p", ns=name))).json["metadata"]["deletionTimestamp"]

    await eventually(deleted)
    assert {status for status, _ in (await eventually(reported)).values()} == {"False"}  # nothing of pods is said
    for kept in ("kept", "held"):
        found = await http.get(http.path("configmaps", kept, ns=name))
        assert "deletionTimestamp" not in found.json["metadata"]
    await http.patch(http.path("pods", "p", ns=name), {"metadata": {"finalizers": None}})

    async def rest():
        found = (await http.get(http.path("configmaps", "held", ns=name))).json
        return "deletionTimestamp" in found["metadata"]

    await eventually(rest)
    await http.gone(http.path("configmaps", "kept", ns=name))
    held_up = "Some content in the namespace has finalizers remaining: example.com/other in 1 resource instances"

    async def said():
        return (await reported())["NamespaceFinalizersRemaining"] == ("True", held_up)

    await eventually(said)
    await http.patch(http.path("configmaps", "held", ns=name), {"metadata": {"finalizers": None}})
    await http.gone(f"/api/v1/namespaces/{name}")


async def test_nothing_can_be_created_in_a_namespace_that_is_not_there(http, config_map):
    answer = await http.post(http.path("configmaps", ns="nowhere"), config_map())
    assert answer.status == 404
    assert answer.json["message"] == 'namespaces "nowhere" not found'


@pytest.mark.parametrize("name", ["default", "kube-system", "kube-public"])
async def test_the_first_namespaces_cannot_be_deleted(http, name):
    answer = await http.delete(f"/api/v1/namespaces/{name}")
    assert answer.status == 403
    assert answer.json["message"] == f'namespaces "{name}" is forbidden: this namespace may not be deleted'


async def test_a_new_namespace_gets_a_service_account_and_the_authority(http):
    async def there():
        account = await http.get(http.path("serviceaccounts", "default"))
        bundle = await http.get(http.path("configmaps", "kube-root-ca.crt"))
        return account.status == bundle.status == 200 and bundle.json["data"]["ca.crt"].startswith("-----BEGIN CERT")

    await eventually(there)


async def test_a_pod_that_runs_nowhere_goes_at_once(http):
    await http.created("pods", {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}})
    answer = await http.delete(http.path("pods", "p"))
    assert answer.status == 200
    await http.gone(http.path("pods", "p"))


async def test_a_pod_on_a_node_is_given_its_grace(http):
    spec = {"nodeName": "none", "containers": [{"name": "c", "image": "i"}]}
    await http.created("pods", {"metadata": {"name": "p"}, "spec": spec})
    answer = await http.delete(http.path("pods", "p"), query={"gracePeriodSeconds": "20"})
    assert answer.json["metadata"]["deletionGracePeriodSeconds"] == 20
    assert answer.json["metadata"]["deletionTimestamp"]
    shorter = await http.delete(http.path("pods", "p"), query={"gracePeriodSeconds": "10"})
    assert shorter.json["metadata"]["deletionGracePeriodSeconds"] == 10
    await http.delete(http.path("pods", "p"), query={"gracePeriodSeconds": "0"})
    assert (await http.get(http.path("pods", "p"))).status == 404


async def test_what_stays_stays(http, config_map):
    await http.created("configmaps", config_map("free"))

    async def there():
        return (await http.get(http.path("configmaps", "free"))).status == 200

    await remains(there)
