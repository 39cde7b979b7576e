from __future__ import annotations

from pathlib import Path
from typing import Any

from operatorkit.controlplane.nodes.process.hosts import HostsFiles
from operatorkit.names import ObjectKey


def pod(name: str, address: str = "", *, ready: bool = True, **metadata: Any) -> dict[str, Any]:
    conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
    status = {"phase": "Running", "conditions": conditions}
    return {
        "metadata": {"name": name, "namespace": "n", "labels": {"app": "db"}, **metadata},
        "spec": {"hostname": name, "subdomain": "db"},
        "status": {**status, **({"podIP": address} if address else {})},
    }


def service(**spec: Any) -> dict[str, Any]:
    spec = {"clusterIP": "None", "selector": {"app": "db"}, **spec}
    return {"metadata": {"name": "db", "namespace": "n"}, "spec": spec}


def known(*pods: dict[str, Any], **spec: Any) -> HostsFiles:
    files = HostsFiles("127.0.0.1")
    files.service_changed(ObjectKey("n", "db"), service(**spec))
    for one in pods:
        files.pod_changed(ObjectKey("n", one["metadata"]["name"]), one)
    return files


def test_names_lead_to_ready_pods_only() -> None:
    files = known(pod("db-0", "127.2.1.2"), pod("db-1", "127.2.1.3", ready=False), pod("db-2"))
    assert files.lines("n") == [
        "127.2.1.2\tdb-0.db.n.svc.cluster.local db-0.db.n.svc db-0.db.n db-0.db\n",
        "127.2.1.2\tdb.n.svc.cluster.local db.n.svc db.n db\n",
    ]
    assert files.lines("other")[1] == "127.2.1.2\tdb.n.svc.cluster.local db.n.svc db.n\n"


def test_a_terminating_pod_has_no_name_unless_the_service_publishes_it() -> None:
    leaving = pod("db-0", "127.2.1.2", deletionTimestamp="2026-01-01T00:00:00Z")
    assert known(leaving).lines("n") == []
    assert len(known(leaving, publishNotReadyAddresses=True).lines("n")) == 2


def test_a_change_that_no_name_depends_on_is_none() -> None:
    files = known(pod("db-0", "127.2.1.2"))
    key = ObjectKey("n", "db-0")
    assert not files.pod_changed(key, pod("db-0", "127.2.1.2", resourceVersion="2"))
    assert files.pod_changed(key, pod("db-0", "127.2.1.2", ready=False))
    assert files.pod_changed(key, None)


def test_a_file_is_written_in_place_and_never_shorter(tmp_path: Path) -> None:
    files, path = known(), tmp_path / "hosts"
    one = pod("p", "127.2.1.2")
    files.write(path, one, "127.2.1.2", ["127.2.1.9\tlong-name-of-a-service\n"])
    inode, size = path.stat().st_ino, path.stat().st_size
    files.write(path, one, "127.2.1.2", [])
    assert (path.stat().st_ino, path.stat().st_size) == (inode, size)
    assert "long-name" not in path.read_text()
    assert "127.2.1.2\tp.db.n.svc.cluster.local p\n" in path.read_text()
