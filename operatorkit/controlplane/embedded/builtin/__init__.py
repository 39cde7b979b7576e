"""The kinds that Kubernetes itself brings: which there are, their defaults, checks, columns and conversions.

What belongs here: pure functions and tables about built-in kinds, on dictionaries. What does not: kinds that a CRD
defines (`operatorkit.crd`), requests and storage (`operatorkit.controlplane.embedded`).
"""
