"""The demo: stories shown with manifests, against a control plane that is there for them alone.

What belongs here: the chapters (`story` of pki, `members` of petset, `attested` of attestation, `shard`
of mysql_sharding), what they share (`stage`), what they need of the machine (`needs`), the processes
and the node that they start, and the manifests that they apply. What does not: the order of the
chapters (`operatorkit.cli.demo`), and how a pod is described (`operatorkit.cli._describe`).
"""
