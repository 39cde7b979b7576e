"""Who may do what, and the words of each refusal."""

from __future__ import annotations

import base64

import pytest

from operatorkit.testing import eventually

RBAC = "rbac.authorization.k8s.io/v1"


async def grant(http, user, rules):
    await http.created(f"{RBAC}/roles", {"metadata": {"name": "r"}, "rules": rules})
    subjects = [{"kind": "User", "name": user.name, "apiGroup": "rbac.authorization.k8s.io"}]
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "r"}
    await http.created(f"{RBAC}/rolebindings", {"metadata": {"name": "b"}, "subjects": subjects, "roleRef": reference})


@pytest.mark.parametrize(
    ("method", "plural", "name", "reported"),
    [
        ("GET", "pods", None, 'pods is forbidden: User "{user}" cannot list resource "pods" in API group "" in the namespace "{ns}"'),
        ("GET", "pods", "p", 'pods "p" is forbidden: User "{user}" cannot get resource "pods" in API group "" in the namespace "{ns}"'),
        ("POST", "apps/v1/deployments", None, 'deployments.apps is forbidden: User "{user}" cannot create resource "deployments" in API group "apps" in the namespace "{ns}"'),
        ("PUT", "secrets", "s", 'secrets "s" is forbidden: User "{user}" cannot update resource "secrets" in API group "" in the namespace "{ns}"'),
        ("DELETE", "secrets", None, 'secrets is forbidden: User "{user}" cannot deletecollection resource "secrets" in API group "" in the namespace "{ns}"'),
    ],
)  # fmt: skip
async def test_a_rejection_names_user_verb_resource_and_namespace(http, stranger, method, plural, name, reported):
    answer = await stranger.request(method, http.path(plural, name), {} if method in {"POST", "PUT"} else None)
    assert (answer.status, answer.json["reason"]) == (403, "Forbidden")
    assert answer.json["message"] == reported.format(user=stranger.user.name, ns=http.namespace)


async def test_a_rejection_names_the_subresource(http, stranger):
    answer = await stranger.patch(http.path("pods", "p", sub="status"), {})
    assert answer.json["message"] == (
        f'pods "p" is forbidden: User "{stranger.user.name}" cannot patch resource "pods/status" in API group "" in the '
        f'namespace "{http.namespace}"'
    )


async def test_a_rejection_names_the_scope(http, stranger):
    answer = await stranger.get("/api/v1/secrets")
    assert answer.json["message"] == (
        f'secrets is forbidden: User "{stranger.user.name}" cannot list resource "secrets" in API group "" at the '
        "cluster scope"
    )
    answer = await stranger.get("/metrics")
    assert answer.json["message"] == f'forbidden: User "{stranger.user.name}" cannot get path "/metrics"'


async def test_a_role_allows_what_it_says_and_no_more(http, stranger, config_map):
    await grant(http, stranger.user, [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "create"]}])

    async def may_create():
        answer = await stranger.post(http.path("configmaps"), config_map())
        return answer.status in {201, 409}

    await eventually(may_create)
    assert (await stranger.get(http.path("configmaps", "a"))).status == 200
    assert (await stranger.get(http.path("configmaps"))).status == 403
    assert (await stranger.delete(http.path("configmaps", "a"))).status == 403
    assert (await stranger.get("/api/v1/namespaces/default/configmaps/a")).status == 403


