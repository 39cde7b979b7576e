"""A file of authorities that is replaced while a client runs, as an operator's cluster rotates its CA."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import ssl
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from operatorkit.cluster import LiveCluster, load_config
from operatorkit.errors import Unreachable


class Authority:
    """A certificate that signs itself and serves 127.0.0.1."""

    def __init__(self, directory, name):
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        now = datetime(2020, 1, 1, tzinfo=UTC)
        address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
        made = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now)
            .not_valid_after(now + timedelta(days=36500))
            .add_extension(x509.SubjectAlternativeName([address]), critical=False)
            .sign(key, hashes.SHA256())
        )
        self.pem = made.public_bytes(serialization.Encoding.PEM)
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        chain = directory / f"{name}.pem"
        chain.write_bytes(self.pem + private)
        self.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.context.load_cert_chain(chain)


@asynccontextmanager
async def serving(authority, port=0):
    async def answer(request):
        if "watch" in request.query:
            response = web.StreamResponse()
            await response.prepare(request)
            await asyncio.Event().wait()
        return web.json_response({"metadata": {}, "items": []})

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, ssl_context=authority.context, reuse_address=True).start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


@pytest.fixture
def authorities(tmp_path):
    return Authority(tmp_path, "old"), Authority(tmp_path, "new")


class Listener:
    def __init__(self):
        self.reported = []

    def hear(self, why):
        self.reported.append(why)


def kubeconfig(tmp_path, port):
    """A kubeconfig that names a file of authorities, relative to itself as kubectl writes it."""
    (tmp_path / "config").write_text(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\n"
        "contexts: [{name: c, context: {cluster: k, user: u}}]\n"
        f"clusters: [{{name: k, cluster: {{server: 'https://127.0.0.1:{port}', certificate-authority: ca.crt}}}}]\n"
        "users: [{name: u, user: {token: t}}]\n"
    )
    return load_config(str(tmp_path / "config"))


async def test_a_server_with_a_certificate_of_a_new_authority_is_trusted_as_soon_as_the_file_has_it(
    tmp_path, authorities, pods, clock
):
    old, new = authorities
    (tmp_path / "ca.crt").write_bytes(old.pem)
    listener = Listener()
    async with serving(old) as port:
        api = LiveCluster(kubeconfig(tmp_path, port), clock=clock)
        api.on_new_trust(listener.hear)
        await api.__aenter__()
        await api.list(pods)
    try:
        async with serving(new, port):
            with pytest.raises(Unreachable, match="not signed by the authority"):
                await api.list(pods)
            assert listener.reported == []
            (tmp_path / "ca.crt").write_bytes(new.pem)
            await api.list(pods)
            assert len(listener.reported) == 1
            assert "ca.crt was replaced" in listener.reported[0]
    finally:
        await api.__aexit__(None, None, None)


async def test_an_authority_that_is_taken_out_of_the_file_is_not_trusted_any_more(tmp_path, authorities, pods, clock):
    old, new = authorities
    (tmp_path / "ca.crt").write_bytes(old.pem + new.pem)
    async with serving(old) as port, LiveCluster(kubeconfig(tmp_path, port), clock=clock) as api:
        await api.list(pods)
        (tmp_path / "ca.crt").write_bytes(new.pem)
        await clock.sleep(11)
        with pytest.raises(Unreachable, match="not signed by the authority"):
            await api.list(pods)  # not even on the connection that is still open


async def test_a_file_that_is_broken_or_missing_for_a_while_changes_nothing_and_is_reported_once(
    tmp_path, authorities, pods, clock, caplog
):
    caplog.set_level(logging.WARNING)
    old, _ = authorities
    (tmp_path / "ca.crt").write_bytes(old.pem)
    async with serving(old) as port, LiveCluster(kubeconfig(tmp_path, port), clock=clock) as api:
        (tmp_path / "ca.crt").write_bytes(old.pem[:100])
        for _ in range(3):
            await clock.sleep(11)
            await api.list(pods)
        assert len(caplog.records) == 1
        assert "using the previous ones" in caplog.text
        (tmp_path / "ca.crt").unlink()
        await clock.sleep(11)
        await api.list(pods)
        assert len(caplog.records) == 2


async def test_no_socket_outlives_the_client_though_another_user_of_its_session_closed_that(tmp_path, authorities):
    old, _ = authorities
    (tmp_path / "ca.crt").write_bytes(old.pem)
    async with serving(old) as port:
        async with LiveCluster(kubeconfig(tmp_path, port)) as api:
            response = await api.session.get(f"https://127.0.0.1:{port}/api?watch=1")
            used = response.connection.transport.get_extra_info("socket")
            response.close()  # TLS says farewell, and would wait for the answer
            await api.session.close()
            assert used.fileno() >= 0
        assert used.fileno() < 0
