"""Random changes of what attackers send. A share runs in the suite; each driver runs alone for more."""
