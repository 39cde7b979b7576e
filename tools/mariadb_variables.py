"""Derive the table of MariaDB's variables from an installed server.

Source: `mariadbd --verbose --help`, and information_schema.SYSTEM_VARIABLES of a server that is started for it, in a
temporary directory and without a network. Written: operators/mysql_sharding/mariadb_variables.json, and
spider_variables.json with those of the Spider engine. Run it from the repository's root when the server's version
changes; it needs mariadbd with ha_spider, mariadb-install-db and mariadb on the PATH:

    python tools/mariadb_variables.py
"""

from __future__ import annotations

import getpass
import json
import re
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

OUTPUT = Path("operators/mysql_sharding/mariadb_variables.json")
SPIDER_OUTPUT = OUTPUT.with_name("spider_variables.json")
COLUMNS = (
    "VARIABLE_NAME, VARIABLE_TYPE, VARIABLE_SCOPE, READ_ONLY, COMMAND_LINE_ARGUMENT, "
    "NUMERIC_MIN_VALUE, NUMERIC_MAX_VALUE, ENUM_VALUE_LIST"
)


def options() -> tuple[str, set[str]]:
    """Return the server's version, and the names that it accepts in an option file."""
    text = subprocess.run(
        ["mariadbd", "--no-defaults", "--verbose", "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    found = re.search(r"Ver (\S+?)-MariaDB", text.stdout)
    assert found is not None, "mariadbd does not print its version"
    table = text.stdout.split("Variables (--variable-name=value)")[1].split("\n\n")[0]
    table = table.partition("\n---")[2]  # below the heading, of which a line begins with "and"
    names = re.findall(r"^([a-zA-Z][\w-]*) ", table, re.MULTILINE)
    return found[1], {name.replace("-", "_").lower() for name in names}


def system_variables() -> list[list[str]]:
    """Return the rows of a server that was started for this."""
    with tempfile.TemporaryDirectory() as folder:
        data, socket = Path(folder, "data"), Path(folder, "socket")
        install = [
            "mariadb-install-db",
            "--no-defaults",
            f"--datadir={data}",
            "--skip-test-db",
            f"--user={getpass.getuser()}",
        ]
        subprocess.run(
            [*install, "--auth-root-authentication-method=normal"], capture_output=True, check=True
        )
        command = [
            "mariadbd",
            "--no-defaults",
            f"--datadir={data}",
            f"--socket={socket}",
            "--skip-networking",
            "--plugin-load-add=ha_spider",
        ]
        command += [f"--pid-file={folder}/pid", f"--user={getpass.getuser()}"]
        server = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        try:
            query = f"SELECT {COLUMNS} FROM information_schema.SYSTEM_VARIABLES ORDER BY 1"
            client = [
                "mariadb",
                "--no-defaults",
                "-uroot",
                f"--socket={socket}",
                "--batch",
                "--skip-column-names",
            ]
            for _ in range(120):
                done = subprocess.run(
                    [*client, "-e", query], capture_output=True, text=True, check=False
                )
                if done.returncode == 0:
                    return [line.split("\t") for line in done.stdout.splitlines()]
                time.sleep(0.5)
            raise SystemExit(f"the server did not start: {done.stderr}")
        finally:
            server.terminate()
            server.wait()


def main() -> None:
    """Write the table."""
    version, names = options()
    variables: dict[str, dict[str, Any]] = {}
    spider: dict[str, dict[str, Any]] = {}
    for name, kind, scope, read_only, argument, minimum, maximum, values in system_variables():
        entry: dict[str, Any] = {
            "type": kind,
            "dynamic": read_only == "NO" and scope != "SESSION ONLY",
        }
        entry["option"] = argument != "NULL" or name.lower() in names
        if minimum != "NULL":
            entry |= {"minimum": float(minimum) if kind == "DOUBLE" else int(minimum)}
            entry |= {"maximum": float(maximum) if kind == "DOUBLE" else int(maximum)}
        if values != "NULL":
            entry["values"] = values.split(",")
        table = spider if name.lower().startswith("spider_") else variables
        table[name.lower()] = entry
    for name in sorted(names - variables.keys()):
        variables[name] = {"type": "OPTION", "dynamic": False, "option": True}
    write(OUTPUT, version, variables)
    write(SPIDER_OUTPUT, version, spider)


def write(path: Path, version: str, variables: dict[str, dict[str, Any]]) -> None:
    """Write one table."""
    rows = [
        f"  {json.dumps(name)}: {json.dumps(variables[name], sort_keys=True)}"
        for name in sorted(variables)
    ]
    text = ",\n".join(rows)
    path.write_text(f'{{"version": {json.dumps(version)}, "variables": {{\n{text}\n}}}}\n')
    print(f"{path}: {len(variables)} variables of MariaDB {version}")


if __name__ == "__main__":
    main()
