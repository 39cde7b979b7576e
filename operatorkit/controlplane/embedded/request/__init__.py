"""Requests: what a client sends, read into values.

What belongs here: the request info of a URL, options, the user, and the messages between server and
endpoints. What does not: acting on them (`endpoints`), and who may send them (`auth`).
"""
