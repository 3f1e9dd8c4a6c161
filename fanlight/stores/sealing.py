"""Locations at rest: URLs hold credentials, and with `metadata_encryption_key` the catalogue holds them encrypted.

The form is the one of Glance's rows: URL-safe base64 of 16 random bytes, the initialization vector, and of the URL in
UTF-8, one zero byte, and random non-zero bytes up to a whole block (V1 filled four), by AES in CBC mode. So both
services read each other's rows. A text with `://` was never encrypted: rows from before the key was set stay readable.
"""

from __future__ import annotations

import base64
import binascii
import os
from typing import Any

from fanlight.errors import BadStoreConfiguration, SettingsError

_VECTOR = 16
_BLOCK = 16


class Seal:
    """URL -> what the catalogue keeps, and back, with one key. Raises SettingsError for one that AES cannot use."""

    def __init__(self, key: str) -> None:
        self._key = key.encode()
        if len(self._key) not in (16, 24, 32):
            raise SettingsError(
                "[DEFAULT]metadata_encryption_key = (not shown) is wrong: it must have 16, 24 or 32 bytes."
            )
        self._cipher(bytes(_VECTOR))

    def close(self, url: str) -> str:
        """A URL as the catalogue keeps it; no two times the same."""
        text = url.encode() + b"\0"
        vector, step = os.urandom(_VECTOR), self._cipher
        padding = bytes(1 + byte % 255 for byte in os.urandom(-len(text) % _BLOCK))
        encryptor = step(vector).encryptor()
        return base64.urlsafe_b64encode(vector + encryptor.update(text + padding) + encryptor.finalize()).decode()

    def open(self, text: str) -> str:
        """The URL again. Raises BadStoreConfiguration: it was sealed with another key."""
        if "://" in text:
            return text
        try:
            data = base64.b64decode(text, b"-_", validate=True)
            decryptor = self._cipher(data[:_VECTOR]).decryptor()
            plain: bytes = decryptor.update(data[_VECTOR:]) + decryptor.finalize()
            url = plain.rpartition(b"\0")[0].decode()
        except (binascii.Error, ValueError):
            url = ""
        if "://" not in url:
            raise BadStoreConfiguration(
                "A location cannot be decrypted: [DEFAULT]metadata_encryption_key is not the key it was stored with."
            )
        return url

    def _cipher(self, vector: bytes) -> Any:
        try:
            from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
        except ImportError:
            raise SettingsError("[DEFAULT]metadata_encryption_key needs the package cryptography.") from None
        return Cipher(algorithms.AES(self._key), modes.CBC(vector))
