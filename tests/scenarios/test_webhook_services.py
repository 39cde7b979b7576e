"""Webhooks behind a Service, as in a cluster: registered for it, called through it, and what cannot be reached."""

from __future__ import annotations

import asyncio
import base64
import ssl
from contextlib import asynccontextmanager

import pytest

from operatorkit import Allowed, Denied, Model, Operator, Resource
from operatorkit._runtime.admission import AtService
from operatorkit.cluster import PatchType
from operatorkit.errors import Forbidden, NotFound
from operatorkit.names import ApiResource
from operatorkit.resource import NoStatus
from operatorkit.settings import Settings
from operatorkit.testing import eventually
from operatorkit.testing.running import install_crds, running
from operatorkit.webhooks import ServiceReference, configuration_name, configurations
from operatorkit.webhooks.certificates import SECRETS, Bundle
from operatorkit.webhooks.manifests import CONFIGURATIONS
from operatorkit.webhooks.registration import remove

VALIDATING = CONFIGURATIONS["validate"]
SERVICES = ApiResource("", "v1", "Service", "services", namespaced=True)
SLICES = ApiResource("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices", namespaced=True)
NAME = "parcels-webhook"


class ParcelSpec(Model):
    weight: int = 1


class Parcel(Resource[ParcelSpec, NoStatus], group="services.example.io", version="v1"):
    """A thing that passes a door."""


PARCELS = Parcel.api_resource()


@pytest.fixture(autouse=True)
def routed(controlplane):
    """Endpoints decide where a Service leads: so it is in the control planes that we start."""
    if controlplane.backend == "existing":
        pytest.skip("this cluster may route to Services in a way of its own")


@pytest.fixture
def port(free_port):
    """Where the operator listens, or nobody."""
    return free_port


def parcel(name="a", **spec):
    return {"apiVersion": Parcel.api_version, "kind": "Parcel", "metadata": {"name": name}, "spec": spec}


def service(**spec):
    spec = {"ports": [{"name": "webhooks", "port": 443, "targetPort": 9443}], **spec}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": NAME}, "spec": spec}


def endpoints(port, *, ready=True, port_name="webhooks"):
    """Lead to this machine. Addresses of its own are refused as such, and taken as a name."""
    return {
        "apiVersion": SLICES.api_version,
        "kind": "EndpointSlice",
        "metadata": {"name": f"{NAME}-1", "labels": {"kubernetes.io/service-name": NAME}},
        "addressType": "FQDN",
        "endpoints": [{"addresses": ["127.0.0.1"], "conditions": {"ready": ready}}],
        "ports": [{"name": port_name, "port": port}],
    }


@pytest.fixture
def behind(cluster, namespace):
    """Run an operator behind the Service; it refuses what is heavy, in the namespace of the test."""

    @asynccontextmanager
    async def run(*, port=0, only_ca=False, **options):
        app = Operator(f"parcels-{namespace}", settings=Settings(own_namespace=namespace))

        @app.validate(Parcel, **options)
        async def validate(new, old, request):
            return Denied("too heavy") if new.spec.weight > 10 else Allowed(warnings=["weighed"])

        reference = ServiceReference(namespace=namespace, name=NAME)
        client_config = AtService(service=reference, port=port, only_ca=only_ca)
        await install_crds(cluster, [Parcel])
        async with running(app, cluster, namespace=namespace, webhooks=client_config):
            yield app, reference

    return run


async def reported(http):
    """Send what is to be refused; return the answer's status and its message."""
    answer = await http.post(http.path("services.example.io/v1/parcels"), parcel(weight=11), query={"dryRun": "All"})
    return answer.status, answer.json.get("message")


async def test_a_review_through_a_service_is_answered(behind, cluster, http, namespace, port):
    await cluster.create(SERVICES, service(), namespace=namespace)
    await cluster.create(SLICES, endpoints(port), namespace=namespace)
    async with behind(port=port) as (app, _):
        rejection = 'admission webhook "validate.parcels.services.example.io" denied the request: too heavy'

        async def rejected():
            assert await reported(http) == (403, rejection)
            return True

        await eventually(rejected, message="the API server asks through the Service")
        with pytest.raises(Forbidden, match="too heavy"):
            await cluster.create(PARCELS, parcel(weight=11), namespace=namespace)
        answer = await http.post(http.path("services.example.io/v1/parcels"), parcel(weight=1))
        assert (answer.status, answer.warnings) == (201, ('299 - "weighed"',))
    assert await remove(cluster, app.name)


async def test_of_two_replicas_that_start_at_once_one_writes_and_any_answers(
    behind, cluster, http, namespace, find_port
):
    await cluster.create(SERVICES, service(), namespace=namespace)
    ports = [find_port(), find_port()]
    await cluster.create(SLICES, endpoints(ports[0]), namespace=namespace)
    replicas = [behind(port=port) for port in ports]
    (app, _), _ = await asyncio.gather(*(it.__aenter__() for it in replicas))
    try:
        leaves = [await asyncio.to_thread(ssl.get_server_certificate, ("127.0.0.1", port)) for port in ports]
        assert leaves[0] == leaves[1]
        held = Bundle.read(await cluster.get(SECRETS, f"{NAME}-tls", namespace=namespace))
        assert held.cert_pem.decode().strip() == leaves[0].strip()

        async def rejected():
            assert (await reported(http))[0] == 403
            return True

        await eventually(rejected, message="the first answers")
        await replicas[0].__aexit__(None, None, None)
        moved = {"ports": [{"name": "webhooks", "port": ports[1]}]}
        await cluster.patch(SLICES, f"{NAME}-1", moved, patch_type=PatchType.MERGE, namespace=namespace)
        await eventually(rejected, message="the second answers")
    finally:
        await replicas[1].__aexit__(None, None, None)
        await remove(cluster, app.name)


