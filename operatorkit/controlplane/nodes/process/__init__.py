"""Process nodes: pods run as processes of this machine, in the sandboxes of bubblewrap.

What belongs here: what a kubelet, a container runtime and a scheduler do for a pod, through
`ClusterAPI` alone, so that it works against any control plane. What does not: images, ClusterIP
routing, terminals; a whole cluster has them.

    agent ──► pod ──► plan         what to start next (pure)
      │        ├────► launch ──► environment, sandbox ──► child (bubblewrap, the process)
      │        └────► podstatus ◄── records               (what a kubelet writes)
      └─────► kubelet ──► logs

A container is a process in a mount, PID, IPC and UTS namespace of its own, and the first one of its
PID namespace, as in a container runtime. The network is the machine's: the pod's address is one of
127.0.0.0/8.
"""

from __future__ import annotations

from operatorkit.controlplane.nodes.process.agent import ProcessNodes
from operatorkit.controlplane.nodes.process.images import Image, Images
from operatorkit.controlplane.nodes.process.sandbox import unavailable

__all__ = ["Image", "Images", "ProcessNodes", "unavailable"]
