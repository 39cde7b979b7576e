"""An operator as a process: what it says when something is missing, and how it ends."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import aiohttp
import pytest
import yaml
from kubernetes.client.models import V1ConfigMap

from operatorkit.cluster import PatchType
from operatorkit.errors import NotFound
from operatorkit.names import ApiResource
from operatorkit.resource import api_resource_of
from operatorkit.testing import eventually
from operatorkit.webhooks.manifests import CONFIGURATIONS

EXAMPLE = Path(__file__).parents[2] / "examples" / "01_website.py"
WEBSITES = ApiResource("example.io", "v1", "Website", "websites", namespaced=True)
CONFIG_MAPS = api_resource_of(V1ConfigMap)


class Process:
    """A command of operatorkit, and all it has said."""

    def __init__(self, folder: Path, *arguments: str, env: dict[str, str] | None = None) -> None:
        self._log = folder / "log"
        with self._log.open("wb") as log:
            self.popen = subprocess.Popen(
                [sys.executable, "-m", "operatorkit", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONFAULTHANDLER": "1", **(env or {})},
                cwd=folder,
            )

    @property
    def said(self) -> str:
        return self._log.read_text()

    async def says(self, text: str, *, times: int = 1) -> None:
        def so() -> bool:
            assert self.popen.poll() is None or self.said.count(text) >= times, self.said
            return self.said.count(text) >= times

        await eventually(so, timeout=120, message=f"{text!r} is said")

    async def ends(self) -> int:
        """Return the exit code. A process that does not end reports its stacks first, and what it said is shown."""
        try:
            await eventually(lambda: self.popen.poll() is not None, timeout=180, message="the process ends")
        except AssertionError as error:
            self.popen.send_signal(signal.SIGABRT)  # see PYTHONFAULTHANDLER
            await asyncio.to_thread(self.popen.wait, 10)
            raise AssertionError(f"{error}\n{self.said}") from None
        return self.popen.returncode


@pytest.fixture
def start(tmp_path):
    processes = []

    def start(*arguments: str, **options) -> Process:
        processes.append(Process(tmp_path, *map(str, arguments), **options))
        return processes[-1]

    yield start
    for process in processes:
        process.popen.terminate()  # so that it removes what it made
        try:
            process.popen.wait(60)
        except subprocess.TimeoutExpired:
            process.popen.kill()
            process.popen.wait()


@pytest.fixture
def kubeconfig(controlplane, tmp_path):
    return controlplane.write_kubeconfig(tmp_path / "kubeconfig")


@pytest.fixture
def site(tmp_path):
    """Return a copy of the example that is this test's own: of a kind that no other test installs."""
    return _copy_of_example(tmp_path, "website")


def _copy_of_example(folder: Path, word: str) -> Path:
    path = folder / "site.py"
    path.write_text(EXAMPLE.read_text().replace('group="example.io"', f'group="{word}.example.io"'))
    return path


def website(resource: ApiResource, name: str) -> dict:
    return {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "metadata": {"name": name},
        "spec": {"title": "Hello", "pages": {"index": "welcome"}},
    }


async def page_of(cluster, name: str) -> str | None:
    try:
        return (await cluster.get(CONFIG_MAPS, name, namespace=cluster.namespace))["data"].get("index.html")
    except NotFound:
        return None


async def test_run_serves_until_sigterm_and_ends_with_exit_code_0(cluster, start, kubeconfig):
    process = start("run", EXAMPLE, "--install", "--kubeconfig", kubeconfig)
    await process.says("website is ready")
    await cluster.create(WEBSITES, website(WEBSITES, "a"), namespace=cluster.namespace)
    await eventually(lambda: page_of(cluster, "a"))
    process.popen.send_signal(signal.SIGTERM)
    assert await process.ends() == 0
    assert "Traceback" not in process.said


SLOW = """
import asyncio
from datetime import timedelta

from kubernetes.client.models import V1ConfigMap

from operatorkit import Context, Model, Operator, Resource, Settings
from operatorkit.errors import NotFound
from operatorkit.resource import api_resource_of


class Status(Model):
    done: bool = False


class Task(Resource[Model, Status], group="slow.example.io", version="v1"):
    pass


app = Operator("slow", settings=Settings(shutdown_timeout=timedelta(seconds=LIMIT)))


@app.reconcile(Task)
async def reconcile(task: Task, ctx: Context) -> None:
    ctx.log.warning("has begun")
    while not task.status.done:
        try:
            await ctx.api.get(api_resource_of(V1ConfigMap), "go", namespace=ctx.key.namespace)
            task.status.done = True
        except NotFound:
            await asyncio.sleep(0.05)
"""
TASKS = ApiResource("slow.example.io", "v1", "Task", "tasks", namespaced=True)


