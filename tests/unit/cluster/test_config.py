import base64
import json
import os
import ssl
import stat
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from operatorkit.cluster import config as config_module
from operatorkit.cluster import load_config
from operatorkit.cluster.trust import FollowingContext
from operatorkit.errors import InputError


def kubeconfig(user=None, cluster=None, **context):
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "c",
        "contexts": [
            {"name": "c", "context": {"cluster": "k", "user": "u", **context}},
            {"name": "other", "context": {"cluster": "k", "user": "u", "namespace": "elsewhere"}},
        ],
        "clusters": [{"name": "k", "cluster": {"server": "https://127.0.0.1:6443/", **(cluster or {})}}],
        "users": [{"name": "u", "user": {"token": "t"} if user is None else user}],
    }


def certificate():
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = datetime(2026, 1, 1, tzinfo=UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=36500))
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return made.public_bytes(serialization.Encoding.PEM), private


async def authorization(config, now=0.0):
    return dict(await config.credentials.headers(now=now)).get("Authorization")


@pytest.fixture(autouse=True)
def nowhere(monkeypatch, tmp_path):
    """Neither the developer's kubeconfig nor a pod's environment."""
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    for name in ("http_proxy", "https_proxy", "no_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


async def test_a_kubeconfig_given_as_data_is_read():
    certificate_pem, key_pem = certificate()
    encoded = {name: base64.b64encode(data).decode() for name, data in (("c", certificate_pem), ("k", key_pem))}
    user = {"client-certificate-data": encoded["c"], "client-key-data": encoded["k"]}
    cluster = {"certificate-authority-data": encoded["c"], "tls-server-name": "kubernetes", "proxy-url": "http://p:1"}
    config = load_config(kubeconfig(user, cluster, namespace="team"))
    assert (config.server, config.namespace) == ("https://127.0.0.1:6443", "team")
    assert (config.tls_server_name, config.proxy) == ("kubernetes", "http://p:1")
    assert config.ssl_context.verify_mode is ssl.CERT_REQUIRED
    assert config.ssl_context.cert_store_stats()["x509"] == 1
    assert await authorization(config) is None
    assert config.origin == "context c (user u) of the kubeconfig given"


async def test_no_key_is_left_on_the_disk(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    certificate_pem, key_pem = (base64.b64encode(data).decode() for data in certificate())
    load_config(kubeconfig({"client-certificate-data": certificate_pem, "client-key-data": key_pem}))
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


async def test_another_context_can_be_chosen():
    assert load_config(kubeconfig(namespace="here"), context="other").namespace == "elsewhere"
    with pytest.raises(InputError, match=r"the kubeconfig given has no context 'nope': it has .*other"):
        load_config(kubeconfig(), context="nope")


async def test_a_connection_without_verification_is_only_made_when_asked_for():
    config = load_config(kubeconfig(cluster={"insecure-skip-tls-verify": True}))
    assert config.ssl_context.verify_mode is ssl.CERT_NONE
    assert load_config(kubeconfig(cluster={"server": "http://127.0.0.1:8001"})).ssl_context is None


@pytest.mark.parametrize(
    ("user", "header"),
    [({"token": "abc"}, "Bearer abc"), ({"username": "joe", "password": "pw"}, "Basic am9lOnB3")],
)
async def test_tokens_and_passwords_become_headers(user, header):
    assert await authorization(load_config(kubeconfig(user))) == header


@pytest.mark.parametrize(
    ("server", "proxy_url", "no_proxy", "expected"),
    [
        ("https://k8s.example.io:6443", None, "", "http://proxy.example.io:3128"),
        ("https://k8s.example.io:6443", "http://mine:1", "", "http://mine:1"),
        ("https://k8s.example.io:6443", None, ".example.io", None),
        ("https://127.0.0.1:6443", None, "", None),
        ("https://localhost:6443", None, "", None),
    ],
)
def test_a_proxy_is_used_as_the_kubeconfig_or_else_the_environment_says(
    monkeypatch, server, proxy_url, no_proxy, expected
):
    monkeypatch.setenv("https_proxy", "http://proxy.example.io:3128")
    monkeypatch.setenv("no_proxy", no_proxy)
    cluster = {"server": server, **({"proxy-url": proxy_url} if proxy_url else {})}
    assert load_config(kubeconfig(cluster=cluster)).proxy == expected


def test_a_proxy_of_another_kind_is_rejected():
    with pytest.raises(InputError, match="only http:// and https:// proxies"):
        load_config(kubeconfig(cluster={"proxy-url": "socks5://127.0.0.1:1080"}))


async def test_impersonation_is_passed_on():
    user = {"token": "t", "as": "joe", "as-groups": ["a", "b"], "as-uid": "7", "as-user-extra": {"Scope/x": ["y"]}}
    headers = await load_config(kubeconfig(user)).credentials.headers(now=0)
    assert headers[1:] == (
        ("Impersonate-User", "joe"),
        ("Impersonate-Uid", "7"),
        ("Impersonate-Group", "a"),
        ("Impersonate-Group", "b"),
        ("Impersonate-Extra-Scope%2Fx", "y"),
    )


async def test_files_are_found_beside_the_kubeconfig_and_a_token_file_is_read_again(tmp_path, caplog):
    certificate_pem, _ = certificate()
    (tmp_path / "ca.crt").write_bytes(certificate_pem)
    (tmp_path / "token").write_text("one\n")
    path = tmp_path / "config"
    path.write_text(yaml.safe_dump(kubeconfig({"tokenFile": "token"}, {"certificate-authority": "ca.crt"})))
    config = load_config(path)
    assert config.origin == f"context c (user u) of {path}"
    assert await authorization(config) == "Bearer one"
    (tmp_path / "token").write_text("two\n")
    assert await authorization(config, now=5.0) == "Bearer one"
    assert await authorization(config, now=10.0) == "Bearer two"
    (tmp_path / "token").unlink()
    assert await authorization(config, now=25.0) == "Bearer two"
    assert "cannot be renewed" in caplog.text
    (tmp_path / "token").write_text("three\n")
    assert await authorization(config, now=40.0) == "Bearer three"


def plugin(path: Path, body: str) -> dict:
    path.write_text(f"#!{sys.executable}\n{body}")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": str(path)}}


async def test_a_credential_plugin_gives_the_token_and_is_run_again_when_it_is_rejected(tmp_path):
    count = tmp_path / "count"
    count.write_text("")
    answer = {"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": {"token": "TOKEN"}}
    body = f"""
import pathlib
count = pathlib.Path({str(count)!r})
count.write_text(count.read_text() + "x")
print({json.dumps(answer)!r}.replace("TOKEN", count.read_text()))
"""
    config = load_config(kubeconfig(plugin(tmp_path / "plugin", body)))
    used = await config.credentials.headers(now=0)
    assert dict(used)["Authorization"] == "Bearer x"
    assert await config.credentials.refresh(used, now=1)
    assert await authorization(config, now=1) == "Bearer xx"
    assert await config.credentials.refresh(used, now=2), "somebody else loaded them meanwhile: that will do"
    assert count.read_text() == "xx"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("import sys; sys.exit('please log in first')", "please log in first"),
        ("print('no json')", "failed to decode"),
        ('print(\'{"apiVersion":"client.authentication.k8s.io/v1","kind":"E","status":{}}\')', "neither a token nor"),
    ],
)
def test_a_plugin_that_fails_is_named_with_what_it_said(tmp_path, body, words):
    with pytest.raises(InputError, match=words) as caught:
        load_config(kubeconfig(plugin(tmp_path / "plugin", body)))
    assert "plugin'" in str(caught.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({}, "current-context"),
        ({**kubeconfig(), "users": []}, "names the user 'u'"),
        ({**kubeconfig(), "clusters": []}, "names the cluster 'k', which is not under `clusters`"),
        (kubeconfig(cluster={"server": "127.0.0.1:6443"}), "write a URL such as"),
        (kubeconfig({"client-certificate-data": "Zm9v"}), "no `client-key`"),
        (kubeconfig(cluster={"certificate-authority-data": "Zm9v"}), "the kubeconfig given: "),
        (kubeconfig({"tokenFile": "/does/not/exist"}), "/does/not/exist"),
    ],
)
def test_a_kubeconfig_that_is_wrong_gives_one_message_that_says_where(content, words):
    with pytest.raises(InputError) as caught:
        load_config(content)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "- a\n- b\n", "a: [", "just text"])
