"""operatorkit."""
