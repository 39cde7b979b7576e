"""What a review must be like, and what its refusal says."""

from __future__ import annotations

import json

import pytest

from operatorkit.webhooks.review import MalformedReview, read_review


def read(review):
    return read_review(json.dumps(review).encode())


def test_parts_that_are_left_out_are_empty(reviews):
    request = read(reviews.review(reviews.thing(), userInfo=None, dryRun=None, options=None, namespace=None))
    assert (request.user.username, request.user.groups, request.user.extra) == ("", (), {})
    assert (request.dry_run, request.options, request.namespace) == (False, {}, "")


def test_everything_that_was_sent_is_read(reviews):
    new, old = reviews.thing(size=2), reviews.thing(size=1)
    request = read(reviews.review(new, old, "UPDATE", subResource="status", dryRun=True))
    assert (request.object, request.old_object) == (new, old)
    assert (request.operation, request.subresource, request.dry_run) == ("UPDATE", "status", True)
    assert (request.resource, request.namespace, request.name) == ("things", "team", "a")
    assert (request.user.username, request.user.uid) == ("ann", "7")
    assert (request.user.groups, request.user.extra) == (("dev",), {"scopes": ("x",)})


@pytest.mark.parametrize(
    ("operation", "has_new", "has_old", "reported"),
    [
        ("CREATE", True, False, None),
        ("CREATE", False, False, "CREATE comes without request.object"),
        ("CREATE", True, True, "CREATE comes with request.oldObject"),
        ("UPDATE", True, True, None),
        ("UPDATE", True, False, "UPDATE comes without request.oldObject"),
        ("DELETE", False, True, None),
        ("DELETE", True, True, "DELETE comes with request.object"),
        ("DELETE", False, False, "DELETE comes without request.oldObject"),
        ("CONNECT", True, False, None),
    ],
)
def test_the_operation_says_which_objects_come_along(reviews, operation, has_new, has_old, reported):
    review = reviews.review(
        reviews.thing() if has_new else None, reviews.thing() if has_old else None, operation=operation
    )
    if reported is None:
        assert read(review).operation == operation
    else:
        with pytest.raises(MalformedReview) as caught:
            read(review)
        assert str(caught.value) == reported


@pytest.mark.parametrize(
    ("changes", "reported"),
    [
        ({"operation": "ADMIT"}, "request.operation is 'ADMIT': expected CREATE, UPDATE, DELETE, CONNECT"),
        ({"name": 7}, "name is 7: expected text"),
        ({"kind": "Thing"}, "kind is 'Thing': expected an object"),
        ({"dryRun": "no"}, "dryRun is 'no': expected true or false"),
        ({"object": []}, "request.object is not an object"),
        ({"userInfo": {"groups": "admins"}}, "request.userInfo.groups is not a list of texts"),
        ({"userInfo": {"groups": [1]}}, "request.userInfo.groups is not a list of texts"),
        ({"name": "b"}, "request.object.metadata.name is 'a', but request.name is 'b'"),
        ({"namespace": "other"}, "request.object.metadata.namespace is 'team', but request.namespace is 'other'"),
    ],
)
def test_a_rejection_names_the_field_and_what_was_found(reviews, changes, reported):
    with pytest.raises(MalformedReview) as caught:
        read(reviews.review(reviews.thing(), **changes))
    assert str(caught.value) == reported


def test_brackets_inside_of_text_are_no_depth(reviews):
    assert read(reviews.review(reviews.thing(text="[{" * 5_000))).object["spec"]["text"] == "[{" * 5_000


@pytest.mark.parametrize(("levels", "reported"), [(190, None), (200, "nested"), (900, "nested"), (100_000, "nested")])
@pytest.mark.parametrize("brackets", [("[", "]"), ('{"a":', "}")], ids=["lists", "objects"])
def test_a_review_is_at_most_so_deep(reviews, levels, reported, brackets):
    begin, end = brackets
    deep = f"{begin * levels}1{end * levels}"
    body = json.dumps(reviews.review(reviews.thing(deep="DEEP"))).replace('"DEEP"', deep).encode()
    if reported is None:
        assert read_review(body).object["spec"]["deep"]
    else:
        with pytest.raises(MalformedReview, match="nested more than 200 levels deep"):
            read_review(body)
