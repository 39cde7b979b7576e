"""What all tests share: the signals of a process that was started in the foreground, wherever this one was."""

from __future__ import annotations

import signal


def pytest_configure() -> None:
    """Heed SIGINT and SIGHUP: a shell's background jobs, and nohup's, ignore them, and so would all that tests start."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
