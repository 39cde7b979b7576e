"""Random histories of an operator, its users and its network, in time that does not pass: see `history`.

What belongs here: the draw of a history, the world that it runs in, and what must be true at its end. What does not:
faults that are known by now, each of which has a test of its own. `make soak` runs this; the suite runs a few of them.
"""
