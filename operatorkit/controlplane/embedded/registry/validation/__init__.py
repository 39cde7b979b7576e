"""Validation of objects, in kube-apiserver's words.

What belongs here: the rules of object metadata, of built-in kinds and of CRDs; each returns field
errors (`operatorkit.crd.field_errors`). What does not: schemas (`operatorkit.crd.Structural`).

Source: k8s.io/kubernetes/pkg/apis/*/validation
"""
