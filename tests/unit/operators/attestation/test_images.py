"""Image references: every spelling of one image has one form, and what cannot be trusted is rejected."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators.attestation.images import (
    ImageReference,
    ImageReferenceError,
    parse_image,
    parse_pattern,
    parse_resource_uri,
)

D = "sha256:" + "ab" * 32
LONG = "sha512:" + "0f" * 64

SAME = [
    ("nginx", "docker.io/library/nginx"),
    ("nginx:1.13", "docker.io/library/nginx:1.13"),
    (f"nginx@{D}", f"docker.io/library/nginx@{D}"),
    (f"nginx:1.13@{D}", f"docker.io/library/nginx:1.13@{D}"),
    ("library/nginx", "docker.io/library/nginx"),
    ("docker.io/nginx", "docker.io/library/nginx"),
    ("docker.io/library/nginx", "docker.io/library/nginx"),
    ("index.docker.io/nginx", "docker.io/library/nginx"),
    ("index.docker.io/library/nginx:1", "docker.io/library/nginx:1"),
    ("registry-1.docker.io/library/nginx", "docker.io/library/nginx"),
    ("DOCKER.IO/library/nginx", "docker.io/library/nginx"),
    ("docker.io:443/library/nginx", "docker.io/library/nginx"),
    ("team/app", "docker.io/team/app"),
    ("gcr.io/app", "gcr.io/app"),
    ("GCR.io/app", "gcr.io/app"),
    ("gcr.io:443/app", "gcr.io/app"),
    ("gcr.io:8443/app", "gcr.io:8443/app"),
    ("gcr.io/p/q/r:v1", "gcr.io/p/q/r:v1"),
    ("localhost/app", "localhost/app"),
    ("LOCALHOST/app", "localhost/app"),
    ("localhost:5000/app", "localhost:5000/app"),
    ("localhost:5000/app:tag", "localhost:5000/app:tag"),
    (f"localhost:5000/a/b:t@{D}", f"localhost:5000/a/b:t@{D}"),
    ("registry:5000/app", "registry:5000/app"),
    ("127.0.0.1:5000/app", "127.0.0.1:5000/app"),
    ("[::1]:5000/app", "[::1]:5000/app"),
    ("[FD00::1]/app", "[fd00::1]/app"),
    ("foo_bar/baz__qux--x.y", "docker.io/foo_bar/baz__qux--x.y"),
    ("xn--n3h.example/app", "xn--n3h.example/app"),
    (f"app@{LONG}", f"docker.io/library/app@{LONG}"),
    ("app:_x", "docker.io/library/app:_x"),
    ("localhost:latest", "docker.io/library/localhost:latest"),
    ("a:5000", "docker.io/library/a:5000"),
]


@pytest.mark.parametrize(("text", "normal"), SAME)
def test_each_spelling_has_one_normal_form_that_is_a_fixed_point(text, normal):
    assert str(parse_image(text)) == normal
    assert parse_image(normal) == parse_image(text)


WRONG = [
    ("", "the image is empty"),
    ("Nginx", "upper-case letters in 'Nginx': write 'nginx'"),
    ("gcr.io/App", "write 'app'"),
    ("Registry/app", "write 'registry'"),
    (f"app@{D.upper()}", "has upper-case letters: write"),
    (f"app@sha256:{'AB' * 32}", "has upper-case letters: write"),
    ("app@sha256:abcd", "is not 64 hexadecimal digits (it has 4 characters"),
    (f"app@{D}00", "it has 66 characters"),
    (f"app@{D[:-1]}g", "is not 64 hexadecimal digits"),
    ("app@sha1:" + "a" * 40, "no known algorithm (sha256, sha384, sha512)"),
    ("app@", "no known algorithm"),
    (f"app@{D}@{D}", "of image"),
    (f"@{D}", "is invalid"),
    ("app:", "the tag ''"),
    ("app:a:b", "the tag 'a:b'"),
    ("app:-x", "the tag '-x'"),
    ("app:" + "t" * 129, "at most 128 characters"),
    ("/app", "the part ''"),
    ("app/", "the part ''"),
    ("gcr.io//app", "the part ''"),
    ("gcr.io/", "the part ''"),
    ("gcr.io./app", "the registry 'gcr.io.'"),
    ("-gcr.io/app", "the registry '-gcr.io'"),
    ("gcr.io:port/app", "the registry 'gcr.io:port'"),
    ("user@gcr.io/app", "no known algorithm"),
    ("https://gcr.io/app", "the registry 'https:'"),
    (" nginx", "the part ' nginx'"),
    ("nginx\n", "the part 'nginx\\n'"),
    ("ng\u0456nx", "is invalid"),  # a Cyrillic letter
    ("gcr。io/app", "is invalid"),
    ("gcr.io/../app", "the part '..'"),
    ("gcr.io/%61pp", "the part '%61pp'"),
    ("a" * 250 + "/b" * 10, "longer than 255"),
    ("a" * 5000, "at most 2048"),
    ("localhost:5000", "a registry without a repository"),
]


@pytest.mark.parametrize(("text", "message"), WRONG)
def test_what_is_no_reference_is_rejected_with_the_value_and_the_remedy(text, message):
    with pytest.raises(ImageReferenceError) as error:
        parse_image(text)
    assert message in str(error.value)


@pytest.mark.parametrize("prefix", ["", "https://", "http://", "docker://", "oci://"])
def test_a_resource_uri_names_the_image_whatever_its_scheme(prefix):
    assert parse_resource_uri(f"{prefix}gcr.io/app@{D}") == ImageReference("gcr.io", "app", None, D)


def test_a_resource_uri_without_a_digest_is_rejected():
    with pytest.raises(ImageReferenceError, match=r"write it as https://gcr\.io/app@sha256"):
        parse_resource_uri("https://gcr.io/app:v1")


components = st.from_regex(r"[a-z0-9]{1,8}([._-][a-z0-9]{1,8})?", fullmatch=True)
hosts = st.sampled_from(["gcr.io", "localhost", "localhost:5000", "reg.example:8443", "[::1]:5000", "docker.io"])
tags = st.none() | st.text(string.ascii_letters + string.digits, min_size=1, max_size=20)
digests = st.none() | st.text("0123456789abcdef", min_size=64, max_size=64).map("sha256:{}".format)


@st.composite
def references(draw):
    parts = draw(st.lists(components, min_size=1, max_size=4))
    host = draw(hosts)
    if host == "docker.io" and len(parts) == 1:
        parts.insert(0, "library")
    return ImageReference(host, "/".join(parts), draw(tags), draw(digests))


@given(references())
def test_what_is_written_is_read_again_as_the_same(image):
    assert parse_image(str(image)) == image
    assert parse_image(image.registry.upper() + str(image)[len(image.registry) :]) == image


@given(st.text(max_size=80) | st.from_regex(r"[a-zA-Z0-9./:@_-]{1,60}"))
def test_any_text_has_a_normal_form_that_is_stable_or_is_rejected(text):
    try:
        image = parse_image(text)
    except ImageReferenceError:
        return
    assert parse_image(str(image)) == image
    assert str(image).isascii()


MATCHES = [
    ("**", "gcr.io/a/b", True),
    ("**", "nginx", True),
    ("nginx", "docker.io/library/nginx:1", True),
    ("nginx", "gcr.io/library/nginx", False),
    ("docker.io/**", "team/app", True),
    ("docker.io/*", "team/app", False),
    ("docker.io/*", "nginx", True),
    ("gcr.io/prod/*", "gcr.io/prod/app", True),
    ("gcr.io/prod/*", "gcr.io/prod/a/b", False),
    ("gcr.io/prod/**", "gcr.io/prod/a/b", True),
    ("gcr.io/prod/**", "GCR.IO:443/prod/a", True),
    ("gcr.io/prod/**", "gcr.io/prod-evil/a", False),
    ("gcr.io/prod/**", "gcr.io.evil.example/prod/a", False),
    ("gcr.io/prod/**", "evil/gcr.io/prod/a", False),
    ("*.gcr.io/app", "eu.gcr.io/app", True),
    ("*.gcr.io/app", "eu.gcr.io.evil.example/app", False),
    ("*/prod/app", "reg.example/prod/app", True),
    ("*/prod/app", "a.example/b/prod/app", False),
    ("localhost:5000/**", "localhost:5000/x/y", True),
    ("localhost:5000/**", "localhost:5001/x/y", False),
    ("web-*", "web-front", True),
]


@pytest.mark.parametrize(("pattern", "image", "expected"), MATCHES)
def test_a_pattern_matches_names_and_never_a_look_alike(pattern, image, expected):
    assert parse_pattern(pattern).matches(parse_image(image)) is expected


@pytest.mark.parametrize("text", ["", "gcr.io/a:v1", f"app@{D}", "gcr.io/a***", "gcr.io/A", "a b", "gcr.io//a"])
def test_a_pattern_that_could_never_match_is_rejected(text):
    with pytest.raises(ImageReferenceError, match="pattern"):
        parse_pattern(text)


def test_patterns_are_ordered_from_general_to_specific():
    texts = ["**", "gcr.io/**", "gcr.io/prod/**", "gcr.io/prod/*", "gcr.io/prod/web-*", "gcr.io/prod/web-front"]
    order = [parse_pattern(text).specificity for text in texts]
    assert order == sorted(order)
    assert len(set(order)) == len(order)


@given(references())
def test_the_name_of_an_image_is_a_pattern_that_matches_it(image):
    if "[" not in image.registry:
        assert parse_pattern(image.name).matches(image)
