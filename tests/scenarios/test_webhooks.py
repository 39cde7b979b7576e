"""Webhooks of an operator, from the declaration to what a caller sees, and what happens when they are not well."""

from __future__ import annotations

import asyncio
import base64
import socket
import ssl
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import pytest_asyncio

from operatorkit import Allowed, Denied, Model, Mutated, Operator, Resource
from operatorkit._runtime.admission import NAMESPACES, AtUrl, secret_name
from operatorkit.clock import SYSTEM_CLOCK
from operatorkit.cluster import PatchType
from operatorkit.errors import ClusterError, Forbidden, Invalid, NotFound
from operatorkit.resource import NoStatus
from operatorkit.settings import Settings
from operatorkit.testing import FakeClock, eventually
from operatorkit.testing.running import install_crds, running
from operatorkit.webhooks import configuration_name, configurations, invalid, required
from operatorkit.webhooks.certificates import CA_LIFE, LEAF_LIFE, SECRETS, Bundle, CertificateStore, renewed
from operatorkit.webhooks.manifests import CONFIGURATIONS
from operatorkit.webhooks.registration import remove_stale
from operatorkit.webhooks.server import WebhookServer

VALIDATING = CONFIGURATIONS["validate"]


class GadgetSpec(Model):
    size: int = 1
    colour: str | None = None
    shape: str | None = None


class Gadget(Resource[GadgetSpec, NoStatus], group="webhooks.example.io", version="v1", external=False):
    """A thing with a door."""


GADGETS = Gadget.api_resource()


def gadget(name="a", **spec):
    return {"apiVersion": Gadget.api_version, "kind": "Gadget", "metadata": {"name": name}, "spec": spec}


class Door:
    """What the functions of the operator do, and what they were asked."""

    def __init__(self) -> None:
        self.asked = []
        self.mutating = 0
        self.decide = lambda new, old: Allowed()
        self.change = lambda obj: Allowed()
        self.gate = asyncio.Event()
        self.gate.set()


@pytest.fixture
def door():
    return Door()


