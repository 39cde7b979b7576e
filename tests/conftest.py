"""What all tests share: a foreground process's signals, and how hypothesis looks for examples.

A run of the suite tries the same examples each time, however slow the machine, so that it fails for what was changed.
`pytest --hypothesis-profile=explore` looks for new ones; one that fails becomes an `@example`.
"""

from __future__ import annotations

import secrets
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "suite",
    derandomize=True,
    database=None,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("explore", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("suite")


def pytest_configure() -> None:
    """Heed SIGINT and SIGHUP: a shell's background jobs, and nohup's, ignore them, and so would all that tests start."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let workers take modules with slow tests first (`--no-loadscope-reorder`): the last would run one alone.

    pytest-xdist's own order is by the number of tests, which leaves the few long ones to the end.
    """
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(scope="session")
def find_port() -> Callable[[], int]:
    """Find a port for a server that is started later: one where nothing listens, and that no client is given."""
    given = Path("/proc/sys/net/ipv4/ip_local_port_range")
    first_given = int(given.read_text().split()[0]) if given.exists() else 32768

    def find() -> int:
        while True:
            port = 10_000 + secrets.randbelow(first_given - 10_000) if first_given > 12_000 else 0
            with socket.socket() as probe:
                try:
                    probe.bind(("127.0.0.1", port))
                except OSError:
                    continue
                return int(probe.getsockname()[1])

    return find


@pytest.fixture
def free_port(find_port: Callable[[], int]) -> int:
    """Return one such port."""
    return find_port()
