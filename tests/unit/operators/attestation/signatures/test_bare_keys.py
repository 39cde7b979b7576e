"""Signatures by bare keys: PKIX, cosign, DSSE and JWT, and what an attacker makes of them."""

from __future__ import annotations

import base64
import json
import random
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mldsa, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from fuzz.attestation import run

from operators.attestation.signatures import Rejected, Rejection, SignedBytes, VerificationKey, Verified, verify
from operators.attestation.signatures.dsse import IN_TOTO, pre_authentication
from operators.attestation.signatures.pkix import ALGORITHMS

DIGEST = "sha256:" + "ab" * 32
OTHER = "sha256:" + "cd" * 32
NOW = datetime(2026, 1, 1, tzinfo=UTC)
HASHES = {"SHA256": hashes.SHA256(), "SHA384": hashes.SHA384(), "SHA512": hashes.SHA512()}
_KEYS = {}


def simple(digest=DIGEST, kind="atomic container signature"):
    identity = {"docker-reference": "gcr.io/app"}
    critical = {"identity": identity, "image": {"docker-manifest-digest": digest}, "type": kind}
    return json.dumps({"critical": critical, "optional": None}).encode()


def in_toto(*digests, kind="https://in-toto.io/Statement/v1"):
    subject = [{"name": "app", "digest": {"sha256": digest.removeprefix("sha256:")}} for digest in digests]
    return json.dumps({"_type": kind, "subject": subject, "predicateType": "x", "predicate": {}}).encode()


def private(algorithm):
    """Return one key for an algorithm, made once."""
    name = (
        algorithm if not algorithm.startswith("RSA") else f"RSA {next(p for p in algorithm.split('_') if p.isdigit())}"
    )
    if name not in _KEYS:
        _KEYS[name] = {
            "ECDSA_P256_SHA256": lambda: ec.generate_private_key(ec.SECP256R1()),
            "ECDSA_P384_SHA384": lambda: ec.generate_private_key(ec.SECP384R1()),
            "ECDSA_P521_SHA512": lambda: ec.generate_private_key(ec.SECP521R1()),
            "ED25519": ed25519.Ed25519PrivateKey.generate,
            "ML_DSA_65": mldsa.MLDSA65PrivateKey.generate,
        }.get(name, lambda: rsa.generate_private_key(65537, int(name.split()[1])))()
    return _KEYS[name]


def signature(algorithm, content):
    key, digest = private(algorithm), HASHES.get(algorithm.rpartition("_")[2])
    if algorithm.startswith("RSA_PSS"):
        return key.sign(content, padding.PSS(padding.MGF1(digest), digest.digest_size), digest)
    if algorithm.startswith("RSA"):
        return key.sign(content, padding.PKCS1v15(), digest)
    return key.sign(content, ec.ECDSA(digest)) if algorithm.startswith("ECDSA") else key.sign(content)


def pem(algorithm):
    public = private(algorithm).public_key()
    return public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def key(algorithm="ED25519", type_="PKIX", **more):
    more = {"signature_algorithm": algorithm, **more}
    return VerificationKey(id="k", type=type_, public_key=pem(algorithm), **more)


def rejection(signed, *keys, now=NOW):
    result = verify(signed, keys, now)
    assert isinstance(result, Rejected), result
    return result.reason


def verified(signed, *keys):
    result = verify(signed, keys, NOW)
    assert isinstance(result, Verified), result
    return result


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_each_algorithm_verifies_its_own_signature_and_no_other(algorithm):
    signed = SignedBytes(signature(algorithm, simple()), simple())
    found = verified(signed, key(algorithm))
    assert (found.statement.digest, found.statement.name, found.signed_at) == (DIGEST, "gcr.io/app", None)
    assert rejection(SignedBytes(signed.signature, simple(OTHER)), key(algorithm)) == Rejection.NOT_SIGNED_BY_KEY
    assert rejection(SignedBytes(signed.signature), key(algorithm)) == Rejection.NO_PAYLOAD
    if algorithm.startswith("RSA"):
        other = next(one for one in ALGORITHMS if one != algorithm and one.split("_")[-2] == algorithm.split("_")[-2])
        assert rejection(signed, key(other)) == Rejection.NOT_SIGNED_BY_KEY
        assert rejection(signed, key(algorithm, signature_algorithm=None)) == Rejection.KEY_NOT_VALID
    else:
        assert verified(signed, key(algorithm, signature_algorithm=None)).fingerprint == found.fingerprint


