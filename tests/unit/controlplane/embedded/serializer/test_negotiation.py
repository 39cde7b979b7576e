from __future__ import annotations

import pytest

from operatorkit.controlplane.embedded.errors.errors import ApiError
from operatorkit.controlplane.embedded.serializer.negotiation import Form, negotiate

TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
DISCOVERY = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("", Form()),
        ("*/*", Form()),
        ("application/json, */*", Form()),
        ("application/yaml", Form("application/yaml")),
        ("application/vnd.kubernetes.protobuf,application/json", Form()),
        (f"{TABLE},application/json", Form(view="table", version="v1")),
        ("application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io", Form(view="metadata", version="v1")),
        ("application/json;as=Chair;v=v1;g=meta.k8s.io,application/json", Form()),
        ("application/json;as=Table;v=v9;g=meta.k8s.io,application/yaml", Form("application/yaml")),
    ],
)
def test_the_first_form_that_can_be_made_is_taken(accept: str, expected: Form) -> None:
    assert negotiate(accept) == expected


@pytest.mark.parametrize(
    "accept", ["text/csv", "application/vnd.kubernetes.protobuf", "application/json;as=Chair", DISCOVERY]
)
def test_what_cannot_be_made_is_not_acceptable(accept: str) -> None:
    with pytest.raises(ApiError) as raised:
        negotiate(accept)
    assert (raised.value.code, raised.value.reason) == (406, "NotAcceptable")