@pytest.mark.parametrize(("limit", "done"), [(120, True), (0.1, False)], ids=["in time", "late"])
async def test_sigterm_lets_a_run_finish_that_has_begun_and_cancels_a_late_one(
    cluster, start, kubeconfig, tmp_path, limit, done
):
    (tmp_path / "slow.py").write_text(SLOW.replace("LIMIT", str(limit)))
    where = {"namespace": cluster.namespace}
    process = start("run", tmp_path / "slow.py", "--install", "--kubeconfig", kubeconfig)
    await process.says("slow is ready")
    task = {"apiVersion": TASKS.api_version, "kind": TASKS.kind, "metadata": {"name": "a"}}
    await cluster.create(TASKS, task, **where)
    await process.says("has begun")
    process.popen.send_signal(signal.SIGTERM)
    await process.says("finishing the current runs")
    if done:
        await cluster.create(CONFIG_MAPS, {"metadata": {"name": "go"}}, **where)
    assert await process.ends() == 0
    assert (await cluster.get(TASKS, "a", **where)).get("status", {}).get("done", False) is done
    assert ("did not finish within 0.1 s: cancelled" in process.said) is not done
    assert "Traceback" not in process.said


async def test_a_running_operator_answers_probes(start, kubeconfig):
    process = start("run", EXAMPLE, "--install", "--kubeconfig", kubeconfig, "--health-port", 0)
    await process.says("website is ready")
    [port] = re.findall(r"probes are answered on port (\d+)", process.said)
    async with aiohttp.ClientSession() as session:
        for path in ("livez", "healthz", "readyz"):
            async with session.get(f"http://127.0.0.1:{port}/{path}") as answer:
                assert (answer.status, await answer.text()) == (200, "ok\n")
    process.popen.send_signal(signal.SIGTERM)
    assert await process.ends() == 0


async def test_a_running_operator_serves_metrics_of_its_engine_its_requests_and_its_process(start, kubeconfig, cluster):
    pytest.importorskip("prometheus_client", reason="the extra metrics is not installed")
    where = ("--namespace", cluster.namespace, "--own-namespace", cluster.namespace)
    process = start(
        *("run", EXAMPLE, "--install", "--kubeconfig", kubeconfig, "--health-port", 0, "--leader-elect", *where)
    )
    await process.says("website is ready; it reconciles")
    [port] = re.findall(r"probes are answered on port (\d+)", process.said)
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}/metrics") as answer:
        text = await answer.text()
    assert 'leader_election_master_status{name="website"} 1.0' in text
    assert 'controller_runtime_max_concurrent_reconciles{controller="website"} 4.0' in text
    assert re.search(r'rest_client_requests_total\{code="200",host="127.0.0.1:\d+",method="GET"\} [1-9]', text)
    assert "process_cpu_seconds_total" in text


async def test_a_kind_that_is_not_served_is_named_with_the_remedy(start, kubeconfig, site):
    process = start("run", site, "--kubeconfig", kubeconfig)
    assert await process.ends() == 1
    assert process.said == (
        "operatorkit: the API server does not serve Website (website.example.io/v1): install the definitions first, "
        f"with `operatorkit crd render {site} | kubectl apply --server-side -f -`\n"
    )


async def test_missing_permissions_are_named_with_verb_resource_and_group(start, cluster, user, kubeconfig, tmp_path):
    first = start("run", EXAMPLE, "--install", "--kubeconfig", kubeconfig, "--namespace", cluster.namespace)
    await first.says("website is ready")
    first.popen.terminate()
    assert await first.ends() == 0
    limited = tmp_path / "limited"
    limited.write_text(yaml.safe_dump(user.kubeconfig))
    process = start("run", EXAMPLE, "--kubeconfig", limited, "--namespace", cluster.namespace)
    assert await process.ends() == 1
    assert f"in namespace {cluster.namespace} are missing" in process.said
    missing = process.said.splitlines()[1:]
    assert '  patch websites/status in API group "example.io"' in missing
    assert '  delete configmaps in API group ""' in missing
    assert len(missing) == len(set(missing)) == 12


