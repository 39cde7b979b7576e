"""What a container leaves as its message is in the status of its pod."""

from __future__ import annotations


async def test_a_message_is_read_from_its_file(pods):
    await pods.run(
        "printf done > /tmp/message",
        restartPolicy="Never",
        container={"terminationMessagePath": "/tmp/message"},
    )
    status = await pods.phase("Succeeded")
    assert status["containerStatuses"][0]["state"]["terminated"]["message"] == "done"


async def test_without_a_file_the_log_of_a_failed_container_is_its_message(pods):
    await pods.run(
        "echo first; echo it failed; sleep 0.2; exit 3",
        restartPolicy="Never",
        container={"terminationMessagePolicy": "FallbackToLogsOnError"},
    )
    status = await pods.phase("Failed")
    assert status["containerStatuses"][0]["state"]["terminated"]["message"] == "first\nit failed\n"


async def test_without_a_file_a_container_that_succeeds_has_no_message(pods):
    await pods.run(
        "echo text",
        restartPolicy="Never",
        container={"terminationMessagePolicy": "FallbackToLogsOnError"},
    )
    status = await pods.phase("Succeeded")
    assert "message" not in status["containerStatuses"][0]["state"]["terminated"]
