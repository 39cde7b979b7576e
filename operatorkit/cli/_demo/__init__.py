"""The demo: stories shown with manifests, against a control plane that is there for them alone.

What belongs here: the chapters (`story` of pki, `members` of petset), what they share (`stage`),
and the manifests that they apply. What does not: the processes of the demo
(`operatorkit.cli.demo`), and how a pod is described (`operatorkit.cli._describe`).
"""
