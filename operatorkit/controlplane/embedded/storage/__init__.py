"""Storage: every object in memory, with a history for watches, and a write-ahead log.

What belongs here: records, revisions, changes, and their file. What does not: what an object means.
"""
