"""The demo: a story told with manifests, against a control plane that is there for the story alone.

What belongs here: the chapters, and the manifests that they apply. What does not: the processes of the demo
(`operatorkit.cli.demo`), and how a pod is described (`operatorkit.cli._describe`).
"""
