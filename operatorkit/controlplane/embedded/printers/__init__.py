"""Printers: the columns of Tables, as `kubectl get` shows them.

What belongs here: printer columns and cells of each kind. What does not: the Table around them
(`endpoints`).

Source: https://pkg.go.dev/k8s.io/kubernetes/pkg/printers/internalversion
"""
