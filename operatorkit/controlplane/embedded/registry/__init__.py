"""The registry: the served resources, and the strategy by which each is written.

What belongs here: the table of resources; defaulting, preparation, validation and allocation of one
kind; selectors and selectable fields. What does not: requests (`endpoints`).
"""
