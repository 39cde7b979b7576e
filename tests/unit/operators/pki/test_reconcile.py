"""What the reconcile function of Certificates does with a decision that takes long."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import pytest

from operators.pki import reconcile


@pytest.mark.parametrize("costly", [True, False])
async def test_a_decision_that_may_take_long_is_made_off_the_event_loop(monkeypatch, costly):
    monkeypatch.setattr(reconcile, "is_costly", lambda request, policies: costly)
    monkeypatch.setattr(reconcile, "plan", lambda seen: threading.current_thread())
    thread = await reconcile._plan(SimpleNamespace(request=object(), policies=[]))
    assert (thread is not threading.main_thread()) is costly