async def test_missing_permissions_of_handlers_of_kopf_are_named_too(start, cluster, user, kubeconfig, tmp_path):
    path = _copy_of_example(tmp_path, "handled")
    path.write_text(
        path.read_text() + "\nimport kopf\n\n@kopf.on.create('batch', 'v1', 'cronjobs')\nasync def created(**_): ...\n"
    )
    first = start("run", path, "--install", "--kubeconfig", kubeconfig, "--namespace", cluster.namespace)
    await first.says("website is ready")
    first.popen.terminate()
    assert await first.ends() == 0
    limited = tmp_path / "limited"
    limited.write_text(yaml.safe_dump(user.kubeconfig))
    process = start("run", path, "--kubeconfig", limited, "--namespace", cluster.namespace)
    assert await process.ends() == 1
    assert '  patch cronjobs in API group "batch"' in process.said.splitlines()


CLUSTER_SCOPED = """
from operatorkit import Context, Model, Operator, Resource
from operatorkit.resource import NoStatus

class Spec(Model):
    size: int = 1

class Zone(Resource[Spec, NoStatus], group="wide.example.io", version="v1", scope="Cluster"): ...
class House(Resource[Spec, NoStatus], group="wide.example.io", version="v1"): ...

app = Operator("wide")

@app.reconcile(Zone)
async def zone(obj: Zone, ctx: Context) -> None: ...

@app.reconcile(House)
async def house(obj: House, ctx: Context) -> None: ...
"""


async def test_cluster_scoped_kinds_are_named_that_one_namespace_does_not_limit(cluster, start, kubeconfig, tmp_path):
    (tmp_path / "wide.py").write_text(CLUSTER_SCOPED)
    run = ("run", "wide.py", "--install", "--kubeconfig", kubeconfig)
    process = start(*run, "--namespace", cluster.namespace, "--context", "operatorkit")
    await process.says(
        f"wide works in namespace {cluster.namespace}, and reconciles all objects of cluster-scoped kinds"
    )
    assert "cluster-scoped kinds: Zone;" in process.said
    await process.says("wide is ready")


