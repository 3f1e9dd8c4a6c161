"""Fanlight: an OpenStack Image service."""

__version__ = "0.1.0"