UNREACHABLE = {
    "no Service": (None, None, 'service "parcels-webhook" not found'),
    "a name elsewhere": (
        {"type": "ExternalName", "externalName": "localhost"},
        None,
        'unsupported service type "ExternalName"',
    ),
    "another port": (
        {"ports": [{"name": "webhooks", "port": 8443}]},
        {},
        'no service port 443 found for service "parcels-webhook"',
    ),
    "no endpoints": ({}, None, 'no endpoints available for service "parcels-webhook"'),
    "none that is ready": ({}, {"ready": False}, 'no endpoints available for service "parcels-webhook"'),
    "none of that port": ({}, {"port_name": "other"}, 'no endpoints available for service "parcels-webhook"'),
    "headless, with nobody there": (
        {"clusterIP": "None", "ports": [{"name": "webhooks", "port": 443}]},
        {},
        "dial tcp 127.0.0.1:{port}: connect: connection refused",
    ),
}


@pytest.mark.parametrize("case", UNREACHABLE)
@pytest.mark.parametrize("failure_policy", ["Fail", "Ignore"])
async def test_a_service_that_leads_nowhere_is_an_error_that_says_why(
    behind, cluster, http, namespace, port, case, failure_policy
):
    spec, slice_, why = UNREACHABLE[case]
    if spec is not None:
        await cluster.create(SERVICES, service(**spec), namespace=namespace)
    if slice_ is not None:
        await cluster.create(SLICES, endpoints(port, **slice_), namespace=namespace)
    async with behind(failure_policy=failure_policy) as (app, _):
        if failure_policy == "Ignore":
            assert (await reported(http))[0] == 201
        else:
            url = f"https://{NAME}.{namespace}.svc:443/validate/services.example.io/v1/parcels?timeout=10s"
            message = (
                'Internal error occurred: failed calling webhook "validate.parcels.services.example.io": failed to '
                f'call webhook: Post "{url}": {why.format(port=port)}'
            )

            async def rejected():
                assert await reported(http) == (500, message)
                return True

            await eventually(rejected, message="the API server calls")
    assert await remove(cluster, app.name)


async def test_a_webhook_configuration_behind_a_service_stays_until_it_is_removed(behind, cluster, namespace):
    async with behind() as (app, service):
        pass
    name = f"{NAME}.{namespace}.operatorkit.dev"
    assert name == configuration_name(app.name, service=service)
    entry = (await cluster.get(VALIDATING, name))["webhooks"][0]
    bundle = Bundle.read(await cluster.get(SECRETS, f"{NAME}-tls", namespace=namespace))
    assert entry["clientConfig"]["service"] == {
        "namespace": namespace,
        "name": NAME,
        "port": 443,
        "path": "/validate/services.example.io/v1/parcels",
    }
    assert base64.b64decode(entry["clientConfig"]["caBundle"]) == bundle.ca_pem
    assert entry["namespaceSelector"]["matchExpressions"] == [
        {"key": "kubernetes.io/metadata.name", "operator": "In", "values": [namespace]}
    ]
    assert await remove(cluster, app.name) == [f"ValidatingWebhookConfiguration {name}"]
    assert await remove(cluster, app.name) == []
    with pytest.raises(NotFound):
        await cluster.get(VALIDATING, name)


async def test_a_webhook_configuration_of_a_chart_gets_the_ca_and_nothing_else(behind, cluster, namespace, caplog):
    async with behind(only_ca=True) as (app, service):
        name = configuration_name(app.name, service=service)
        with pytest.raises(NotFound):
            await cluster.get(VALIDATING, name)
        [warning] = [it.getMessage() for it in caplog.records if "are not called until" in it.getMessage()]
        assert f"until there is a ValidatingWebhookConfiguration {name}" in warning
        (manifest,) = configurations(app.name, app.webhooks, at=service, namespace=namespace, managed_by="Helm")
        manifest["webhooks"][0]["failurePolicy"] = "Ignore"
        made = await cluster.create(VALIDATING, manifest)
        assert "caBundle" not in made["webhooks"][0]["clientConfig"]

        async def completed():
            live = await cluster.get(VALIDATING, name)
            return live["webhooks"][0] if "caBundle" in live["webhooks"][0]["clientConfig"] else None

        entry = await eventually(completed, message="the CA is told")
        del entry["clientConfig"]["caBundle"]
        assert entry == made["webhooks"][0]
        assert await remove(cluster, app.name) == []
        await cluster.delete(VALIDATING, name)
    with pytest.raises(NotFound):
        await cluster.get(VALIDATING, name)