async def test_a_role_may_name_the_objects(http, stranger, config_map):
    await http.created("configmaps", config_map("mine"))
    await http.created("configmaps", config_map("other"))
    rule = {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"], "resourceNames": ["mine"]}
    await grant(http, stranger.user, [rule])

    async def may_get():
        return (await stranger.get(http.path("configmaps", "mine"))).status == 200

    await eventually(may_get)
    assert (await stranger.get(http.path("configmaps", "other"))).status == 403


async def test_everyone_may_ask_what_they_may_do(http, stranger):
    await grant(http, stranger.user, [{"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]}])

    async def allowed(verb, resource):
        body = {"spec": {"resourceAttributes": {"namespace": http.namespace, "verb": verb, "resource": resource}}}
        answer = await stranger.post("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", body)
        assert answer.status == 201, answer.text
        return answer.json["status"]["allowed"]

    async def may_list():
        return await allowed("list", "pods")

    await eventually(may_list)
    assert await allowed("delete", "pods") is False
    body = {"spec": {"namespace": http.namespace}}
    rules = (await stranger.post("/apis/authorization.k8s.io/v1/selfsubjectrulesreviews", body)).json["status"]
    assert {"verbs": ["list"], "apiGroups": [""], "resources": ["pods"]} in rules["resourceRules"]


async def test_everyone_may_ask_who_they_are(stranger):
    answer = await stranger.post("/apis/authentication.k8s.io/v1/selfsubjectreviews", {})
    info = answer.json["status"]["userInfo"]
    assert info["username"] == stranger.user.name
    assert "system:authenticated" in info["groups"]


async def test_an_administrator_may_ask_for_others(http, stranger):
    body = {
        "spec": {
            "user": stranger.user.name,
            "resourceAttributes": {"namespace": http.namespace, "verb": "get", "resource": "secrets"},
        }
    }
    answer = await http.post("/apis/authorization.k8s.io/v1/subjectaccessreviews", body)
    assert answer.status == 201
    assert answer.json["status"]["allowed"] is False


async def test_an_administrator_may_be_someone_else(http, stranger, controlplane):
    if controlplane.backend == "existing":
        pytest.skip("on a cluster that exists the stranger is an impersonation already")
    answer = await http.get(http.path("pods"), headers={"Impersonate-User": stranger.user.name})
    assert answer.status == 403
    assert f'User "{stranger.user.name}" cannot list' in answer.json["message"]
    answer = await stranger.get(http.path("pods"), headers={"Impersonate-User": "admin"})
    assert (answer.status, answer.json["reason"]) == (403, "Forbidden")
    assert f'User "{stranger.user.name}" cannot impersonate' in answer.json["message"]


async def test_a_wrong_token_is_no_user(controlplane, namespace):
    from operatorkit.testing.user import User

    admin = User.of(controlplane)
    no_user = {
        **admin.kubeconfig,
        "users": [{"name": u["name"], "user": {"token": "wrong"}} for u in admin.kubeconfig["users"]],
    }
    answer = User("nobody", (), no_user).request("GET", f"/api/v1/namespaces/{namespace}/pods")
    assert (answer.status, answer.json["reason"], answer.json["message"]) == (401, "Unauthorized", "Unauthorized")


async def test_without_credentials_one_sees_health_only(controlplane, namespace):
    from operatorkit.testing.user import User

    admin = User.of(controlplane)
    no_user = User(
        "nobody",
        (),
        {**admin.kubeconfig, "users": [{"name": u["name"], "user": {}} for u in admin.kubeconfig["users"]]},
    )
    assert no_user.request("GET", "/readyz").text == "ok"
    assert no_user.request("GET", "/version").status == 200
    answer = no_user.request("GET", f"/api/v1/namespaces/{namespace}/pods")
    assert answer.status == 403
    assert 'User "system:anonymous" cannot list resource "pods"' in answer.json["message"]


async def test_a_service_account_gets_tokens_that_work(http, controlplane, namespace):
    from operatorkit.testing.user import User

    await http.created("serviceaccounts", {"metadata": {"name": "robot"}})
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 600}}
    answer = await http.post(http.path("serviceaccounts", "robot", sub="token"), body)
    assert answer.status == 201, answer.text
    token = answer.json["status"]["token"]
    payload = token.split(".")[1]
    assert b"system:serviceaccount:" in base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4))
    admin = User.of(controlplane)
    robot = User(
        "robot",
        (),
        {
            **admin.kubeconfig,
            "users": [{"name": u["name"], "user": {"token": token}} for u in admin.kubeconfig["users"]],
        },
    )
    rejected = robot.request("GET", f"/api/v1/namespaces/{namespace}/pods")
    assert rejected.status == 403
    assert f'User "system:serviceaccount:{namespace}:robot" cannot list resource "pods"' in rejected.json["message"]


async def test_no_user_can_grant_what_that_user_has_not(http, stranger):
    await grant(
        http,
        stranger.user,
        [{"apiGroups": [RBAC.split("/", maxsplit=1)[0]], "resources": ["roles"], "verbs": ["create"]}],
    )
    role = {"metadata": {"name": "more"}, "rules": [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}]}

    async def rejected():
        answer = await stranger.post(http.path(f"{RBAC}/roles"), role)
        return "is attempting to grant RBAC permissions not currently held" in answer.json["message"]

    await eventually(rejected)


async def test_an_aggregated_role_shows_the_rules_of_the_roles_that_it_selects(http, namespace):
    roles, label = f"/apis/{RBAC}/clusterroles", {f"{namespace}.example.com/part": "true"}
    rule = {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}
    other = {"apiGroups": [""], "resources": ["secrets"], "verbs": ["list"]}
    names = [f"{namespace}-{part}" for part in ("whole", "b", "a")]

    async def rules():
        return (await http.get(f"{roles}/{names[0]}")).json.get("rules")

    async def aggregates_two():
        return await rules() == [other, rule]

    async def aggregates_one():
        return await rules() == [rule]

    whole = {
        "metadata": {"name": names[0]},
        "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": label}]},
    }
    try:
        assert (await http.post(roles, whole)).status == 201
        for name, its in ((names[1], [rule, other]), (names[2], [other])):
            part = {"metadata": {"name": name, "labels": label}, "rules": its}
            assert (await http.post(roles, part)).status == 201
        await eventually(aggregates_two)
        body = {"rules": [rule]}
        for name in names[1:]:
            patched = await http.patch(f"{roles}/{name}", body, "merge")
            assert patched.status == 200
        await eventually(aggregates_one)
        found = (await http.get(f"{roles}/{names[0]}")).json
        managers = {it["manager"]: it["operation"] for it in found["metadata"]["managedFields"]}
        assert managers["clusterrole-aggregation-controller"] == "Apply"
    finally:
        for name in names:
            await http.delete(f"{roles}/{name}")
