"""The scheme: the built-in kinds, their Go types, versions and defaults.

What belongs here: which built-in resources exist, decoding an object as Go decodes it, conversion
between versions, defaults that OpenAPI does not carry, and quantities. What does not: what happens to
an object when it is written (`registry`), and media types (`serializer`).
"""
