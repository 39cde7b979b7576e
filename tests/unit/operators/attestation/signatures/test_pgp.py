"""PGP signatures that gpg has made, and what an attacker makes of them."""

from __future__ import annotations

import base64
import random
from datetime import UTC, datetime, timedelta

import pytest

from operators.attestation.signatures import Rejected, Rejection, SignedBytes, VerificationKey, Verified, verify

DIGEST = "sha256:" + "ab" * 32
OTHER = "sha256:" + "cd" * 32


def now():
    """Return the time, as the signers have it: keys and signatures are made while the tests run."""
    return datetime.now(UTC)


SIMPLE = (
    '{"critical":{"identity":{"docker-reference":"gcr.io/app"},"image":{"docker-manifest-digest":"%s"},'
    '"type":"atomic container signature"},"optional":{}}'
)


def key(public, name="qa", **more):
    return VerificationKey(id=name, type="PGP", public_key=public, **more)


def rejected(signature, *keys, payload=b"", at=None):
    result = verify(SignedBytes(signature, payload), keys, at or now())
    assert isinstance(result, Rejected), result
    return result.reason


def test_a_clearsigned_digest_is_a_statement_by_its_key(clearsigned, signer, gpg):
    result = verify(SignedBytes(clearsigned), [key(signer)], now())
    assert isinstance(result, Verified), result
    assert (result.statement.digest, result.statement.name) == (DIGEST, None)
    assert (result.key_id, result.fingerprint) == ("qa", gpg.fingerprint("qa"))
    assert result.signed_at is not None
    assert abs(now() - result.signed_at) < timedelta(minutes=10)


FORMS = [
    (DIGEST, None),
    (DIGEST + "\n", None),
    (f"gcr.io/app@{DIGEST}", "gcr.io/app"),
    (f"https://gcr.io/app:v1@{DIGEST}\n", "gcr.io/app"),
    (SIMPLE % DIGEST, "gcr.io/app"),
]


@pytest.mark.parametrize(
    "options",
    [
        ["--clearsign"],
        ["--sign"],
        ["--sign", "-z", "0"],
        ["--sign", "--bzip2-compress-level", "9", "--compress-algo", "bzip2"],
        ["--sign", "--compress-algo", "zlib"],
        ["--detach-sign"],
    ],
    ids=" ".join,
)
@pytest.mark.parametrize(("text", "name"), FORMS, ids=["digest", "line", "reference", "uri", "simple-signing"])
def test_each_form_of_payload_is_read_from_each_kind_of_signature(gpg, signer, options, text, name):
    signature = gpg.sign("qa", text.encode(), *options)
    payload = text.encode() if "--detach-sign" in options else b""
    result = verify(SignedBytes(signature, payload), [key(signer)], now())
    assert isinstance(result, Verified), result
    assert (result.statement.digest, result.statement.name) == (DIGEST, name)


@pytest.mark.parametrize("kind", ["rsa2048", "rsa3072", "nistp256", "nistp384"])
def test_keys_of_other_algorithms_are_verified_too(gpg, kind):
    public = gpg.new_key(f"alg-{kind}", kind=kind)
    signature = gpg.sign(f"alg-{kind}", DIGEST.encode(), "--clearsign")
    assert isinstance(verify(SignedBytes(signature), [key(public)], now()), Verified)


def test_windows_line_ends_and_a_comment_change_nothing(clearsigned, signer):
    windows = clearsigned.replace(b"\n", b"\r\n")
    comment = clearsigned.replace(b"SIGNATURE-----\n\n", b"SIGNATURE-----\nComment: x\n\n", 1)
    for signature in (windows, comment, b"\n " + clearsigned + b"\n\n"):
        assert isinstance(verify(SignedBytes(signature), [key(signer)], now()), Verified)


