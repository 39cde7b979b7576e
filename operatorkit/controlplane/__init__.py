"""Control planes to develop and test against.

What belongs here: starting, describing and stopping a Kubernetes API, and what makes it feel alive: `embedded`, a
server in Python; `real`, the launcher of kube-apiserver, etcd and kube-controller-manager; `nodes`, simulated ones,
which work against either through the API alone; and the credentials of both. What does not: using a cluster
(`operatorkit.cluster`), and the fixtures of tests (`operatorkit.testing`).
"""
