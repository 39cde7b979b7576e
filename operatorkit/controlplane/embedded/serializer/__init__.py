"""Serializers: media types, and bytes from and to objects.

What belongs here: JSON and protobuf, content negotiation, and decoding the bodies of requests. What
does not: the types of fields (`scheme`).
"""
