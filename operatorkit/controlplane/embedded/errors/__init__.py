"""API errors, and the text in their messages that Go makes.

What belongs here: `ApiError` and a function for each kind of it (as apierrors), Go's way to write
values, and JSONPath, whose errors are quoted. What does not: detecting errors.
"""
