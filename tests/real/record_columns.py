"""Record the columns of built-in kinds, as a real API server defines them, as data of the embedded server.

python tests/real/record_columns.py https://127.0.0.1:6443 TOKEN
"""

from __future__ import annotations

import json
import ssl
import sys
import urllib.request
from pathlib import Path

from operatorkit.controlplane.embedded.scheme.resources import builtin_resources

OUT = Path("operatorkit/controlplane/embedded/printers/columns.json")


def main() -> None:
    url, token = sys.argv[1:3]
    context = ssl._create_unverified_context()
    headers = {"Authorization": f"Bearer {token}", "Accept": "application/json;as=Table;g=meta.k8s.io;v=v1"}
    recorded = {}
    for resource in builtin_resources():
        if "list" not in resource.verbs:
            continue
        request = urllib.request.Request(url + resource.api_resource.path() + "?limit=1", headers=headers)
        with urllib.request.urlopen(request, context=context) as answer:
            table = json.load(answer)
        recorded[str(resource.gvk)] = [
            [it["name"], it["type"], it["format"], it["priority"], it["description"]]
            for it in table["columnDefinitions"]
        ]
    lines = [f"{json.dumps(kind)}: {json.dumps(columns)}" for kind, columns in recorded.items()]
    OUT.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    sys.stdout.write(f"{len(recorded)} kinds\n")


if __name__ == "__main__":
    main()
