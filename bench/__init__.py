"""Glance 33, Fanlight and the floors, measured side by side: `python -m bench --help`."""
