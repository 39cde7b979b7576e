"""The way to a Kubernetes API: one interface, one live client, and caches fed by watches.

What belongs here: the `ClusterAPI` protocol, the live client on one aiohttp session, kubeconfig loading, the
translation of the API server's errors into `operatorkit.errors`, informers and their caches. What does not: what
to do with objects (`operatorkit.context`, `operatorkit.children`), typed models (`operatorkit.resource`), and
any knowledge of kopf (`operatorkit._runtime`).
"""