CHANGES = {
    "text before": lambda s: b"sha256:" + b"c" * 64 + b"\n" + s,
    "text after": lambda s: s + b"sha256:" + b"c" * 64 + b"\n",
    "twice": lambda s: s + s,
    "another digest": lambda s: s.replace(DIGEST.encode(), OTHER.encode()),
    "a second line": lambda s: s.replace(DIGEST.encode(), DIGEST.encode() + b"\n" + OTHER.encode()),
    "a header that changes the text": lambda s: s.replace(
        b"Hash: SHA256", b"Hash: SHA256\nNotDashEscaped: You need GnuPG"
    ),
    "an unknown header": lambda s: s.replace(b"Hash: SHA256", b"Hash: SHA256\nX-Digest: " + OTHER.encode()),
    "text in the place of headers": lambda s: s.replace(b"Hash: SHA256\n", b"Hash: SHA256\n" + OTHER.encode() + b"\n"),
    "only the signature": lambda s: s[s.index(b"-----BEGIN PGP SIGNATURE") :],
    "only the text": lambda s: s[: s.index(b"-----BEGIN PGP SIGNATURE")],
    "cut": lambda s: s[:-80],
    "no armour": lambda s: DIGEST.encode(),
    "nothing": lambda s: b"",
    "not text": lambda s: b"\xff\xfe" + s,
    "one signature beside another": lambda s: s.replace(
        b"-----END PGP SIGNATURE-----", s[s.index(b"-----BEGIN PGP SIGNATURE") :].strip()
    ),
    "large": lambda s: s + b" " * 300_000,
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_changed_message_proves_nothing(clearsigned, signer, change):
    changed = change(clearsigned)
    assert changed != clearsigned
    rejected(changed, key(signer))


@pytest.mark.parametrize(
    "text",
    [
        "hello",
        f"{DIGEST} {OTHER}",
        f"{DIGEST}\n{OTHER}",
        f" {DIGEST}",
        DIGEST.upper(),
        DIGEST[:-1],
        "gcr.io/app:v1",
        "{}",
        SIMPLE % "sha256:abc",
        (SIMPLE % DIGEST).replace('"optional"', '"critical":{},"optional"'),
        (SIMPLE % DIGEST).replace(
            '"docker-manifest-digest"', f'"docker-manifest-digest":"{OTHER}","docker-manifest-digest"'
        ),
        (SIMPLE % DIGEST).replace("atomic container signature", "another type"),
        (SIMPLE % DIGEST).replace('"optional"', '"extra":1,"optional"'),
        (SIMPLE % DIGEST).replace("gcr.io/app", f"gcr.io/app@{OTHER}"),
    ],
)
def test_a_good_signature_over_an_unclear_text_proves_nothing(gpg, signer, text):
    signature = gpg.sign("qa", text.encode(), "--sign")
    assert rejected(signature, key(signer)) == Rejection.UNCLEAR_STATEMENT


def test_another_key_is_not_this_one_whatever_the_signature_says(clearsigned, gpg):
    stranger = gpg.new_key("stranger")
    assert rejected(clearsigned, key(stranger, name=gpg.fingerprint("qa"))) == Rejection.NOT_SIGNED_BY_KEY
    assert rejected(clearsigned) == Rejection.NOT_SIGNED_BY_KEY


def test_each_key_is_tried(clearsigned, signer, gpg):
    stranger = gpg.new_key("stranger-2")
    result = verify(SignedBytes(clearsigned), [key(stranger, name="../../x"), key(signer, name="qa")], now())
    assert isinstance(result, Verified)
    assert result.key_id == "qa"


def test_a_key_that_has_expired_since_proves_nothing(gpg):
    public = gpg.new_key("brief", expire="1d", clock="20250101T000000")
    signature = gpg(
        "--faked-system-time", "20250101T000100", "-u", "brief@example.com", "--clearsign", stdin=DIGEST.encode()
    )
    assert rejected(signature, key(public)) == Rejection.KEY_NOT_VALID


def test_a_signing_subkey_that_has_expired_since_proves_nothing(gpg):
    gpg.new_key("primary", usage="cert")
    print_ = gpg.fingerprint("primary").upper()
    gpg(
        "--faked-system-time",
        "20250101T000000",
        "--ignore-time-conflict",
        "--quick-add-key",
        print_,
        "ed25519",
        "sign",
        "1d",
    )
    signature = gpg(
        "--faked-system-time",
        "20250101T000100",
        "--ignore-time-conflict",
        "-u",
        "primary@example.com",
        "--clearsign",
        stdin=DIGEST.encode(),
    )
    assert rejected(signature, key(gpg("--armor", "--export", "primary@example.com"))) in {
        Rejection.KEY_NOT_VALID,
        Rejection.NOT_SIGNED_BY_KEY,
    }


def test_a_revoked_key_proves_nothing(gpg, tmp_path):
    gpg.new_key("revoked")
    signature = gpg.sign("revoked", DIGEST.encode(), "--clearsign")
    certificate = gpg.home / "openpgp-revocs.d" / f"{gpg.fingerprint('revoked').upper()}.rev"
    gpg("--import", stdin=certificate.read_bytes().replace(b":-----", b"-----"))
    public = gpg("--armor", "--export", "revoked@example.com")
    assert rejected(signature, key(public)) in {Rejection.KEY_NOT_VALID, Rejection.NOT_SIGNED_BY_KEY}


def test_the_authority_can_end_a_key_by_itself(clearsigned, signer):
    hour = timedelta(hours=1)
    for ended in ({"revoked_at": now() - hour}, {"not_after": now() - hour}, {"not_before": now() + hour}):
        assert rejected(clearsigned, key(signer, **ended)) == Rejection.KEY_NOT_VALID
    fine = key(signer, revoked_at=now() + hour, not_after=now() + hour, not_before=now() - hour)
    assert isinstance(verify(SignedBytes(clearsigned), [fine], now()), Verified)


def test_an_expired_signature_and_one_from_the_future_prove_nothing(gpg, signer):
    ending = gpg.sign("qa", DIGEST.encode(), "--default-sig-expire", "1d", "--clearsign")
    assert isinstance(verify(SignedBytes(ending), [key(signer)], now()), Verified)
    later = now() + timedelta(days=2)
    assert rejected(ending, key(signer), at=later) == Rejection.SIGNATURE_EXPIRED
    assert rejected(ending, key(signer), at=now() - timedelta(days=2)) == Rejection.SIGNATURE_EXPIRED


@pytest.mark.parametrize("option", ["--clearsign", "--sign", "--detach-sign"])
def test_two_signatures_in_one_message_are_rejected(gpg, signer, option):
    """One of them would say when the other was made."""
    gpg.new_key("second")
    signature = gpg.sign("qa", DIGEST.encode(), "-u", "second@example.com", option)
    assert rejected(signature, key(signer), payload=DIGEST.encode()) == Rejection.MALFORMED


def test_sha1_is_not_accepted(gpg):
    public = gpg.new_key("old", kind="rsa2048")
    signature = gpg.sign("old", DIGEST.encode(), "--digest-algo", "SHA1", "--clearsign")
    assert rejected(signature, key(public)) == Rejection.NOT_SIGNED_BY_KEY


def test_a_detached_signature_needs_its_payload(gpg, signer):
    signature = gpg.sign("qa", DIGEST.encode(), "--detach-sign")
    assert rejected(signature, key(signer)) == Rejection.NO_PAYLOAD
    assert rejected(signature, key(signer), payload=OTHER.encode()) == Rejection.NOT_SIGNED_BY_KEY


@pytest.mark.parametrize("algorithm", ["zip", "zlib", "bzip2"])
def test_a_message_that_grows_without_bound_is_rejected(gpg, signer, algorithm):
    bomb = gpg.sign("qa", b"0" * 20_000_000, "--sign", "--compress-algo", algorithm)
    assert len(bomb) < 64_000
    assert rejected(bomb, key(signer)) == Rejection.TOO_LARGE


def test_a_signature_of_an_unknown_type_is_rejected(clearsigned, signer):
    """A getter of Sequoia's raises for it."""
    armour = clearsigned[clearsigned.index(b"-----BEGIN PGP SIGNATURE") :]
    lines = armour.split(b"\n")
    raw = bytearray(base64.b64decode(b"".join(lines[2:-3])))
    raw[3] = 0x75
    again = b"\n".join([*lines[:2], base64.b64encode(bytes(raw)), *lines[-2:]])
    assert rejected(clearsigned.replace(armour, again), key(signer)) == Rejection.MALFORMED


def test_a_secret_key_or_two_keys_are_not_a_public_key(gpg, signer, clearsigned):
    gpg.new_key("second")
    both = gpg("--export", "qa@example.com") + gpg("--export", "second@example.com")
    secret = gpg("--armor", "--export-secret-keys", "qa@example.com")
    for public in (both, secret, b"", b"junk", base64.b64encode(signer)):
        assert rejected(clearsigned, key(public)) == Rejection.KEY_NOT_VALID, public[:40]


def test_mutants_of_signatures_prove_nothing_but_what_was_signed(gpg, signer, clearsigned):
    """A share of the fuzz run; `tests/fuzz/attestation.py` has the driver for more."""
    from fuzz.attestation import run

    originals = [clearsigned, gpg.sign("qa", (SIMPLE % DIGEST).encode(), "--sign")]
    outcome = run(originals, [key(signer)], DIGEST, random.Random(1), count=400, now=now())
    assert outcome.wrong == []
    assert outcome.rejected > 300
