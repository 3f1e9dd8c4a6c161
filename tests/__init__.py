"""Tests follow the layout of the package.

tests/bed holds what they stand on, tests/shape what the code must look like.
"""
