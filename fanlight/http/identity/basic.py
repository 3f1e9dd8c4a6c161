"""Mode `http_basic`: user and password of RFC 7617, checked against an htpasswd file with bcrypt hashes.

A bcrypt check costs a quarter of a second by design, so that stolen hashes are hard to guess. Hence three measures:
successful checks are remembered for a minute under a keyed digest; equal checks at the same time are done once; and few
different ones run at once, so that somebody who guesses passwords cannot take all threads of the service.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import logging
import os
import threading
import time
from concurrent.futures import Future

import bcrypt
from msgspec import structs

from fanlight.errors import Busy, Forbidden, SettingsError
from fanlight.http.identity.accounts import Account, Accounts
from fanlight.http.identity.guard import Guard
from fanlight.http.identity.head import RequestHead
from fanlight.http.identity.parts import AdminRule, Challenged
from fanlight.model import Caller
from fanlight.settings import IdentitySettings

LOG = logging.getLogger(__name__)

CHALLENGE = 'Basic realm="Fanlight", charset="UTF-8"'
REMEMBER_SECONDS = 60.0
REMEMBER_MOST = 1024
AT_ONCE = 2
"""bcrypt checks that run at the same time in this process; each takes a core."""
WAITING_MOST = 8
"""Different checks that may run or wait; more are told to come back."""
WAIT_SECONDS = 10.0
PASSWORD_BYTES = 72
"""What bcrypt looks at; htpasswd cuts longer passwords there, so the check has to."""
NOBODY = b"$2b$12$eixZaYVK1fsbw1ZfbX3OXePaWxn96p36WQoeG6Lruj3vjPGga31lW"
"""Checked for unknown users while the file has no users at all, so that no answer comes faster than another."""


class Basic:
    """Verifies `Authorization: Basic`; the mapping file says whom a user stands for."""

    announcement: str | None = None

    def __init__(self, settings: IdentitySettings, policy: AdminRule) -> None:
        if not settings.htpasswd_file or not settings.mapping_file:
            raise SettingsError("Identity mode http_basic needs [fanlight]htpasswd_file and mapping_file.")
        self._policy = policy
        self._guard = Guard(settings.allowed_hosts)
        self._accounts = Accounts(settings.htpasswd_file, settings.mapping_file)
        self._lock = threading.Lock()
        self._key = os.urandom(32)
        self._remembered: dict[bytes, tuple[float, Account]] = {}
        self._checks: dict[bytes, Future[bool]] = {}
        self._running = threading.BoundedSemaphore(AT_ONCE)
        self._accounts.read()
        self._warn_unmapped()

    def identify(self, head: RequestHead) -> Caller:
        """Raises Challenged (401), Forbidden (right password, but no mapping) or Busy (too many guesses)."""
        # Browsers add the password to whatever a foreign page asks of us: no such page may speak for its reader.
        self._guard.require_own_page(head.headers)
        if self._accounts.changed():
            self._reload()
        user, password = _credentials(head.get("authorization"))
        account = self._verified(user, password)
        if account.caller is None:
            raise Forbidden("This user has no entry in the mapping file of the service.")
        caller = account.caller
        return structs.replace(caller, is_admin=True) if self._policy.is_admin(caller) else caller

    def _verified(self, user: bytes, password: bytes) -> Account:
        table = self._accounts.table
        account = table.get(user)
        digest = hashlib.blake2b(len(user).to_bytes(4, "big") + user + password, key=self._key).digest()
        remembered = self._remembered.get(digest)
        if remembered is not None and remembered[1] is account and time.monotonic() < remembered[0]:
            return remembered[1]
        decoy = self._decoy(user)
        if not self._check(digest, account.password_hash if account else decoy, password) or account is None:
            raise Challenged(CHALLENGE)
        with self._lock:
            if len(self._remembered) >= REMEMBER_MOST:
                self._remembered.clear()
            self._remembered[digest] = (time.monotonic() + REMEMBER_SECONDS, account)
        return account

    def _check(self, digest: bytes, password_hash: bytes, password: bytes) -> bool:
        """Compare once however many threads ask at the same time for the same. Raises Busy."""
        # The hash is part of the question: after a change of the file the same password is another one.
        question = digest + password_hash
        with self._lock:
            check = self._checks.get(question)
            mine = check is None
            if check is None:
                if len(self._checks) >= WAITING_MOST:
                    raise Busy("Too many passwords are being checked; try again later.", retry_after=1)
                check = self._checks[question] = Future()
        if mine:
            try:
                with self._running:
                    check.set_result(_matches(password, password_hash))
            finally:
                with self._lock:
                    del self._checks[question]
                check.cancel()
        try:
            return check.result(WAIT_SECONDS)
        except TimeoutError:
            raise Busy(retry_after=1) from None

    def _decoy(self, user: bytes) -> bytes:
        """A hash for an unknown user: always the same of the file's, so that it costs what a known user's does."""
        hashes = self._accounts.hashes or (NOBODY,)
        place = int.from_bytes(hmac.digest(self._key, user, "sha256")[:8], "big")
        return hashes[place % len(hashes)]

    def _reload(self) -> None:
        with self._lock:
            if not self._accounts.changed():
                return
            try:
                if not self._accounts.read():
                    return
            except SettingsError as error:
                LOG.error("Users and passwords stay as they were: %s", error)
                return
            self._remembered.clear()
        self._warn_unmapped()

    def _warn_unmapped(self) -> None:
        names = self._accounts.unmapped()
        if names:
            LOG.warning("Users without an entry in the mapping file are refused: %s", ", ".join(names))


def _matches(password: bytes, password_hash: bytes) -> bool:
    try:
        return bcrypt.checkpw(password[:PASSWORD_BYTES], password_hash)
    except ValueError:
        # A password that no hash can have been made from.
        return False


def _credentials(header: str | None) -> tuple[bytes, bytes]:
    """User and password of an Authorization header. Raises Challenged."""
    scheme, _, value = (header or "").partition(" ")
    if scheme.lower() != "basic":
        raise Challenged(CHALLENGE)
    try:
        user, colon, password = base64.b64decode(value.strip(), validate=True).partition(b":")
    except (binascii.Error, ValueError):
        raise Challenged(CHALLENGE) from None
    if not colon or not user:
        raise Challenged(CHALLENGE)
    return user, password
