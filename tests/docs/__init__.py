"""The documentation is true: its commands run, its links lead somewhere, its examples are what the program reads."""
