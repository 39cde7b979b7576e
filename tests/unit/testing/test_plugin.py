"""The pytest plugin: cheap to load, and honest about what it runs on."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
import yaml

from operatorkit.errors import InputError
from operatorkit.testing.backends import ExistingCluster

pytest_plugins = ["pytester"]


def test_loading_the_plugin_loads_nothing_heavy():
    heavy = {"kopf", "aiohttp", "kubernetes", "pydantic", "cryptography", "yaml"}
    code = f"import sys, operatorkit.testing.plugin; print(sorted({heavy!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_choice_of_control_plane_is_checked_and_shown(pytester: pytest.Pytester):
    pytester.makepyfile("def test_nothing(): pass")
    shown = pytester.runpytest_subprocess("--controlplane=real", "-p", "no:randomly")
    shown.stdout.fnmatch_lines(["control plane: real", "*1 passed*"])
    rejected = pytester.runpytest_subprocess("--controlplane=imaginary")
    rejected.stderr.fnmatch_lines(["*invalid choice: 'imaginary'*"])


def test_an_existing_cluster_is_chosen_by_the_environment(pytester: pytest.Pytester, monkeypatch):
    monkeypatch.setenv("USE_EXISTING_CLUSTER", "true")
    pytester.makepyfile("def test_nothing(): pass")
    pytester.runpytest_subprocess("-p", "no:randomly").stdout.fnmatch_lines(["control plane: existing"])


def test_fixtures_give_a_namespace_a_user_and_counted_requests(pytester: pytest.Pytester):
    """One test of somebody else's, with every fixture, as a run of its own."""
    pytester.makeini("[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\n")
    pytester.makepyfile(
        """
        import pytest
        from operatorkit.names import ApiResource
        from operatorkit.testing import eventually, idle

        CONFIG_MAPS = ApiResource("", "v1", "ConfigMap", "configmaps", True)

        async def test_requests_are_counted(cluster, namespace):
            assert cluster.namespace == namespace
            body = {"metadata": {"name": "a"}, "data": {"k": "v"}}
            await cluster.create(CONFIG_MAPS, body, namespace=namespace)
            assert (await cluster.get(CONFIG_MAPS, "a", namespace=namespace))["data"] == {"k": "v"}
            assert cluster.writes() == {("create", "configmaps"): 1}
            assert cluster.reads() == {("get", "configmaps"): 1}
            await idle(cluster, period=0.05)
            cluster.forget()
            assert not cluster.calls

        @pytest.fixture
        def requests(monkeypatch):
            from operatorkit.testing.user import User

            made, request = [], User.request
            monkeypatch.setattr(User, "request", lambda self, *its: made.append(its[:2]) or request(self, *its))
            return made

        def test_what_controllers_put_into_each_namespace_is_there_from_the_start(requests, namespace):
            path = f"/api/v1/namespaces/{namespace}"
            assert requests[0] == ("POST", "/api/v1/namespaces")
            assert requests[-1] == ("GET", f"{path}/configmaps/kube-root-ca.crt")
            assert ("GET", f"{path}/serviceaccounts/default") in requests

        async def test_a_namespace_is_of_one_test(cluster, namespace):
            names = [item["metadata"]["name"] for item in (await cluster.list(CONFIG_MAPS, namespace=namespace)).items]
            assert "a" not in names

        def test_a_user_may_do_nothing(user, namespace):
            answer = user.request("GET", f"/api/v1/namespaces/{namespace}/configmaps")
            assert answer.status == 403
            assert f'User "{user.name}" cannot list' in answer.json["message"]

        def test_a_kubeconfig_is_private_and_in_the_namespace(kubeconfig, namespace):
            assert kubeconfig.stat().st_mode & 0o077 == 0
            assert namespace in kubeconfig.read_text()

        async def test_pods_run(cluster, nodes):
            pods = ApiResource("", "v1", "Pod", "pods", True)
            spec = {"containers": [{"name": "c", "image": "i"}]}
            await cluster.create(pods, {"metadata": {"name": "p"}, "spec": spec}, namespace=cluster.namespace)

            async def running():
                pod = await cluster.get(pods, "p", namespace=cluster.namespace)
                return pod["status"]["phase"] == "Running"

            await eventually(running)
        """
    )
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider", "-W", "error")
    result.assert_outcomes(passed=6)


def test_a_control_plane_without_controllers_is_not_waited_for(pytester: pytest.Pytester):
    pytester.makeini("[pytest]\nasyncio_default_fixture_loop_scope = function\n")
    pytester.makepyfile(
        """
        import pytest
        from operatorkit.testing.backends import start

        @pytest.fixture(scope="module")
        def controlplane():
            with start("embedded", controllers="") as plane:
                yield plane

        def test_a_namespace(namespace):
            assert namespace
        """
    )
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider", "-W", "error")
    result.assert_outcomes(passed=1)


KUBECONFIG = {
    "current-context": "kind",
    "contexts": [{"name": "kind", "context": {"cluster": "kind", "user": "admin"}}],
    "clusters": [{"name": "kind", "cluster": {"server": "https://127.0.0.1:6443"}}],
    "users": [{"name": "admin", "user": {"token": "t"}}],
}


def test_an_existing_cluster_is_used_as_its_kubeconfig_says(tmp_path):
    path = tmp_path / "config"
    path.write_text(yaml.safe_dump(KUBECONFIG))
    with ExistingCluster(path) as plane:
        assert (plane.backend, plane.url) == ("existing", "https://127.0.0.1:6443")
        assert plane.kubeconfig(namespace="ns")["contexts"][0]["context"]["namespace"] == "ns"
        assert plane.kubeconfig()["users"][0]["user"] == {"token": "t"}
        someone = plane.kubeconfig(user="eve", groups=("dev",))["users"][0]["user"]
        assert someone == {"token": "t", "as": "eve", "as-groups": ["dev"]}
        written = plane.write_kubeconfig(tmp_path / "mine")
        assert written.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("content", "reported"),
    [(None, "cannot be read (No such file or directory): set KUBECONFIG"), ({}, "has no usable current context")],
)
def test_a_kubeconfig_that_cannot_be_used_is_named(tmp_path, content, reported):
    path = tmp_path / "config"
    if content is not None:
        path.write_text(yaml.safe_dump(content))
    with pytest.raises(InputError, match=re.escape(reported)) as rejection, ExistingCluster(path):
        pass
    assert str(path) in str(rejection.value)
