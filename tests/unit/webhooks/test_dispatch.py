"""What an API server is answered, whatever it sends and whatever the function does."""

from __future__ import annotations

import asyncio
import base64
import copy
import json

import pytest

from operatorkit import Allowed, Cause, Denied, Mutated, Operator
from operatorkit.controlplane.embedded.fields.patch import json_patch as apply_patch
from operatorkit.webhooks import invalid, not_supported, required
from operatorkit.webhooks.dispatch import Dispatcher


@pytest.fixture
def ask(reviews):
    """Let a function answer a review; the answer must be an AdmissionReview that repeats the uid."""

    async def ask(function, review=None, *, mutate=False, seconds=5.0, **options):
        app = Operator("things")
        (app.mutate if mutate else app.validate)(reviews.Thing, **options)(function)
        review = review or reviews.review(reviews.thing(size=3))
        answer = await Dispatcher(app.webhooks).answer(app.webhooks[0], json.dumps(review).encode(), seconds=seconds)
        assert answer.status == 200
        assert (answer.body["apiVersion"], answer.body["kind"]) == ("admission.k8s.io/v1", "AdmissionReview")
        assert answer.body["response"]["uid"] == review["request"]["uid"]
        return answer.body["response"]

    return ask


async def test_a_function_gets_typed_objects_and_who_asks(ask, reviews):
    seen = []

    async def validate(new, old, request):
        seen.extend((new, old, request))
        return Allowed(warnings=["legal, but unwise"])

    new, old = reviews.thing(size=3), reviews.thing(size=2)
    response = await ask(validate, reviews.review(new, old, "UPDATE", dryRun=True))
    assert response == {
        "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
        "allowed": True,
        "warnings": ["legal, but unwise"],
    }
    typed_new, typed_old, request = seen
    assert (typed_new.spec.size, typed_old.spec.size) == (3, 2)
    assert (request.user.username, request.user.groups, request.dry_run) == ("ann", ("dev",), True)
    assert (request.operation, request.namespace, request.name) == ("UPDATE", "team", "a")


async def test_a_deletion_has_no_new_object(ask, reviews):
    async def validate(new, old, request):
        return Denied("keep it") if new is None and old.spec.size == 2 else Allowed()

    review = reviews.review(None, reviews.thing(size=2), "DELETE")
    response = await ask(validate, review, operations=["DELETE"])
    assert (response["allowed"], response["status"]["message"]) == (False, "keep it")
    assert (response["status"]["code"], response["status"]["reason"]) == (403, "Forbidden")


async def test_several_causes_are_reported_at_once_as_kubernetes_reports_them(ask):
    async def validate(new, old, request):
        return Denied(
            invalid("spec.size", 3, "must be even"),
            required("spec.colour", "every thing has one"),
            not_supported("spec.kind", "x", ["a", "b"]),
        )

    status = (await ask(validate))["status"]
    assert status["message"] == (
        'Thing.example.io "a" is invalid: [spec.size: Invalid value: 3: must be even, '
        "spec.colour: Required value: every thing has one, "
        'spec.kind: Unsupported value: "x": supported values: "a", "b"]'
    )
    assert (status["code"], status["reason"], status["status"]) == (422, "Invalid", "Failure")
    assert status["details"]["name"] == "a"
    assert status["details"]["kind"] == "Thing"
    assert [cause["field"] for cause in status["details"]["causes"]] == ["spec.size", "spec.colour", "spec.kind"]
    assert status["details"]["causes"][0] == {
        "reason": "FieldValueInvalid",
        "message": "Invalid value: 3: must be even",
        "field": "spec.size",
    }


@pytest.mark.parametrize("mutate", [False, True])
async def test_each_field_that_cannot_be_read_is_a_cause_for_kubectl_prints_nothing_else(ask, reviews, mutate):
    async def never(*_):
        raise AssertionError("there is no object to judge")

    wrong = reviews.thing() | {"spec": {"size": {"a": 1}, "colour": ["x"] * 10_000}}
    wrong["metadata"]["labels"] = {"long": "x", "odd": 5}
    status = (await ask(never, reviews.review(wrong), mutate=mutate))["status"]
    assert (status["code"], status["reason"]) == (422, "Invalid")
    fields = {cause["field"]: cause["message"] for cause in status["details"]["causes"]}
    assert fields["spec.size"].startswith('Invalid value: "object": ')
    assert fields["metadata.labels.odd"].startswith("Invalid value: 5: ")
    assert len(json.dumps(status)) < 5_000