@pytest.fixture
def served(operator, cluster, door, namespace):
    """Run an operator of this test's own, whose webhooks are for this test's namespace."""

    @asynccontextmanager
    async def run(*, webhooks=None, clock=None, network_clock=None, name=None, limited=False, seconds=20, **options):
        app = Operator(name or f"gadgets-{namespace}")
        app.settings = replace(app.settings, own_namespace=namespace)
        options = {"namespace_selector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}, **options}

        @app.validate(Gadget, operations=["CREATE", "UPDATE", "DELETE"], timeout=timedelta(seconds=seconds), **options)
        async def validate(new, old, request):
            door.asked.append(request)
            await door.gate.wait()
            return door.decide(new, old)

        @app.mutate(Gadget, reinvocation=True, **options)
        async def mutate(obj, request):
            door.mutating += 1
            return door.change(obj)

        app.reads(Gadget)
        clocks = {"clock": clock, "network_clock": network_clock}
        more = {name: it for name, it in clocks.items() if it is not None}
        more["namespace"] = namespace if limited else None
        async with operator(app, webhooks=webhooks or AtUrl(), **more) as running:
            await in_force(cluster, door)
            running.app = app
            yield running

    return run


@pytest_asyncio.fixture
async def elsewhere(cluster, namespace):
    """Another namespace."""
    name = f"{namespace}-elsewhere"
    await cluster.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    yield name
    await cluster.delete(NAMESPACES, name)


async def in_force(cluster, door):
    """Return when the API server, which hears of each of the two registrations a moment later, asks both."""

    async def asks():
        await cluster.create(GADGETS, gadget("probe"), namespace=cluster.namespace, dry_run=True)
        return door.asked and door.mutating

    await eventually(asks, message="the API server asks the webhooks")
    door.asked.clear()


async def test_a_denial_names_all_its_causes(served, cluster, door):
    async with served():
        door.decide = lambda new, old: Denied(
            invalid("spec.size", new.spec.size, "must be positive"),
            required("spec.colour"),
            invalid("spec.shape", "x", "must be round"),
        )
        with pytest.raises(Invalid) as rejected:
            await cluster.create(GADGETS, gadget(size=-1), namespace=cluster.namespace)
        assert rejected.value.message == (
            'admission webhook "validate.gadgets.webhooks.example.io" denied the request: '
            'Gadget.webhooks.example.io "a" is invalid: [spec.size: Invalid value: -1: must be positive, '
            'spec.colour: Required value, spec.shape: Invalid value: "x": must be round]'
        )
        assert [cause.field for cause in rejected.value.causes] == ["spec.size", "spec.colour", "spec.shape"]


async def test_a_mutation_is_stored_and_a_warning_reaches_the_caller(served, http, door):
    def change(obj):
        if obj.spec.colour is not None:
            return Allowed()
        obj.spec.colour = "red"
        return Mutated(obj, warnings=["no colour: red it is"])

    async with served():
        door.change = change
        answer = await http.post(http.path("webhooks.example.io/v1/gadgets"), gadget(size=3))
        assert answer.status == 201, answer.text
        assert answer.json["spec"] == {"size": 3, "colour": "red"}
        assert [warning.partition(" - ")[2] for warning in answer.warnings] == ['"no colour: red it is"']


async def test_a_deletion_is_asked_for_with_the_object_that_is(served, cluster, door):
    async with served():
        await cluster.create(GADGETS, gadget(size=7), namespace=cluster.namespace)
        door.decide = lambda new, old: Denied("still used") if new is None and old.spec.size == 7 else Allowed()
        with pytest.raises(Forbidden, match="still used"):
            await cluster.delete(GADGETS, "a", namespace=cluster.namespace)
        door.decide = lambda new, old: Allowed()
        await cluster.delete(GADGETS, "a", namespace=cluster.namespace)


async def test_a_dry_run_is_reported_as_one_and_stores_nothing(served, cluster, door):
    async with served():
        await cluster.create(GADGETS, gadget(), namespace=cluster.namespace, dry_run=True)
        assert [request.dry_run for request in door.asked] == [True]
        with pytest.raises(NotFound):
            await cluster.get(GADGETS, "a", namespace=cluster.namespace)


async def test_a_slow_webhook_is_an_error_in_time(served, cluster, door):
    async with served(seconds=5):
        door.gate.clear()
        with pytest.raises(ClusterError, match=r"did not respond within [34](\.[0-9]+)? s"):
            await cluster.create(GADGETS, gadget(), namespace=cluster.namespace)
        door.gate.set()


@pytest.mark.parametrize("failure", ["raises", "nonsense"])
@pytest.mark.parametrize("failure_policy", ["Fail", "Ignore"])
async def test_a_webhook_that_fails_admits_nothing(served, cluster, door, failure, failure_policy):
    def fails(new, old):
        if failure == "raises":
            raise RuntimeError("boom")
        return "yes"

    async with served(failure_policy=failure_policy):
        door.decide = fails
        with pytest.raises(ClusterError, match="bug of the operator"):
            await cluster.create(GADGETS, gadget(), namespace=cluster.namespace)


@pytest.mark.parametrize(("failure_policy", "admitted"), [("Fail", False), ("Ignore", True)])
@pytest.mark.parametrize("trouble", ["down", "wrong CA"])
async def test_without_an_answer_the_failure_policy_decides(
    served, cluster, door, namespace, failure_policy, admitted, trouble
):
    """Nobody repairs this registration: it is a copy of the operator's, in another name."""
    name = f"copy.of.{namespace}"
    async with served(failure_policy=failure_policy) as running:
        live = await cluster.get(VALIDATING, configuration_name(running.app.name))
        entry = live["webhooks"][0] | {"name": "copy.example.io"}
        if trouble == "wrong CA":
            other = renewed(None, ["127.0.0.1"], SYSTEM_CLOCK.now())
            entry["clientConfig"] = entry["clientConfig"] | {"caBundle": base64.b64encode(other.ca_pem).decode()}
        else:
            entry["clientConfig"] = entry["clientConfig"] | {"url": "https://127.0.0.1:1/validate"}
        copy = {key: live[key] for key in ("apiVersion", "kind")} | {"metadata": {"name": name}, "webhooks": [entry]}
        await cluster.create(VALIDATING, copy)
        try:
            if admitted:
                await cluster.create(GADGETS, gadget(), namespace=namespace)
                assert [request.name for request in door.asked] == ["a"]
                return

            async def rejected():
                try:
                    await cluster.create(GADGETS, gadget(), namespace=namespace, dry_run=True)
                except ClusterError as error:
                    return 'failed calling webhook "copy.example.io"' in error.message
                return False

            await eventually(rejected, message="the API server calls the copy")
        finally:
            await cluster.delete(VALIDATING, name)


async def test_a_webhook_sees_again_what_a_later_one_changed(served, cluster, door):
    """The first mutating webhook is asked once more, with the second one's change (reinvocation)."""
    seen = []

    def first(obj):
        seen.append(obj.spec.shape)
        if obj.spec.shape == "round" and obj.spec.colour != "red":
            obj.spec.colour = "red"
            return Mutated(obj)
        return Allowed()

    def second(obj):
        if obj.spec.shape is None:
            obj.spec.shape = "round"
            return Mutated(obj)
        return Allowed()

    async with served(name=f"a-{cluster.namespace}"), second_operator(second, cluster):
        door.change = first
        made = await cluster.create(GADGETS, gadget(), namespace=cluster.namespace)
    assert (made["spec"]["shape"], made["spec"]["colour"]) == ("round", "red")
    assert seen == [None, "round"]


@asynccontextmanager
async def second_operator(change, cluster):
    app = Operator(f"b-{cluster.namespace}")
    app.settings = replace(app.settings, own_namespace=cluster.namespace)
    called = []

    @app.mutate(Gadget, namespace_selector={"matchLabels": {"kubernetes.io/metadata.name": cluster.namespace}})
    async def mutate(obj, request):
        called.append(request)
        return change(obj)

    async with running(app, cluster, webhooks=AtUrl()):

        async def asks():
            await cluster.create(GADGETS, gadget("probe"), namespace=cluster.namespace, dry_run=True)
            return bool(called)

        await eventually(asks, message="the API server asks the second webhook")
        yield


async def test_a_url_is_forgotten_when_the_operator_stops(served, cluster, door):
    async with served() as running:
        name = configuration_name(running.app.name)
        assert (await cluster.get(VALIDATING, name))["webhooks"][0]["clientConfig"]["url"].startswith(
            "https://127.0.0.1:"
        )
    for resource in CONFIGURATIONS.values():
        with pytest.raises(NotFound):
            await cluster.get(resource, name)


@pytest.mark.parametrize("drift", ["changed", "deleted"])
async def test_a_webhook_configuration_that_a_user_spoils_is_repaired(served, cluster, drift):
    async with served() as running:
        name = configuration_name(running.app.name)
        before = await cluster.get(VALIDATING, name)
        if drift == "deleted":
            await cluster.delete(VALIDATING, name)
        else:
            spoilt = [before["webhooks"][0] | {"failurePolicy": "Ignore", "rules": []}]
            await cluster.patch(VALIDATING, name, {"webhooks": spoilt}, patch_type=PatchType.MERGE)

        async def repaired():
            assert (await cluster.get(VALIDATING, name))["webhooks"] == before["webhooks"]
            return True

        await eventually(repaired)


async def test_a_certificate_that_is_renewed_under_way_breaks_nothing(served, cluster, door):
    clock = FakeClock(start=datetime.now(UTC) - LEAF_LIFE * 0.7)  # API servers have clocks of their own
    async with served(clock=clock) as running:
        first = await presented(cluster, running.app)
        clock.tick(LEAF_LIFE * 0.7)

        async def changed():
            return await presented(cluster, running.app) != first

        await eventually(changed, message="another certificate is presented")
        door.decide = lambda new, old: Denied("asked")
        for _ in range(3):
            with pytest.raises(Forbidden, match="asked"):
                await cluster.create(GADGETS, gadget(), namespace=cluster.namespace)


async def test_a_new_ca_is_known_to_all_before_its_leaf_is_presented(served, cluster, door, namespace):
    """Nobody is told of a certificate of an unknown authority while it changes, under steady traffic."""
    start = datetime.now(UTC) - LEAF_LIFE * 0.6
    old = renewed(None, ["127.0.0.1"], start - CA_LIFE * 0.6)
    known = renewed(old, ["127.0.0.1"], start)
    assert known.ca_pem == old.ca_pem
    name = secret_name(Operator(f"gadgets-{namespace}"), AtUrl())
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": known.data()}
    await cluster.create(SECRETS, secret, namespace=namespace)
    clock, network_clock = FakeClock(start=start), FakeClock()
    async with served(clock=clock, network_clock=network_clock) as running:
        first = await presented(cluster, running.app)
        assert first.strip() == known.cert_pem.decode().strip()
        door.decide = lambda new, old: Denied("asked")

        async def reported():
            live = await cluster.get(VALIDATING, configuration_name(running.app.name))
            return base64.b64decode(live["webhooks"][0]["clientConfig"]["caBundle"]) != known.ca_pem

        async def asked():
            with pytest.raises(Forbidden, match="asked"):
                await cluster.create(GADGETS, gadget(), namespace=namespace, dry_run=True)
            return True

        clock.tick(CA_LIFE * 0.07)
        await eventually(reported, message="API servers are told of the new CA")
        await asked()
        assert await presented(cluster, running.app) == first

        async def changed():
            await asked()
            await network_clock.advance(timedelta(seconds=1))
            return await presented(cluster, running.app) != first

        await eventually(changed, timeout=30, message="another certificate is presented")
        bundle = Bundle.read(await cluster.get(SECRETS, name, namespace=namespace))
        assert bundle.ca_pem.endswith(known.ca_pem)
        assert bundle.ca_pem != known.ca_pem
        for _ in range(3):
            with pytest.raises(Forbidden, match="asked"):
                await cluster.create(GADGETS, gadget(), namespace=namespace)


async def test_what_was_asked_before_the_stop_is_answered(served, cluster, door):
    async with served() as running:
        door.decide = lambda new, old: Denied("asked")
        door.gate.clear()
        asked = asyncio.create_task(cluster.create(GADGETS, gadget(), namespace=cluster.namespace))
        await eventually(lambda: bool(door.asked), message="the API server asks")
        running.engine.stop()
        await eventually(lambda: is_forgotten(cluster, running.app), message="the registration is removed")
        door.gate.set()
        with pytest.raises(Forbidden, match="asked"):
            await asked


async def is_forgotten(cluster, app):
    try:
        await cluster.get(VALIDATING, configuration_name(app.name))
    except NotFound:
        return True
    return False


@pytest.mark.parametrize("damage", ["rubbish", "no key", "not an authority"])
async def test_a_secret_that_holds_nonsense_at_the_start_is_written_again(served, cluster, door, namespace, damage):
    data = renewed(None, ["127.0.0.1"], SYSTEM_CLOCK.now()).data()
    if damage == "rubbish":
        data["ca.crt"] = base64.b64encode(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").decode()
    elif damage == "no key":
        del data["tls.key"]
    else:
        data |= {"ca.crt": data["tls.crt"], "ca.key": data["tls.key"]}
    name = secret_name(Operator(f"gadgets-{namespace}"), AtUrl())
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": {**data, "mine": "YQ=="}}
    await cluster.create(SECRETS, secret, namespace=namespace)
    async with served():
        door.decide = lambda new, old: Denied("asked")
        with pytest.raises(Forbidden, match="asked"):
            await cluster.create(GADGETS, gadget(), namespace=namespace)
        held = await cluster.get(SECRETS, name, namespace=namespace)
        assert Bundle.read(held) is not None
        assert held["data"]["mine"] == "YQ=="


async def test_a_secret_that_was_spoilt_is_written_again_and_the_new_ca_is_registered(served, cluster, door):
    async with served() as running:
        first = await presented(cluster, running.app)
        await cluster.delete(SECRETS, secret_name(running.app, AtUrl()), namespace=cluster.namespace)

        async def changed():
            return await presented(cluster, running.app) != first

        await eventually(changed, message="another certificate is presented")
        door.decide = lambda new, old: Denied("asked")

        async def asked():
            try:
                await cluster.create(GADGETS, gadget(), namespace=cluster.namespace, dry_run=True)
            except Forbidden:
                return True
            except ClusterError:  # the API server has yet to hear of the new CA
                return False
            raise AssertionError("admitted without being asked")

        await eventually(asked, message="the API server trusts the new certificate")


async def presented(cluster, app):
    """Return the certificate that is presented where the API server calls."""
    client = (await cluster.get(VALIDATING, configuration_name(app.name)))["webhooks"][0]["clientConfig"]
    host, _, port = client["url"].removeprefix("https://").partition("/")[0].partition(":")
    return await asyncio.to_thread(ssl.get_server_certificate, (host, int(port)))


async def test_two_replicas_agree_on_one_certificate(cluster, namespace):
    stores = [
        CertificateStore(cluster, namespace=namespace, name="tls", hosts=["a.svc"], clock=SYSTEM_CLOCK)
        for _ in range(4)
    ]
    bundles = await asyncio.gather(*(store.load() for store in stores))
    assert len(set(bundles)) == 1
    assert Bundle.read(await cluster.get(SECRETS, "tls", namespace=namespace)) == bundles[0]


async def test_an_operator_in_one_namespace_evaluates_nothing_elsewhere(served, cluster, door, namespace, elsewhere):
    door.decide = lambda new, old: Allowed() if new.metadata.name == "probe" else Denied("asked")
    async with served(limited=True, namespace_selector=None):
        with pytest.raises(Forbidden, match="asked"):
            await cluster.create(GADGETS, gadget(), namespace=namespace)
        await cluster.create(GADGETS, gadget(), namespace=elsewhere)


async def test_two_operators_of_one_name_in_two_namespaces_leave_each_other_alone(
    served, cluster, door, namespace, elsewhere
):
    """As two people who run one operator in development, each in a namespace of their own."""
    other = Operator(f"gadgets-{namespace}", settings=Settings(own_namespace=elsewhere))

    @other.validate(Gadget)
    async def validate(new, old, request):
        return Denied("the other one")

    async with served(limited=True) as first, running(other, cluster, namespace=elsewhere, webhooks=AtUrl()):
        names = {configuration_name(other.name, namespace=it) for it in (namespace, elsewhere)}
        found = {it["metadata"]["name"] for it in (await cluster.list(VALIDATING)).items}
        assert names <= found

        async def rejected():
            try:
                await cluster.create(GADGETS, gadget(), namespace=elsewhere, dry_run=True)
            except Forbidden as error:
                return "the other one" in error.message
            return False

        await eventually(rejected, message="the API server asks the other one")
        await cluster.create(GADGETS, gadget(), namespace=namespace)
        assert first.app.name == other.name
    assert not names & {it["metadata"]["name"] for it in (await cluster.list(VALIDATING)).items}


async def killed(cluster, app, *, url=None):
    """Register the webhooks of an operator as a process does that is killed then, with nobody at the port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    bundle = renewed(None, ["127.0.0.1"], SYSTEM_CLOCK.now())
    found = configurations(app.name, app.webhooks, at=url or f"https://127.0.0.1:{port}", ca_pem=bundle.ca_pem)
    for one in found:
        await cluster.create(VALIDATING, one)
    return configuration_name(app.name), port


@pytest.fixture
def abandoned(namespace):
    app = Operator(f"abandoned-{namespace}")

    @app.validate(Gadget, namespace_selector={"matchLabels": {"kubernetes.io/metadata.name": namespace}})
    async def validate(new, old, request):
        return Allowed()

    return app


async def test_what_a_killed_operator_registered_says_in_the_error_how_it_is_removed(cluster, abandoned, namespace):
    await install_crds(cluster, [Gadget])
    name, port = await killed(cluster, abandoned)
    remedy = f"/if-nobody-answers-kubectl-delete/validatingwebhookconfigurations/{name}/validate/"

    async def rejected():
        with pytest.raises(ClusterError, match="connection refused") as error:
            await cluster.create(GADGETS, gadget(), namespace=namespace, dry_run=True)
        assert f"https://127.0.0.1:{port}{remedy}" in error.value.message
        return True

    await eventually(rejected, message="the API server calls nobody")
    await cluster.delete(VALIDATING, name)


@pytest.mark.parametrize("port_of", ["nobody", "another process"])
async def test_the_next_operator_on_this_machine_removes_what_a_killed_one_registered(
    served, cluster, abandoned, port_of, namespace
):
    name, port = await killed(cluster, abandoned)
    if port_of == "another process":
        bundle = renewed(None, ["127.0.0.1"], SYSTEM_CLOCK.now())
        server = WebhookServer([], port=port)
        server.use(bundle.cert_pem, bundle.key_pem)
        await server.start()
    async with served() as running:
        with pytest.raises(NotFound):
            await cluster.get(VALIDATING, name)
        await cluster.get(VALIDATING, configuration_name(running.app.name))  # its own is there
    if port_of == "another process":
        await server.stop()


@pytest.mark.parametrize("url", ["https://192.0.2.1:9443", "https://webhooks.example.io"])
async def test_what_is_elsewhere_is_never_taken_for_abandoned(cluster, abandoned, url):
    await install_crds(cluster, [Gadget])
    name, _ = await killed(cluster, abandoned, url=url)
    assert await remove_stale(cluster) == []
    await cluster.delete(VALIDATING, name)


async def test_an_operator_that_answers_is_never_taken_for_abandoned(served, cluster):
    async with served() as running:
        assert f"ValidatingWebhookConfiguration {configuration_name(running.app.name)}" not in await remove_stale(
            cluster
        )
        await cluster.get(VALIDATING, configuration_name(running.app.name))
