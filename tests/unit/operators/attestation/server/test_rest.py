"""The REST API, through its socket: what a client can do, and what it is told when it cannot."""

from __future__ import annotations

import pytest


async def test_a_note_and_an_occurrence_are_created_found_changed_and_deleted(client):
    note = await client.note("qa")
    assert note["name"] == "projects/p/notes/qa"
    assert note["kind"] == "ATTESTATION"
    made = await client.occurrence("a")
    path = f"/v1/{made['name']}"
    assert (await client("GET", path)).body == made
    assert (await client("GET", f"{path}/notes")).body == note
    changed = await client("PATCH", path, {"remediation": "rebuild"}, updateMask="remediation")
    assert changed.body == {**made, "remediation": "rebuild", "updateTime": changed.body["updateTime"]}
    assert (await client("DELETE", path)).body == {}
    gone = await client("GET", path)
    assert (gone.status, gone.body["code"], gone.body["error"]["status"]) == (404, 5, "NOT_FOUND")
    assert gone.body["message"] == gone.body["error"]["message"] == f"{made['name']} does not exist"


async def test_projects_are_isolated_exactly(client):
    for project in ("prod", "prod-evil"):
        await client.note("qa", project)
    await client("POST", "/v1/projects/prod/locations/eu/notes", {"discovery": {"analysisKind": "BUILD"}}, noteId="eu")
    listed = await client("GET", "/v1/projects/prod/notes")
    assert [note["name"] for note in listed.body["notes"]] == ["projects/prod/notes/qa"]
    listed = await client("GET", "/v1/projects/prod/locations/eu/notes")
    assert [note["name"] for note in listed.body["notes"]] == ["projects/prod/locations/eu/notes/eu"]
    by_project = await client("GET", "/v1/projects/prod/occurrences", filter='noteProjectId="prod"')
    assert by_project.body == {"occurrences": []}


async def test_pages_hold_each_object_once_and_tokens_are_bound_to_the_list(client):
    await client.note("qa")
    made = [(await client.occurrence(digit))["name"] for digit in "abcde"]
    path, seen, token, first = "/v1/projects/p/occurrences", [], "", {}
    while True:
        page = (await client("GET", path, pageSize=2, pageToken=token)).body
        seen += [one["name"] for one in page["occurrences"]]
        first = first or page
        token = page.get("nextPageToken", "")
        if not token:
            break
    assert seen == made
    for query in ({"filter": 'kind="BUILD"'}, {"pageToken": "x" * 32}, {"pageToken": "%%%"}):
        wrong = await client("GET", path, **{"pageToken": first["nextPageToken"], **query})
        assert (wrong.status, wrong.body["error"]["status"]) == (400, "INVALID_ARGUMENT")
        assert "pageToken" in wrong.body["message"]
    assert (await client("GET", "/v1/projects/q/occurrences", pageToken=first["nextPageToken"])).status == 400


FILTERS = [
    ('kind="ATTESTATION"', "ab"),
    ('kind="ATTESTATION_AUTHORITY"', "ab"),
    ('kind="BUILD"', ""),
    ('NOT kind="BUILD"', "ab"),
    ("digest=sha256:" + "a" * 64, "a"),
    ('resourceUrl="https://gcr.io/app@sha256:' + "a" * 64 + '"', "a"),
    ('resource_url="https://gcr.io/app@sha256:' + "a" * 64 + '"', "a"),
    ('resource.uri="https://gcr.io/app@sha256:' + "b" * 64 + '"', "b"),
    ('resourceUri!="https://gcr.io/app@sha256:' + "b" * 64 + '"', "a"),
    ('has_prefix(resourceUri, "https://gcr.io/app@sha256:b")', "b"),
    ('has_prefix(resourceUri, "https://gcr.io/%")', ""),
    ('noteId="qa" AND noteProjectId="p"', "ab"),
    ('noteId="q_"', ""),
    ('noteName="projects/p/notes/qa"', "ab"),
    ('createTime>"2001-01-01T00:00:00Z"', "ab"),
    ('createTime<"2001-01-01T00:00:00Z"', ""),
    ('remediation="x"', "a"),
    ('NOT remediation="x"', "b"),
    ('remediation!="x"', "b"),
    ("remediation:*", "a"),
    ('NOT (remediation="x" OR kind="BUILD")', "b"),
    ("attestation.serializedPayload='eA=='", "ab"),
]


