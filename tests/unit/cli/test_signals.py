"""Which signals stop a command."""

from __future__ import annotations

import signal

import pytest

from operatorkit.cli._signals import stop_signals


@pytest.mark.parametrize(("handler", "heeded"), [(signal.SIG_DFL, True), (signal.SIG_IGN, False)])
def test_a_closed_terminal_stops_a_command_unless_nohup_protects_it(handler: signal.Handlers, heeded: bool) -> None:
    before = signal.signal(signal.SIGHUP, handler)
    try:
        assert (signal.SIGHUP in stop_signals()) is heeded
        assert {signal.SIGINT, signal.SIGTERM} <= {*stop_signals()}
    finally:
        signal.signal(signal.SIGHUP, before)