def test_a_file_that_is_no_kubeconfig_is_named(tmp_path, text):
    path = tmp_path / "config"
    path.write_text(text)
    with pytest.raises(InputError, match=str(path)):
        load_config(path)


def test_a_file_of_something_else_is_reported_with_what_it_holds(tmp_path):
    path = tmp_path / "config"
    path.write_text("just text")
    with pytest.raises(InputError, match="it holds a str, not a mapping: it should begin with `apiVersion: v1`"):
        load_config(path)
    with pytest.raises(InputError, match=f"{tmp_path} is a directory: name the file with --kubeconfig"):
        load_config(tmp_path)


def test_a_missing_file_says_how_to_get_one():
    with pytest.raises(InputError, match=r"no kubeconfig at ~/\.kube/config.*controlplane up"):
        load_config()
    with pytest.raises(InputError, match="no kubeconfig at /nowhere/config"):
        load_config("/nowhere/config")


def test_the_environment_comes_before_the_pod_and_the_pod_before_the_home(tmp_path, monkeypatch):
    from kubernetes.config import incluster_config

    certificate_pem, _ = certificate()
    account = tmp_path / "account"
    account.mkdir()
    (account / "token").write_text("pod-token")
    (account / "ca.crt").write_bytes(certificate_pem)
    (account / "namespace").write_text("pod-namespace\n")
    home = Path(os.environ["HOME"]) / ".kube"
    home.mkdir(parents=True)
    (home / "config").write_text(yaml.safe_dump(kubeconfig(namespace="home")))
    chosen = tmp_path / "chosen"
    chosen.write_text(yaml.safe_dump(kubeconfig(namespace="chosen")))
    monkeypatch.setattr(config_module, "_SERVICE_ACCOUNT", account)
    monkeypatch.setattr(incluster_config, "SERVICE_TOKEN_FILENAME", str(account / "token"))
    monkeypatch.setattr(incluster_config, "SERVICE_CERT_FILENAME", str(account / "ca.crt"))

    assert load_config().namespace == "home"
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "fd00::1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    in_pod = load_config()
    assert (in_pod.server, in_pod.namespace) == ("https://[fd00::1]:443", "pod-namespace")
    assert in_pod.origin == "the service account of this pod"
    monkeypatch.setenv("KUBECONFIG", os.pathsep.join(["/missing", str(chosen)]))
    assert load_config().namespace == "chosen"