@pytest.mark.parametrize(("filter_", "digits"), FILTERS)
async def test_a_filter_selects(client, filter_, digits):
    await client.note("qa")
    one = await client.occurrence("a")
    await client("PATCH", f"/v1/{one['name']}", {"remediation": "x"})
    await client.occurrence("b")
    found = await client("GET", "/v1/projects/p/occurrences", filter=filter_)
    assert found.status == 200, found.body
    assert "".join(item["resourceUri"][-1] for item in found.body["occurrences"]) == digits


@pytest.mark.parametrize(
    ("filter_", "position"),
    [
        ("kind", 5),
        ('kind="x" nosuch="y"', 10),
        ('createTime>"soon"', 1),
        ("vulnerability.cvssScore>high", 1),
        ("vulnerability.packageIssue=1", 1),
    ],
)
async def test_a_filter_that_cannot_be_read_is_400_with_the_position(client, filter_, position):
    for path in ("/v1/projects/p/occurrences", "/v1beta1/projects/p/occurrences:vulnerabilitySummary"):
        wrong = await client("GET", path, filter=filter_)
        assert (wrong.status, wrong.body["code"]) == (400, 3)
        assert f"(at character {position})" in wrong.body["message"]


async def test_a_misspelt_parameter_does_not_select_all(client):
    wrong = await client("GET", "/v1/projects/p/notes", filtr='kind="BUILD"')
    assert wrong.status == 400
    assert "'filtr' is not known" in wrong.body["message"]


REJECTED = [
    ("POST", "notes?noteId=a", {}, "exactly one of"),
    ("POST", "notes?noteId=a", {"build": {}, "package": {}}, "found build and package"),
    ("POST", "notes?noteId=a", {"build": {}, "kind": "PACKAGE"}, "write 'BUILD'"),
    ("POST", "notes?noteId=a", {"build": {"nosuch": 1}}, "nosuch"),
    ("POST", "notes?noteId=a", {"build": 5}, "invalid"),
    ("POST", "notes?noteId=a%20b", {"build": {}}, "noteId 'a b' is invalid"),
    ("POST", "notes", {"build": {}}, "noteId is missing"),
    ("POST", "notes?noteId=a", {"build": {}, "name": "projects/p/notes/b"}, "created as 'projects/p/notes/a'"),
    ("POST", "notes?noteId=a", [], "not a JSON object"),
    ("POST", "notes?noteId=a", b"{", "not JSON"),
    ("POST", "notes?noteId=a", b'{"build": {}, "build": {}}', "the same key twice"),
    ("POST", "occurrences", {"build": {}, "noteName": "projects/p/notes/qa"}, "resourceUri is missing"),
    ("POST", "occurrences", {"build": {}, "resourceUri": "x"}, "noteName '' is invalid"),
    (
        "POST",
        "occurrences",
        {"build": {}, "resourceUri": "x", "noteName": "projects/p/notes/qa"},
        "of kind ATTESTATION",
    ),
    ("POST", "occurrences", {"build": {}, "resourceUri": "x", "resourceUrl": "y", "noteName": "n"}, "set twice"),
    ("POST", "occurrences:batchCreate", {"occurrences": []}, "0 objects"),
    ("POST", "occurrences:batchCreate", {}, "give a list"),
    ("POST", "notes:batchCreate", {"notes": []}, "by their ids"),
    ("GET", "notes?pageSize=-1", None, "pageSize is -1"),
    ("GET", "notes?pageSize=x", None, "whole number"),
    ("PATCH", "notes/qa?updateMask=name", {}, "set by the server"),
    ("PATCH", "notes/qa?updateMask=nosuch", {}, "not a field of a note"),
    ("PATCH", "notes/qa?updateMask=attestation", {}, "exactly one of"),
    ("PATCH", "notes/qa?updateMask=*", {"build": {}}, "cannot become BUILD"),
]


@pytest.mark.parametrize(("method", "path", "body", "message"), REJECTED)
async def test_a_wrong_request_is_rejected_with_the_remedy(client, method, path, body, message):
    await client.note("qa")
    answer = await client(method, f"/v1/projects/p/{path}", body)
    assert (answer.status, answer.body["error"]["status"]) == (400, "INVALID_ARGUMENT"), answer.body
    assert message in answer.body["message"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("GET", "/v2/projects/p/notes"),
        ("PUT", "/v1/projects/p/notes"),
        ("GET", "/v1/projects/p/x"),
        ("GET", "/v1/projects/p%2Fnotes%2Fqa/occurrences"),
        ("GET", "/v1/projects/p/occurrences:vulnerabilitySummary"),
    ],
)
async def test_a_path_that_is_none_is_404(client, method, path):
    assert (await client(method, path)).status == 404


