"""Authentication and authorization.

What belongs here: client certificates and tokens, RBAC with its default roles, reviews, impersonation,
and the check against privilege escalation. What does not: requests (`request`).
"""
