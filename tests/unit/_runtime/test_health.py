"""Probes are answered truthfully, also while the loop of the operator is blocked."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from contextlib import asynccontextmanager

import aiohttp
import pytest

from operatorkit._runtime.health import serve_health
from operatorkit.errors import InputError
from operatorkit.serving import Limits


@asynccontextmanager
async def healthy(*, live=None, ready=None, **options):
    reports = {"live": lambda: {"workers": live}, "ready": lambda: {"started": None, "watches": ready}}
    async with serve_health(options.pop("port", 0), **{**reports, **options}) as port:
        yield port


async def ask(port: int, path: str) -> tuple[int, str]:
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}{path}") as answer:
        return answer.status, await answer.text()


@pytest.mark.parametrize("path", ["/livez", "/healthz", "/readyz"])
async def test_all_is_well(path):
    async with healthy() as port:
        assert await ask(port, path) == (200, "ok\n")


async def test_each_check_has_a_line_when_one_fails():
    async with healthy(ready="secrets: no contact for 61 s") as port:
        assert await ask(port, "/readyz") == (
            503,
            "[+]event-loop ok\n[+]started ok\n[-]watches failed: secrets: no contact for 61 s\nreadyz check failed\n",
        )
        assert await ask(port, "/livez") == (200, "ok\n")


async def test_each_check_has_a_line_when_they_are_asked_for():
    async with healthy() as port:
        assert await ask(port, "/livez?verbose") == (200, "[+]event-loop ok\n[+]workers ok\nlivez check passed\n")


async def test_a_check_that_raises_has_failed(caplog):
    def raising():
        raise KeyError("x")

    async with healthy(live=None, ready=None) as port, serve_health(0, live=raising, ready=raising) as other:
        assert (await ask(port, "/livez"))[0] == 200
        status, text = await ask(other, "/livez")
    assert (status, text) == (503, "[-]checks failed: they raise KeyError: see the log\nlivez check failed\n")
    assert "a check of the operator's health cannot be made" in caplog.text


@pytest.mark.parametrize("path", ["livez", "readyz"])
async def test_a_loop_that_is_blocked_is_reported_with_the_line_that_blocks_it(path, caplog):
    found = []
    answered = threading.Event()

    def probe(port):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}", timeout=60) as answer:
                found.append((answer.status, answer.read().decode()))
        except urllib.error.HTTPError as error:
            found.append((error.code, error.read().decode()))
            error.close()
        answered.set()

    def block_the_loop():
        assert answered.wait(60)  # what a time.sleep() in a reconcile function does

    async with healthy(answer_seconds=0.1) as port:
        thread = threading.Thread(target=probe, args=(port,))
        thread.start()
        block_the_loop()
        thread.join()
        assert (await ask(port, f"/{path}"))[0] == 200  # it goes on
    [(status, text)] = found
    assert status == 503
    assert text.startswith("[-]event-loop failed: it is blocked, for ")
    assert text.endswith(f"{path} check failed\n")
    [record] = [it for it in caplog.records if "has not answered" in it.getMessage()]
    assert "in block_the_loop" in record.getMessage()


def test_the_line_is_found_though_garbage_is_collected_meanwhile():
    """In a process of its own: one whose interpreter waits for itself does not even heed a signal of pytest."""
    done = subprocess.run([sys.executable, "-c", COLLECTING], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "found\n"), done.stderr


COLLECTING = """
import gc, threading
from operatorkit._runtime.health import _frame_of

class Kept:
    pass

def leave_a_local_to_the_collector():
    kept = Kept()
    kept.itself, kept.local = kept, threading.local()
    kept.local.value = 1

def ask(depth):
    if depth:
        return ask(depth - 1)
    gc.enable()
    frame = _frame_of(threading.get_ident())
    assert gc.isenabled()
    gc.disable()
    assert frame is not None

gc.disable()
gc.set_threshold(1, 1, 1)
end = threading.Event()
for _ in range(100):
    threading.Thread(target=end.wait, daemon=True).start()
    leave_a_local_to_the_collector()
    ask(3)
print("found")
"""


async def test_nothing_else_is_served():
    async with healthy() as port:
        assert (await ask(port, "/metrics"))[0] == 404


async def test_those_who_only_connect_keep_no_probe_out():
    async with healthy(limits=Limits(connections=3)) as port:
        held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(10)]
        assert await ask(port, "/livez") == (200, "ok\n")
        assert await held[0][0].read() == b""
        for _, writer in held:
            writer.transport.abort()


async def test_the_port_is_free_again_afterwards():
    async with healthy() as port:
        pass
    async with healthy(port=port) as again:
        assert again == port
    assert not [it for it in threading.enumerate() if it.name == "probes"]


async def test_a_port_that_is_taken_is_named():
    with socket.create_server(("0.0.0.0", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=f"port {port} cannot be used for probes"):
            async with healthy(port=port):
                pass


async def test_why_is_a_page_about_an_object():
    def why(text):
        return text == "plans/a/b", f"about {text}\n"

    async with healthy(why=why) as port:
        assert await ask(port, "/debug/why?object=plans/a/b") == (200, "about plans/a/b\n")
        assert await ask(port, "/debug/why?object=x") == (404, "about x\n")
        assert (await ask(port, "/debug/why"))[0] == 400
    async with healthy() as port:
        assert (await ask(port, "/debug/why?object=x"))[0] == 404


async def test_why_is_for_loopback_addresses_only(monkeypatch):
    monkeypatch.setattr("operatorkit._runtime.health._is_loopback", lambda remote: False)
    async with healthy(why=lambda text: (True, "a secret")) as port:
        status, text = await ask(port, "/debug/why?object=a/b")
    assert (status, "secret" in text, "kubectl port-forward" in text) == (403, False, True)
