"""What the demo's section on mysql_sharding needs of a machine, and what is reported where it is missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from operatorkit.cli._demo import needs

pytest.importorskip("asyncmy", reason="needs the driver: pip install operatorkit[mysql]")

PROGRAMS = ("mariadbd", "mariadb-install-db", "mariadb", "bwrap")
WORKS, FAILS = "#!/bin/sh\nexit 0\n", "#!/bin/sh\necho 'no permission' >&2\nexit 1\n"


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine whose programs are the files of a directory."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(needs, "_WHERE_SERVERS_ARE", str(tmp_path))
    return tmp_path


def install(machine: Path, *names: str, text: str = WORKS) -> None:
    for name in names:
        (machine / name).write_text(text)
        (machine / name).chmod(0o755)


@pytest.mark.parametrize(
    ("there", "reported"),
    [
        (
            (),
            (
                "not installed: mariadbd, mariadb-install-db, mariadb, bubblewrap "
                "(Debian: apt-get install mariadb-server mariadb-client bubblewrap)"
            ),
        ),
        (
            ("mariadb", "bwrap"),
            "not installed: mariadbd, mariadb-install-db (Debian: apt-get install mariadb-server)",
        ),
        (PROGRAMS[:3], "not installed: bubblewrap (Debian: apt-get install bubblewrap)"),
        (PROGRAMS, None),
    ],
)
def test_missing_programs_are_reported_with_their_packages(machine, there, reported):
    install(machine, *there)
    assert needs.missing_for("mysql_sharding") == reported


def test_a_sandbox_that_cannot_be_created_is_reported(machine):
    install(machine, *PROGRAMS)
    install(machine, "bwrap", text=FAILS)
    why = needs.missing_for("mysql_sharding")
    assert why is not None
    assert "bubblewrap cannot create namespaces here: no permission" in why


def test_a_driver_that_is_not_installed_is_reported(machine, monkeypatch):
    install(machine, *PROGRAMS)
    monkeypatch.setattr(needs.importlib.util, "find_spec", lambda name: None)
    assert needs.missing_for("mysql_sharding") == (
        "it needs asyncmy, which is not installed: pip install 'operatorkit[mysql]'"
    )


def test_operators_that_need_nothing_are_shown():
    assert needs.missing_for("pki") is None
    assert needs.missing_for("petset") is None
