"""Endpoints: what each verb does, from a request to its answer.

What belongs here: dispatching requests, the verbs, subresources, field managers, the representations
of objects, and serving the kinds that CRDs define. What does not: sockets (`server`).
"""