def test_a_key_that_is_not_for_its_algorithm_or_too_small_is_said_to_be():
    small = rsa.generate_private_key(65537, 1024).public_key()
    p224 = ec.generate_private_key(ec.SECP224R1()).public_key()
    as_pem = (serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    signed = SignedBytes(b"x", simple())
    for public, algorithm in (
        (small.public_bytes(*as_pem), "RSA_PSS_2048_SHA256"),
        (p224.public_bytes(*as_pem), None),
        (pem("ED25519"), "ECDSA_P256_SHA256"),
        (pem("RSA_PSS_2048_SHA256"), "RSA_PSS_4096_SHA256"),
        (b"junk", None),
    ):
        wrong = VerificationKey(id="k", type="PKIX", public_key=public, signature_algorithm=algorithm)
        assert rejection(signed, wrong) == Rejection.KEY_NOT_VALID


def test_the_same_key_under_two_ids_has_one_fingerprint():
    signed = SignedBytes(signature("ED25519", simple()), simple())
    one, two = (VerificationKey(id=name, type="PKIX", public_key=pem("ED25519")) for name in ("a", "../b"))
    assert verified(signed, one).fingerprint == verified(signed, two).fingerprint


def test_a_revoked_bare_key_counts_no_more():
    signed = SignedBytes(signature("ED25519", simple()), simple())
    assert rejection(signed, key(revoked_at=NOW)) == Rejection.KEY_NOT_VALID


def test_cosign_signs_simple_signing_and_nothing_else_counts():
    payload = simple(kind="cosign container image signature")
    algorithm = "ECDSA_P256_SHA256"
    cosign = key(algorithm, "Cosign")
    assert verified(SignedBytes(signature(algorithm, payload), payload), cosign).statement.digest == DIGEST
    text = DIGEST.encode()
    assert rejection(SignedBytes(signature(algorithm, text), text), cosign) == Rejection.UNCLEAR_STATEMENT
    rsa_key = "RSA_SIGN_PKCS1_3072_SHA256"
    assert verified(SignedBytes(signature(rsa_key, payload), payload), key(rsa_key, "Cosign", signature_algorithm=None))


def envelope(payload, payload_type=IN_TOTO, *, signed_type=IN_TOTO, algorithm="ED25519"):
    return SignedBytes(signature(algorithm, pre_authentication(signed_type, payload)), payload, "dsse", payload_type)


def test_an_in_toto_statement_in_an_envelope_names_its_digest():
    for kind in ("https://in-toto.io/Statement/v1", "https://in-toto.io/Statement/v0.1"):
        assert verified(envelope(in_toto(DIGEST, kind=kind)), key(type_="DSSE")).statement.digest == DIGEST


@pytest.mark.parametrize(
    ("signed", "reason"),
    [
        (lambda: envelope(in_toto(DIGEST), "text/plain", signed_type="text/plain"), Rejection.UNCLEAR_STATEMENT),
        (lambda: envelope(in_toto(DIGEST), signed_type="text/plain"), Rejection.NOT_SIGNED_BY_KEY),
        (lambda: envelope(in_toto()), Rejection.UNCLEAR_STATEMENT),
        (lambda: envelope(in_toto(DIGEST, OTHER)), Rejection.UNCLEAR_STATEMENT),
        (lambda: envelope(in_toto("sha256:abc")), Rejection.UNCLEAR_STATEMENT),
        (lambda: envelope(in_toto(DIGEST, kind="another")), Rejection.UNCLEAR_STATEMENT),
        (lambda: envelope(simple()), Rejection.UNCLEAR_STATEMENT),
        (lambda: envelope(b"\xff"), Rejection.UNCLEAR_STATEMENT),
        (
            lambda: SignedBytes(signature("ED25519", in_toto(DIGEST)), in_toto(DIGEST), "dsse", IN_TOTO),
            Rejection.NOT_SIGNED_BY_KEY,
        ),
        (lambda: SignedBytes(envelope(in_toto(DIGEST)).signature, in_toto(DIGEST)), Rejection.NOT_SIGNED_BY_KEY),
    ],
)
def test_an_envelope_that_is_not_exactly_that_proves_nothing(signed, reason):
    assert rejection(signed(), key(type_="DSSE")) == reason


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def token(algorithm="ECDSA_P256_SHA256", alg="ES256", header=None, sign=None, **claims):
    head = {"typ": "JWT", "alg": alg, "kid": "../../etc"} if header is None else header
    body = {"sub": f"container:digest:{DIGEST}", "aud": "//binaryauthorization.googleapis.com", **claims}
    content = b64(json.dumps(head).encode()) + b"." + b64(json.dumps(body).encode())
    made = (sign or (lambda data: native(algorithm, data)))(content)
    return SignedBytes(content + b"." + b64(made), form="jwt")


def native(algorithm, content):
    made = signature(algorithm, content)
    if not algorithm.startswith("ECDSA"):
        return made
    size = (private(algorithm).curve.key_size + 7) // 8
    return b"".join(number.to_bytes(size, "big") for number in decode_dss_signature(made))


@pytest.mark.parametrize(
    ("algorithm", "alg"),
    [
        ("ECDSA_P256_SHA256", "ES256"),
        ("ECDSA_P521_SHA512", "ES512"),
        ("ED25519", "EdDSA"),
        ("RSA_PSS_2048_SHA256", "PS256"),
        ("RSA_SIGN_PKCS1_4096_SHA512", "RS512"),
    ],
)
def test_a_token_names_the_digest_in_its_subject(algorithm, alg):
    made = NOW - timedelta(minutes=1)
    found = verified(token(algorithm, alg, iat=made.timestamp()), key(algorithm, "JWT"))
    assert (found.statement.digest, found.signed_at) == (DIGEST, made)


def hmac_with_the_public_key(content):
    import hashlib
    import hmac

    return hmac.new(pem("ECDSA_P256_SHA256"), content, hashlib.sha256).digest()


TOKENS = {
    "alg none": (lambda: token(alg="none", sign=lambda _: b""), Rejection.NOT_SIGNED_BY_KEY),
    "the public key as a secret": (
        lambda: token(alg="HS256", sign=hmac_with_the_public_key),
        Rejection.NOT_SIGNED_BY_KEY,
    ),
    "another algorithm": (lambda: token(alg="ES384"), Rejection.NOT_SIGNED_BY_KEY),
    "no algorithm": (lambda: token(header={"typ": "JWT"}), Rejection.NOT_SIGNED_BY_KEY),
    "a key of its own": (lambda: token(header={"alg": "ES256", "jwk": {}}), Rejection.NOT_SIGNED_BY_KEY),
    "a critical extension": (lambda: token(header={"alg": "ES256", "crit": ["x"]}), Rejection.NOT_SIGNED_BY_KEY),
    "another digest": (lambda: token(sub=f"container:digest:{OTHER[:-1]}"), Rejection.UNCLEAR_STATEMENT),
    "no subject": (lambda: token(sub=None), Rejection.UNCLEAR_STATEMENT),
    "another audience": (lambda: token(aud="https://elsewhere"), Rejection.UNCLEAR_STATEMENT),
    "expired": (lambda: token(exp=(NOW - timedelta(seconds=1)).timestamp()), Rejection.SIGNATURE_EXPIRED),
    "not yet": (lambda: token(nbf=(NOW + timedelta(hours=1)).timestamp()), Rejection.SIGNATURE_EXPIRED),
    "a time that is none": (lambda: token(exp="soon"), Rejection.UNCLEAR_STATEMENT),
    "a DER signature": (lambda: token(sign=lambda c: signature("ECDSA_P256_SHA256", c)), Rejection.NOT_SIGNED_BY_KEY),
    "two parts": (lambda: SignedBytes(b"a.b", form="jwt"), Rejection.MALFORMED),
    "padding": (lambda: SignedBytes(b"e30=.e30=.", form="jwt"), Rejection.MALFORMED),
    "not a token": (lambda: SignedBytes(b"\xff.\xff.\xff", form="jwt"), Rejection.MALFORMED),
}


@pytest.mark.parametrize(("signed", "reason"), TOKENS.values(), ids=TOKENS)
def test_a_token_that_is_not_exactly_that_proves_nothing(signed, reason):
    assert rejection(signed(), key("ECDSA_P256_SHA256", "JWT")) == reason


def test_a_key_of_one_type_verifies_no_signatures_of_another():
    signed = SignedBytes(signature("ED25519", simple()), simple())
    for type_ in ("JWT", "DSSE", "PGP"):
        assert rejection(signed, key(type_=type_)) in {
            Rejection.NOT_SIGNED_BY_KEY,
            Rejection.MALFORMED,
            Rejection.KEY_NOT_VALID,
        }


def test_mutants_of_tokens_and_payloads_prove_nothing_else():
    jwt = key("ECDSA_P256_SHA256", "JWT")
    outcome = run([token().signature], [jwt], DIGEST, random.Random(2), count=400, now=NOW, form="jwt")
    assert (outcome.wrong, outcome.rejected > 300) == ([], True)
    outcome = run(
        [simple()], [key()], DIGEST, random.Random(3), count=400, now=NOW, signature=signature("ED25519", simple())
    )
    assert (outcome.wrong, outcome.rejected > 300) == ([], True)