async def test_the_token_of_a_pod_is_read_again(tmp_path, monkeypatch):
    from kubernetes.config import incluster_config

    certificate_pem, _ = certificate()
    (tmp_path / "token").write_text("one")
    (tmp_path / "ca.crt").write_bytes(certificate_pem)
    monkeypatch.setattr(config_module, "_SERVICE_ACCOUNT", tmp_path)
    monkeypatch.setattr(incluster_config, "SERVICE_TOKEN_FILENAME", str(tmp_path / "token"))
    monkeypatch.setattr(incluster_config, "SERVICE_CERT_FILENAME", str(tmp_path / "ca.crt"))
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    config = load_config()
    assert config.namespace == "default"
    assert isinstance(config.ssl_context, FollowingContext), "so is its file of authorities: see test_trust"
    assert await authorization(config, now=0) == "Bearer one"
    (tmp_path / "token").write_text("two")
    assert await authorization(config, now=60) == "Bearer two"


def changed(**parts):
    return {**kubeconfig(), **parts}


def of(plural, **fields):
    """Return a kubeconfig in which the first entry of a list has these fields."""
    content = kubeconfig()
    content[plural][0] = {**content[plural][0], **fields}
    return content


@pytest.fixture(params=["file", "mapping"])
def load(request, tmp_path):
    """Load a kubeconfig from a file, and as a program gives it."""

    def load(content, context=None):
        if request.param == "mapping":
            return load_config(content, context)
        (tmp_path / "config").write_text(yaml.safe_dump(content))
        return load_config(tmp_path / "config", context)

    return load