async def test_an_unreachable_api_server_is_one_line(start, tmp_path, controlplane):
    config = controlplane.kubeconfig()
    config["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:1"
    path = tmp_path / "dead"
    path.write_text(yaml.safe_dump(config))
    process = start("run", EXAMPLE, "--kubeconfig", path)
    assert await process.ends() == 1
    [line] = process.said.splitlines()
    assert line.startswith("operatorkit: ")
    assert "https://127.0.0.1:1" in line


async def test_the_handlers_of_kopf_run_in_the_same_process_and_write_no_annotation_of_kopf_s_own(
    cluster, start, kubeconfig, tmp_path
):
    path = _copy_of_example(tmp_path, "mixed")
    path.write_text(
        path.read_text() + "\nimport kopf\n\n"
        "@kopf.on.create('mixed.example.io', 'v1', 'websites')\n"
        "async def created(name, logger, **_):\n"
        "    print('kopf saw', name, flush=True)\n"
    )
    mixed = ApiResource("mixed.example.io", "v1", "Website", "websites", namespaced=True)
    process = start("run", path, "--install", "--kubeconfig", kubeconfig, "--namespace", cluster.namespace)
    await process.says("website is ready")
    await cluster.create(mixed, website(mixed, "b"), namespace=cluster.namespace)
    await process.says("kopf saw b")
    await eventually(lambda: page_of(cluster, "b"))

    async def annotations():
        obj = await cluster.get(mixed, "b", namespace=cluster.namespace)
        return set(obj["metadata"].get("annotations", {}))

    await eventually(annotations)
    assert await annotations() == {"kopf.operatorkit.dev/last-handled-configuration"}
    process.popen.terminate()
    assert await process.ends() == 0


@pytest.mark.parametrize("verb", ["validate", "mutate"])
async def test_admission_declared_with_kopf_is_rejected_at_the_start_with_what_to_write_instead(
    start, kubeconfig, tmp_path, verb
):
    path = _copy_of_example(tmp_path, "doors")
    path.write_text(
        path.read_text() + "\nimport kopf\n\n"
        f"@kopf.on.{verb}('doors.example.io', 'v1', 'websites')\n"
        "def judge(**_):\n"
        "    raise kopf.AdmissionError('no')\n"
    )
    process = start("run", path, "--install", "--kubeconfig", kubeconfig)
    assert await process.ends() == 1
    [line] = process.said.splitlines()
    assert line.startswith("operatorkit: ")
    assert f".judge is declared with @kopf.on.{verb}, which is never called" in line
    assert f"@app.{verb}(Kind)" in line


WITH_A_DOOR = """
from operatorkit.webhooks import Allowed, Denied

@app.validate(Website)
async def judge(new, old, request):
    return Denied("asked") if new.spec.title == "bad" else Allowed()
"""


async def test_run_says_whether_webhooks_are_served_and_how_they_would_be(
    cluster, start, kubeconfig, tmp_path, controlplane
):
    path = _copy_of_example(tmp_path, "judged")
    path.write_text(path.read_text() + WITH_A_DOOR)
    run = ("run", path, "--install", "--kubeconfig", kubeconfig, "--own-namespace", cluster.namespace)
    limited = (*run, "--namespace", cluster.namespace)
    process = start(*limited)
    await process.says("website is ready")
    assert "webhooks are not served" in process.said
    assert "(validate.websites.judged.example.io): pass --webhooks=url" in process.said
    process.popen.terminate()
    assert await process.ends() == 0

    process = start(*limited, "--webhooks=url")
    await process.says("webhooks: 1 served at https://127.0.0.1:")
    assert f"registered as website.{cluster.namespace}.operatorkit.dev" in process.said
    process.popen.terminate()
    assert await process.ends() == 0

    process = start(*limited, "--webhook-service=door", "--webhook-port=0")
    name = f"ValidatingWebhookConfiguration door.{cluster.namespace}.operatorkit.dev"
    await process.says(f"those of website are not called until there is a {name}")
    await process.says(f"behind Service {cluster.namespace}/door, registered by a chart")
    process.popen.terminate()
    assert await process.ends() == 0

    config = controlplane.kubeconfig()
    config["clusters"][0]["cluster"]["server"] = "https://kubernetes.example.com:6443"
    far = tmp_path / "far"
    far.write_text(yaml.safe_dump(config))
    process = start("run", path, "--kubeconfig", far, "--webhooks=url")
    assert await process.ends() == 1
    [line] = process.said.splitlines()
    assert "https://kubernetes.example.com:6443 is not" in line
    assert "would reject each change of Website" in line


async def test_dev_runs_a_file_and_reloads_it_and_repairs_and_removes_children(start, tmp_path):
    from operatorkit.cluster import LiveCluster, load_config

    path, config = _copy_of_example(tmp_path, "dev"), tmp_path / "dev-kubeconfig"
    websites = ApiResource("dev.example.io", "v1", "Website", "websites", namespaced=True)
    process = start("dev", path, "--kubeconfig", config)
    await process.says("website is ready")
    assert re.search(rf"^  export KUBECONFIG={re.escape(str(config))}$", process.said, re.MULTILINE)
    async with LiveCluster(load_config(config)) as api:

        async def page() -> str | None:
            try:
                return (await api.get(CONFIG_MAPS, "a", namespace="default"))["data"].get("index.html")
            except NotFound:
                return None

        await api.create(websites, website(websites, "a"), namespace="default")
        await eventually(lambda: _is(page, "<h1>Hello</h1>welcome"))
        wrong = {"data": {"index.html": "defaced"}}
        await api.patch(CONFIG_MAPS, "a", wrong, patch_type=PatchType.MERGE, namespace="default")
        await eventually(lambda: _is(page, "<h1>Hello</h1>welcome"))
        await api.delete(CONFIG_MAPS, "a", namespace="default")
        await eventually(lambda: _is(page, "<h1>Hello</h1>welcome"))

        good = path.read_text()
        save(path, good + "\ndef broken(:\n")
        await process.says("the operator keeps running unchanged")
        save(path, good.replace("h1", "h2"))
        await process.says("website is ready", times=2)
        await eventually(lambda: _is(page, "<h2>Hello</h2>welcome"))

        await api.delete(websites, "a", namespace="default")
        await eventually(lambda: _is(page, None), timeout=60)
    process.popen.send_signal(signal.SIGINT)
    assert await process.ends() == 0
    assert process.said.endswith("stopped\n")


def save(path: Path, text: str) -> None:
    """Replace a file as editors do: whoever looks sees the one or the other, and not an empty one in between."""
    made = path.with_suffix(".new")
    made.write_text(text)
    made.replace(path)


async def _is(read, wanted) -> bool:
    found = await read()
    assert found == wanted
    return True


async def test_dev_waits_for_a_file_that_cannot_start_to_be_corrected(start, tmp_path):
    path = _copy_of_example(tmp_path, "late")
    good = path.read_text()
    path.write_text(good.replace("import Context, ", "import Kontext, "))
    process = start("dev", path, "--nodes", "0")
    await process.says("waiting for a change of the code")
    assert "site.py, line 5: ImportError" in process.said
    path.write_text(good)
    await process.says("website is ready")


async def test_dev_cuts_a_reconcile_short_that_holds_up_a_reload_and_says_so(start, tmp_path):
    from operatorkit.cluster import LiveCluster, load_config

    path, config = _copy_of_example(tmp_path, "held"), tmp_path / "held-kubeconfig"
    good = path.read_text()
    held = good.replace(
        "    await ctx.apply",
        '    print("it is at work")\n    await __import__("asyncio").sleep(1000)\n    await ctx.apply',
    )
    path.write_text(held)
    process = start("dev", path, "--nodes", "0", "--kubeconfig", config)
    await process.says("website is ready")
    websites = ApiResource("held.example.io", "v1", "Website", "websites", namespaced=True)
    async with LiveCluster(load_config(config)) as api:
        await api.create(websites, website(websites, "a"), namespace="default")
    await process.says("it is at work")
    save(path, good)
    await process.says("cancelling a reconcile function that is still running")
    await process.says("website is ready", times=2)
    async with LiveCluster(load_config(config)) as api:
        await eventually(lambda: api.get(CONFIG_MAPS, "a", namespace="default"))
    path.unlink()
    await process.says("site.py is gone: restarting the operator")
    await process.says("operatorkit: there is no file")


async def test_dev_removes_the_webhooks_of_an_operator_that_was_killed(start, tmp_path):
    from operatorkit.cluster import LiveCluster, load_config

    path, config = _copy_of_example(tmp_path, "slain"), tmp_path / "slain-kubeconfig"
    evaluated = "\n\n@app.validate(Website)\nasync def validate(new, old, request): ...\n"
    path.write_text(path.read_text() + evaluated + 'print("pid", __import__("os").getpid(), flush=True)\n')
    process = start("dev", path, "--nodes", "0", "--kubeconfig", config)
    await process.says("website is ready")
    assert "kubectl delete validatingwebhookconfigurations/website.operatorkit.dev" in process.said
    async with LiveCluster(load_config(config)) as api:
        assert await api.get(CONFIGURATIONS["validate"], "website.operatorkit.dev")
        os.kill(int(re.findall(r"pid (\d+)", process.said)[-1]), signal.SIGKILL)
        await process.says("the operator ended (exit code -9); waiting for a change of the code")
        await process.says(
            "deleted ValidatingWebhookConfiguration website.operatorkit.dev, which the operator left behind"
        )
        with pytest.raises(NotFound):
            await api.get(CONFIGURATIONS["validate"], "website.operatorkit.dev")


async def test_dev_never_writes_over_the_kubeconfig_of_another_cluster(start, tmp_path):
    config = tmp_path / "config"
    config.write_text("clusters: [{name: production, cluster: {server: https://production}}]\n")
    process = start("dev", EXAMPLE, "--kubeconfig", config)
    assert await process.ends() == 1
    assert process.said == (
        f"operatorkit: {config} exists and was not written by operatorkit: name another file with --kubeconfig\n"
    )
    assert "production" in config.read_text()


@pytest.mark.parametrize("option", [("--health-port",), ("--webhooks", "url", "--webhook-port")], ids=" ".join)
async def test_a_port_in_use_is_one_line_with_the_option_that_chooses_another(start, kubeconfig, tmp_path, option):
    (tmp_path / "site.py").write_text(
        EXAMPLE.read_text() + "\n\n@app.validate(Website)\nasync def validate(new, old, request): ...\n"
    )
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        process = start("run", "site.py", "--install", "--kubeconfig", kubeconfig, *option, port)
        assert await process.ends() == 1
    [reported] = [line for line in process.said.splitlines() if line.startswith("operatorkit: ")]
    assert f"port {port} cannot be used for " in reported
    assert reported.endswith(f": Address already in use: stop what listens there, or choose another with {option[-1]}")
    assert "Traceback" not in process.said


@pytest.mark.parametrize(
    "number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL], ids=lambda it: it.name
)
async def test_dev_leaves_no_file_and_no_process_behind_however_it_ends(start, tmp_path, number):
    path, temporary = _copy_of_example(tmp_path, "left"), tmp_path / "scratch"
    temporary.mkdir()
    process = start("dev", path, "--nodes", "0", env={"TMPDIR": str(temporary)})
    await process.says("website is ready")
    [folder] = temporary.glob("operatorkit-dev-*")
    assert (folder / "kubeconfig").is_file()
    process.popen.send_signal(number)
    await process.ends()
    await eventually(lambda: not any(temporary.iterdir()), timeout=60, message="nothing is left")
    await process.says("website stopped")


async def test_dev_of_a_file_that_is_not_there_says_so(start):
    process = start("dev", "nowhere.py")
    assert await process.ends() == 1
    assert process.said == "operatorkit: there is no file nowhere.py\n"
