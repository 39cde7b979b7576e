"""Benchmarks: the engine beside plain kopf, the embedded server beside an empty handler; `make bench [ONLY=name]`.

What belongs here: how a figure is measured and how it is reported. What does not: figures (`bench/results`), and what
the code under measurement does.

    parent (drives, observes) ──HTTP──> serving (embedded server, a process)
        │ stdin, stdout: JSON lines          ^
        └──────────> actors, a process each ─┘     in each round each actor does the same work, one after the other

Three things keep a figure honest on a busy machine: it is CPU time of the actor's own process, all who are compared
take turns within each round, and what is judged is the median over rounds of the ratio within a round.
"""
