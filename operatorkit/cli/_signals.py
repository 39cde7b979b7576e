"""Which signals ask a command to stop."""

from __future__ import annotations

import signal

__all__ = ["stop_signals"]


def stop_signals() -> tuple[signal.Signals, ...]:
    """Return SIGINT, SIGTERM and, as long as nohup has not asked to ignore it, SIGHUP: the terminal was closed."""
    asked = (signal.SIGINT, signal.SIGTERM)
    return asked if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else (*asked, signal.SIGHUP)
