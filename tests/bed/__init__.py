"""What tests stand on: servers, databases, Keystone and client programs. The fixtures are in tests/conftest.py."""
