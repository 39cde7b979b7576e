import json
import ssl

import aiohttp
import pytest

from operatorkit import errors
from operatorkit.cluster.translate import error_from_answer, error_from_exception, error_from_status


def status(code, reason, message="the server's words", **details):
    return {"kind": "Status", "code": code, "reason": reason, "message": message, "details": details}


@pytest.mark.parametrize(
    ("code", "reason", "expected"),
    [
        (401, "Unauthorized", errors.Unauthorized),
        (403, "Forbidden", errors.Forbidden),
        (404, "NotFound", errors.NotFound),
        (409, "AlreadyExists", errors.AlreadyExists),
        (409, "Conflict", errors.Conflict),
        (410, "Expired", errors.Gone),
        (410, "Gone", errors.Gone),
        (413, "RequestEntityTooLarge", errors.TooLarge),
        (422, "Invalid", errors.Invalid),
        (429, "TooManyRequests", errors.Throttled),
        (500, "InternalError", errors.ClusterError),
        (500, "ServerTimeout", errors.Timeout),
        (504, "Timeout", errors.Timeout),
        (503, "ServiceUnavailable", errors.ClusterError),
        (410, "", errors.Gone),
        (400, "BadRequest", errors.ClusterError),
    ],
)
def test_each_reason_has_its_error_and_keeps_the_servers_words(code, reason, expected):
    error = error_from_status(status(code, reason))
    assert type(error) is expected
    assert (error.code, str(error)) == (code, "the server's words")
    assert error.reason == (reason or expected.reason)


@pytest.mark.parametrize(
    ("code", "expected", "reason"),
    [
        (401, errors.Unauthorized, "Unauthorized"),
        (403, errors.Forbidden, "Forbidden"),
        (404, errors.NotFound, "NotFound"),
        (409, errors.Conflict, "Conflict"),
        (410, errors.Gone, "Expired"),
        (413, errors.TooLarge, "RequestEntityTooLarge"),
        (415, errors.ClusterError, "UnsupportedMediaType"),
        (422, errors.Invalid, "Invalid"),
        (429, errors.Throttled, "TooManyRequests"),
        (500, errors.ClusterError, "InternalError"),
        (503, errors.ClusterError, "ServiceUnavailable"),
        (504, errors.Timeout, "Timeout"),
    ],
)
def test_an_answer_without_a_status_is_known_by_its_code(code, expected, reason):
    error = error_from_answer(code, b"", {}, request="GET http://x/api")
    assert (type(error), error.code, error.reason) == (expected, code, reason)


def test_a_status_without_a_code_has_that_of_the_answer_or_500():
    assert error_from_status({"message": "odd"}, code=418).code == 418
    assert error_from_status({"message": "odd"}).code == 500


def test_causes_that_are_none_are_left_out():
    cause = {"field": "spec.a", "reason": "FieldValueInvalid", "message": "bad"}
    error = error_from_status(status(422, "Invalid", causes=["nonsense", cause, None]))
    assert error.causes == (errors.Cause("spec.a", "FieldValueInvalid", "bad"),)


def test_a_conflict_of_field_managers_names_each_field_and_its_manager():
    cause = {"reason": "FieldManagerConflict", "message": 'conflict with "kubectl"', "field": ".data.x"}
    error = error_from_status(status(409, "Conflict", causes=[cause]))
    assert type(error) is errors.FieldManagerConflict
    assert error.causes == (errors.Cause(".data.x", "FieldManagerConflict", 'conflict with "kubectl"'),)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"404 page not found\n", errors.NoKindMatch),
        (json.dumps(status(404, "NotFound")).encode(), errors.NoKindMatch),
        (json.dumps(status(404, "NotFound", name="a", kind="pods")).encode(), errors.NotFound),
    ],
)
def test_a_missing_kind_is_distinguished_from_a_missing_object(body, expected):
    error = error_from_answer(404, body, {}, request="GET http://x/apis/a/v1/bs", resource="bs.a")
    assert type(error) is expected
    if expected is errors.NoKindMatch:
        assert "does not serve bs.a at http://x/apis/a/v1/bs" in str(error)


def test_an_answer_that_is_no_status_is_quoted():
    error = error_from_answer(502, b"<html>Bad Gateway</html>", {}, request="GET http://x/api")
    assert (type(error), error.code) == (errors.ClusterError, 502)
    assert str(error) == "GET http://x/api: the API server answered 502: <html>Bad Gateway</html>"


@pytest.mark.parametrize(
    ("headers", "details", "expected"),
    [({"Retry-After": "7"}, {}, 7.0), ({}, {"retryAfterSeconds": 3}, 3.0), ({"Retry-After": "soon"}, {}, None)],
)
def test_the_time_to_wait_comes_from_the_header_or_the_status(headers, details, expected):
    body = json.dumps(status(429, "TooManyRequests", **details)).encode()
    assert error_from_answer(429, body, headers, request="GET http://x").retry_after_seconds == expected


def _certificate_error(code, text):
    error = ssl.SSLCertVerificationError(1, text)
    error.verify_code, error.verify_message = code, text
    key = aiohttp.client_reqrep.ConnectionKey("h", 1, True, True, None, None, None)
    return aiohttp.ClientConnectorCertificateError(key, error)


def _connector_error(kind, os_error):
    return kind(aiohttp.client_reqrep.ConnectionKey("h", 1, True, True, None, None, None), os_error)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (_certificate_error(18, "self-signed certificate"), "not signed by the authority that the kubeconfig trusts"),
        (_certificate_error(10, "certificate has expired"), "has expired"),
        (_certificate_error(9, "not yet valid"), "not valid yet"),
        (_certificate_error(62, "Hostname mismatch"), "for another host"),
        (_connector_error(aiohttp.ClientConnectorError, ConnectionRefusedError(111, "refused")), "nothing listens there"),
        (_connector_error(aiohttp.ClientConnectorError, ConnectionResetError()), "that it uses TLS"),
        (_connector_error(aiohttp.ClientConnectorDNSError, OSError(-2, "unknown")), "host name 'h' is not known"),
        (_connector_error(aiohttp.ClientProxyConnectionError, OSError(111, "refused")), "the proxy h:1"),
        (_connector_error(aiohttp.ClientConnectorSSLError, OSError(1, "[SSL: WRONG_VERSION_NUMBER]")), "plain HTTP"),
        (_connector_error(aiohttp.ClientConnectorSSLError, OSError(1, "[SSL: TLSV1_BAD_CERTIFICATE] BAD_CERTIFICATE")), "client certificate"),
        (aiohttp.ServerDisconnectedError(), "broke before the answer was complete"),
        (aiohttp.ConnectionTimeoutError("slow"), "the connection timed out"),
        (aiohttp.InvalidUrlClientError("htp:/x"), "is no URL"),
    ],
)  # fmt: skip
def test_a_connection_that_failed_is_explained_with_the_url(error, words):
    translated = error_from_exception(error, request="GET https://h:1/api", server="https://h:1")
    assert type(translated) is errors.Unreachable
    assert str(translated).startswith("cannot reach the API server at https://h:1: ")
    assert words in str(translated)


def test_an_answer_that_never_comes_is_a_timeout():
    translated = error_from_exception(TimeoutError(), request="GET https://h:1/api", server="https://h:1")
    assert type(translated) is errors.Timeout
    assert "GET https://h:1/api" in str(translated)
