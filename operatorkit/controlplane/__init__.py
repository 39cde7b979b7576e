"""Control planes to develop and test against."""