def test_a_context_is_chosen_by_name(load):
    assert load(kubeconfig(), "other").namespace == "elsewhere"
    assert load(changed(**{"current-context": None}), "other").namespace == "elsewhere"
    with pytest.raises(InputError, match=r"has no context 'nope': it has c, other"):
        load(kubeconfig(), "nope")
    with pytest.raises(InputError, match=r"no context is chosen: .*--context NAME \(there are: c, other\)"):
        load(changed(**{"current-context": ""}))


@pytest.mark.parametrize(
    "content",
    [
        of("users", user={}),
        of("users", user=None),
        {**kubeconfig(), "users": [{"name": "u"}]},
        {**kubeconfig(user={"token": None, "exec": None}), "preferences": None, "extensions": None},
        changed(contexts=[{"name": "c", "context": {"cluster": "k"}}], users=None),
        changed(contexts=[{"name": "c", "context": {"cluster": "k", "user": ""}}]),
        of("clusters", cluster={"server": "HTTPS://127.0.0.1:6443", "proxy-url": None, "extensions": [{"name": "x"}]}),
    ],
)
async def test_an_anonymous_user_and_nulls_are_as_good_as_nothing(load, content):
    config = load(content)
    assert config.server == "https://127.0.0.1:6443"
    assert await config.credentials.headers(now=0) in ((), (("Authorization", "Bearer t"),))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (changed(users="x"), "users is of type str: write a list"),
        (changed(users=["x"]), "users[0] is of type str: write an entry with a `name`, which is text"),
        (changed(contexts=[{"name": 5, "context": {}}]), "contexts[0] is of type int"),
        (changed(users=None), "names the user 'u', which is not under `users` (there are none)"),
        (of("contexts", context=None), "names the cluster '', which is not under `clusters` (k)"),
        (
            of("contexts", context={"cluster": "k", "namespace": [1]}),
            "contexts[name=c].context.namespace is of type list",
        ),
        (kubeconfig(user={"token": 5}), "users[name=u].user.token is of type int: write text (in quotes)"),
        (kubeconfig(user={"as-groups": "x"}), "user.as-groups is of type str: write a list of texts"),
        (kubeconfig(user={"as-user-extra": {"a": 5}}), "user.as-user-extra is of type dict: write a mapping to lists"),
        (kubeconfig(user={"exec": {"apiVersion": "v1"}}), "user.exec.command is missing: a credential plugin needs it"),
        (kubeconfig(user={"exec": {"apiVersion": "v1", "command": "x", "env": ["a"]}}), "user.exec.env has an entry"),
        (kubeconfig(cluster={"server": 5}), "clusters[name=k].cluster.server is of type int"),
        (kubeconfig(cluster={"server": "https://a:99999"}), "Port out of range"),
        (kubeconfig(cluster={"server": "https:///k8s"}), "which names no host"),
        (kubeconfig(cluster={"server": "https://a b"}), "which names no host"),
        (kubeconfig(cluster={"insecure-skip-tls-verify": "yes"}), "write true or false"),
    ],
)
def test_a_kubeconfig_of_a_wrong_shape_is_reported_by_field(load, content, words):
    with pytest.raises(InputError) as caught:
        load(content)
    assert words in str(caught.value)


def test_no_secret_is_in_what_is_said_of_a_file(tmp_path):
    secret = {"password": "s3cret", "username": "me", "client-certificate-data": "czNjcmV0", "client-key-data": "!"}
    (tmp_path / "config").write_text(yaml.safe_dump(kubeconfig(user=secret)))
    with pytest.raises(InputError) as caught:
        load_config(tmp_path / "config")
    assert "s3cret" not in str(caught.value)
    assert "czNjcmV0" not in str(caught.value)


def test_of_several_files_the_first_that_chooses_a_context_wins_and_empty_ones_count_for_nothing(tmp_path, monkeypatch):
    (tmp_path / "a").write_text("")
    (tmp_path / "b").write_text(yaml.safe_dump({**kubeconfig(), "current-context": "other"}))
    (tmp_path / "c").write_text(yaml.safe_dump({"apiVersion": "v1", "kind": "Config", "current-context": "c"}))
    monkeypatch.setenv("KUBECONFIG", os.pathsep.join(str(tmp_path / name) for name in "abc"))
    assert load_config().namespace == "elsewhere"
    with pytest.raises(InputError, match="is empty: it should begin with"):
        load_config(tmp_path / "a")
