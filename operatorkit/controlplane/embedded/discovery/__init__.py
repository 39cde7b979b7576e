"""Discovery and OpenAPI: the documents by which clients learn what is served.

What belongs here: the documents, made from the table of resources. What does not: serving them
(`endpoints`).
"""