async def test_the_patch_of_a_mutation_leaves_unknown_fields_alone(ask, reviews):
    async def mutate(thing, request):
        thing.spec.size = 4
        thing.metadata.labels = {"made": "here"}
        return Mutated(thing, warnings=["made it larger"])

    original = reviews.thing(size=3)
    response = await ask(mutate, reviews.review(original), mutate=True)
    assert response["patchType"] == "JSONPatch"
    assert response["warnings"] == ["made it larger"]
    patch = json.loads(base64.b64decode(response["patch"]))
    expected = copy.deepcopy(original)
    expected["spec"]["size"] = 4
    expected["metadata"]["labels"] = {"made": "here"}
    assert apply_patch(copy.deepcopy(original), patch) == expected
    assert len(patch) == 2


@pytest.mark.parametrize("decision", ["allowed", "mutated"])
async def test_a_mutation_of_nothing_has_no_patch(ask, decision):
    async def mutate(thing, request):
        if decision == "allowed":
            thing.spec.size = 99  # said to be allowed as it is: so it stays as it is
            return Allowed()
        return Mutated(thing)

    assert (await ask(mutate, mutate=True)).keys() == {"uid", "allowed"}


async def _raises(*_):
    raise RuntimeError("boom: secret")


async def _is_slow(*_):
    await asyncio.Event().wait()


async def _says_nothing(*_):
    return None


async def _says_true(*_):
    return True


async def _renames(thing, *_):
    thing.metadata.name = "b"
    return Mutated(thing)


async def _breaks_its_type(thing, *_):
    thing.spec.size = "many"
    return Mutated(thing)


@pytest.mark.parametrize("mutate", [False, True])
@pytest.mark.parametrize(
    ("function", "code", "reason", "text"),
    [
        (_raises, 500, "InternalError", "the webhook failed (RuntimeError)"),
        (_is_slow, 504, "Timeout", "did not respond within 0.05 s"),
        (_says_nothing, 500, "InternalError", "TypeError"),
        (_says_true, 500, "InternalError", "TypeError"),
        (_renames, 500, "InternalError", "failed ("),
        (_breaks_its_type, 500, "InternalError", "failed ("),
    ],
)
async def test_a_function_that_fails_admits_nothing(ask, function, code, reason, text, mutate, caplog):
    response = await ask(function, mutate=mutate, seconds=0.05)
    assert response["allowed"] is False
    assert "patch" not in response
    assert (response["status"]["code"], response["status"]["reason"]) == (code, reason)
    assert text in response["status"]["message"]
    assert "secret" not in json.dumps(response)
    assert caplog.records[-1].levelname == "ERROR"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"kind": {"group": "example.io", "version": "v2", "kind": "Thing"}}, "BadRequest"),
        ({"subResource": "scale"}, "BadRequest"),
        ({"operation": "DELETE", "object": None}, "BadRequest"),
    ],
)
async def test_what_a_webhook_was_not_declared_for_is_rejected(ask, reviews, change, reason):
    old = reviews.thing() if change.get("operation") == "DELETE" else None
    review = reviews.review(reviews.thing(), old, **change)
    if review["request"]["kind"]["version"] == "v2":
        review["request"]["object"]["apiVersion"] = "example.io/v2"

    response = await ask(_raises, review)
    assert (response["allowed"], response["status"]["reason"]) == (False, reason)


async def test_an_object_that_cannot_be_read_is_rejected_with_the_field(ask, reviews):
    response = await ask(_raises, reviews.review(reviews.thing(size="many")))
    assert (response["allowed"], response["status"]["code"]) == (False, 422)
    assert "spec.size" in response["status"]["message"]


def test_a_denial_must_say_something():
    with pytest.raises(ValueError, match="has no cause"):
        Denied()