async def test_a_batch_is_written_as_a_whole_or_not_at_all(client):
    await client.note("qa")
    good = {"resourceUri": "https://x/y", "noteName": "projects/p/notes/qa", "attestation": {}}
    bad = {**good, "noteName": "projects/p/notes/nosuch"}
    answer = await client("POST", "/v1/projects/p/occurrences:batchCreate", {"occurrences": [good, bad]})
    assert (answer.status, answer.body["message"]) == (404, "projects/p/notes/nosuch does not exist")
    assert (await client("GET", "/v1/projects/p/occurrences")).body == {"occurrences": []}
    answer = await client("POST", "/v1/projects/p/occurrences:batchCreate", {"occurrences": [good] * 1000})
    assert len({one["name"] for one in answer.body["occurrences"]}) == 1000
    answer = await client("POST", "/v1/projects/p/occurrences:batchCreate", {"occurrences": [good] * 1001})
    assert "give 1 to 1000" in answer.body["message"]


async def test_a_note_that_exists_or_is_in_use_stays(client):
    await client.note("qa")
    again = await client("POST", "/v1/projects/p/notes", {"build": {}}, noteId="qa")
    assert (again.status, again.body["error"]["status"]) == (409, "ALREADY_EXISTS")
    await client.occurrence()
    kept = await client("DELETE", "/v1/projects/p/notes/qa")
    assert (kept.status, kept.body["code"]) == (400, 9)
    assert "has occurrences" in kept.body["message"]


async def test_the_occurrences_of_a_note_are_found_across_projects(client):
    await client.note("qa")
    await client.note("other")
    names = [(await client.occurrence(project=project))["name"] for project in ("p", "q")]
    await client.occurrence(note="projects/p/notes/other")
    found = await client("GET", "/v1/projects/p/notes/qa/occurrences")
    assert [one["name"] for one in found.body["occurrences"]] == names


async def test_the_summary_counts_vulnerabilities_by_resource_and_severity(client):
    await client.note("cve", vulnerability={"severity": "HIGH"})
    issue = {"affectedCpeUri": "c", "affectedPackage": "p", "affectedVersion": {"kind": "NORMAL", "name": "1"}}
    fixed = {**issue, "fixedVersion": {"kind": "NORMAL", "name": "2"}}
    never = {**issue, "fixedVersion": {"kind": "MAXIMUM"}}
    for severity, issues in (("HIGH", [fixed]), ("HIGH", [never]), ("LOW", [issue])):
        await client.occurrence(
            note="projects/p/notes/cve", vulnerability={"effectiveSeverity": severity, "packageIssue": issues}
        )
    found = await client("GET", "/v1beta1/projects/p/occurrences:vulnerabilitySummary")
    assert [(c["severity"], c["fixableCount"], c["totalCount"]) for c in found.body["counts"]] == [
        ("HIGH", "1", "2"),
        ("LOW", "0", "1"),
    ]


async def test_projects_come_and_go(client):
    assert (await client("POST", "/v1beta1/projects", {"name": "projects/x"})).body == {"name": "projects/x"}
    assert (await client("POST", "/v1beta1/projects", {"name": "projects/x"})).status == 409
    await client.note("qa", "y")
    listed = (await client("GET", "/v1beta1/projects", pageSize=1)).body
    rest = (await client("GET", "/v1beta1/projects", pageToken=listed["nextPageToken"])).body
    assert [p["name"] for p in listed["projects"] + rest["projects"]] == ["projects/x", "projects/y"]
    assert (await client("DELETE", "/v1beta1/projects/y")).status == 400
    assert (await client("DELETE", "/v1beta1/projects/x")).body == {}
    assert (await client("GET", "/v1beta1/projects/x")).status == 404


async def test_each_write_is_a_change_with_a_number_and_the_audit_log_cannot_be_rewritten(client):
    await client.note("qa")
    made = await client.occurrence("c")
    await client("DELETE", f"/v1/{made['name']}")
    found = (await client("GET", "/v1/changes")).body
    assert [(c["sequence"], c["action"], c["kind"]) for c in found["changes"]] == [
        (1, "create", "ATTESTATION"),
        (2, "create", "ATTESTATION"),
        (3, "delete", "ATTESTATION"),
    ]
    assert found["changes"][1]["digest"] == "sha256:" + "c" * 64
    assert (await client("GET", "/v1/changes", after=found["next"])).body == {"changes": [], "next": 3}
    database = client.server.service._database
    for statement in ("UPDATE audit SET caller = 'x'", "DELETE FROM audit"):
        with pytest.raises(Exception, match="append-only"):
            async with database.write() as connection:
                await connection.exec_driver_sql(statement)