@pytest.mark.parametrize(
    ("denied", "reason", "code"),
    [
        (Denied("no"), "Forbidden", 403),
        (Denied(Cause("spec.a", "FieldValueInvalid", "x")), "Invalid", 422),
        (Denied("no", reason="OutOfCoffee"), "OutOfCoffee", 403),
        *(
            (Denied("no", reason=reason), reason, code)
            for reason, code in {
                "BadRequest": 400,
                "Unauthorized": 401,
                "NotFound": 404,
                "AlreadyExists": 409,
                "Conflict": 409,
                "Invalid": 422,
                "TooManyRequests": 429,
                "InternalError": 500,
                "Timeout": 504,
            }.items()
        ),
    ],
)
def test_the_reason_of_a_denial_decides_its_code(denied, reason, code):
    assert (denied.reason, denied.code) == (reason, code)


@pytest.mark.parametrize(
    "make",
    [lambda text: Allowed(warnings=text), lambda text: Denied("no", warnings=text), lambda text: Mutated(1, text)],
)
def test_warnings_that_are_one_text_are_rejected_when_they_are_given(make):
    with pytest.raises(TypeError, match="give a list of texts"):
        make("mind the gap")


async def test_a_warning_is_one_line_for_it_becomes_a_header(ask):
    async def validate(new, old, request):
        return Allowed(warnings=["mind\n  the\tgap"])

    assert (await ask(validate))["warnings"] == ["mind the gap"]


async def test_a_name_that_the_server_made_up_is_in_the_denial(ask, reviews):
    async def validate(new, old, request):
        return Denied(required("spec.size"))

    status = (await ask(validate, reviews.review(reviews.thing(), name="")))["status"]
    assert (status["details"]["name"], status["message"]) == (
        "a",
        'Thing.example.io "a" is invalid: spec.size: Required value',
    )


async def test_a_change_may_mend_an_object_that_cannot_be_read(ask, reviews):
    seen = []

    async def validate(new, old, request):
        seen.append((new.spec.size, old, request.old_object["spec"]["size"]))
        return Allowed()

    review = reviews.review(reviews.thing(size=3), reviews.thing(size="many"), "UPDATE")
    assert (await ask(validate, review))["allowed"] is True
    assert seen == [(3, None, "many")]


async def test_a_mutation_needs_to_read_the_new_object_only(ask, reviews):
    async def mutate(thing, request):
        thing.spec.size += 1
        return Mutated(thing)

    review = reviews.review(reviews.thing(size=3), reviews.thing(size="many"), "UPDATE")
    response = await ask(mutate, review, mutate=True)
    assert json.loads(base64.b64decode(response["patch"])) == [{"op": "replace", "path": "/spec/size", "value": 4}]


@pytest.mark.parametrize("mutate", [False, True])
async def test_metadata_of_an_object_that_cannot_be_decoded_can_be_changed(ask, reviews, mutate):
    """A finalizer can be taken from it, so that it can go."""
    old, new = reviews.thing(size="many"), reviews.thing(size="many")
    old["metadata"]["finalizers"] = ["example.io/held"]
    response = await ask(_raises, reviews.review(new, old, "UPDATE"), mutate=mutate)
    assert response["allowed"] is True
    assert "spec.size" in response["warnings"][0]


@pytest.mark.parametrize("mutate", [False, True])
@pytest.mark.parametrize("size", ["more", {"a": 1}])
async def test_an_object_that_cannot_be_read_stays_rejected_when_its_content_changes(ask, reviews, mutate, size):
    review = reviews.review(reviews.thing(size=size), reviews.thing(size="many"), "UPDATE")
    response = await ask(_raises, review, mutate=mutate)
    assert (response["allowed"], response["status"]["code"]) == (False, 422)


async def test_the_deletion_of_an_object_that_cannot_be_read_is_not_evaluated_without_it(ask, reviews):
    review = reviews.review(None, reviews.thing(size="many"), "DELETE")
    response = await ask(_raises, review, operations=["DELETE"])
    assert (response["allowed"], response["status"]["code"]) == (False, 422)
