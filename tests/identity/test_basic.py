"""Mode http_basic: bcrypt passwords from an htpasswd file, projects and roles from the mapping file."""

from __future__ import annotations

import base64
import logging
import os
import statistics
import threading
import time
from pathlib import Path

import bcrypt
import httpx
import pytest
from keystoneauth1 import http_basic
from keystoneauth1.session import Session

from fanlight.errors import NotAuthenticated, SettingsError
from fanlight.http.identity import Identity, RequestHead
from tests.bed import callers

from .conftest import Open, Serve

MAPPING = """
# users of the service
[alice]
project_id = p1
roles = Member, reader

[root]
user_id = 0
project_id =
roles = admin
"""


def hashed(password: str, rounds: int = 4, prefix: bytes = b"2b") -> str:
    value = bcrypt.hashpw(password.encode()[:72], bcrypt.gensalt(rounds))
    return value.replace(b"$2b$", b"$" + prefix + b"$").decode()


class Files:
    """The two files, rewritten the way an editor or htpasswd does it."""

    def __init__(self, folder: Path) -> None:
        self.htpasswd, self.mapping = folder / "htpasswd", folder / "users.ini"
        self.users(alice="wonder", root="toor")
        self.mapping.write_text(MAPPING)

    def users(self, **passwords: str) -> None:
        self.htpasswd.write_text("".join(f"{name}:{hashed(value)}\n" for name, value in passwords.items()))

    def options(self) -> dict[str, str]:
        return {"htpasswd_file": str(self.htpasswd), "mapping_file": str(self.mapping)}


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def head(user: str, password: str) -> RequestHead:
    value = b"Basic " + base64.b64encode(f"{user}:{password}".encode())
    return RequestHead("GET", "/", "", [(b"authorization", value)], ("127.0.0.1", 1), "http")


def accepts(identity: Identity, user: str, password: str) -> bool:
    try:
        identity.identify(head(user, password))
    except NotAuthenticated:
        return False
    return True


def test_a_user_stands_for_what_the_mapping_says(open_mode: Open, serve: Serve, files: Files) -> None:
    base = serve(open_mode("http_basic", **files.options()))
    caller = callers.get(base, auth=("alice", "wonder")).json()
    assert (caller["user_id"], caller["project_id"], caller["roles"]) == ("alice", "p1", ["member", "reader"])
    assert caller["is_admin"] is False
    caller = callers.get(base, auth=("root", "toor")).json()
    assert (caller["user_id"], caller["project_id"], caller["is_admin"]) == ("0", None, True)


def test_the_client_library_of_openstack_logs_in(open_mode: Open, serve: Serve, files: Files) -> None:
    base = serve(open_mode("http_basic", **files.options()))
    session = Session(auth=http_basic.HTTPBasicAuth(endpoint=base, username="alice", password="wonder"))
    assert session.get("/v2/images", endpoint_filter={"service_type": "image"}).json()["user_id"] == "alice"


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        "Basic",
        "Basic !!!!",
        "Basic " + base64.b64encode(b"alice").decode(),
        "Basic " + base64.b64encode(b":wonder").decode(),
        "Basic " + base64.b64encode(b"alice:wrong").decode(),
        "Basic " + base64.b64encode(b"nobody:wonder").decode(),
        "Basic " + base64.b64encode(b"ALICE:wonder").decode(),
        "Basic " + base64.b64encode(b"alice:wonder\0").decode(),
        "Basic " + base64.b64encode(b"alice:\xff\xfe").decode(),
        "Basic " + base64.b64encode(b"alice:" + b"x" * 5000).decode(),
        "Bearer " + base64.b64encode(b"alice:wonder").decode(),
    ],
)
def test_everything_else_is_challenged(open_mode: Open, serve: Serve, files: Files, value: str | None) -> None:
    base = serve(open_mode("http_basic", **files.options()))
    answer = callers.get(base, headers={} if value is None else {"Authorization": value})
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == 'Basic realm="Fanlight", charset="UTF-8"'


def test_identity_headers_of_the_client_mean_nothing(open_mode: Open, serve: Serve, files: Files) -> None:
    base = serve(open_mode("http_basic", **files.options()))
    claimed = {"X-Identity-Status": "Confirmed", "X-Roles": "admin", "X-Project-Id": "p2", "X-Auth-Token": "a:b:admin"}
    assert callers.get(base, headers=claimed).status_code == 401
    caller = callers.get(base, headers=claimed, auth=("alice", "wonder")).json()
    assert (caller["project_id"], caller["roles"]) == ("p1", ["member", "reader"])


@pytest.mark.parametrize("prefix", [b"2a", b"2b", b"2y"])
def test_every_spelling_of_bcrypt_is_understood(open_mode: Open, files: Files, prefix: bytes) -> None:
    files.htpasswd.write_text(f"# by htpasswd -B\n\nalice:{hashed('pässword', prefix=prefix)}\r\n", encoding="utf-8")
    identity = open_mode("http_basic", **files.options())
    assert accepts(identity, "alice", "pässword")
    assert not accepts(identity, "alice", "passw")


def test_long_passwords_match_what_htpasswd_stored(open_mode: Open, files: Files) -> None:
    files.users(alice="x" * 100)
    identity = open_mode("http_basic", **files.options())
    assert accepts(identity, "alice", "x" * 100)
    assert not accepts(identity, "alice", "x" * 71)


@pytest.mark.parametrize(
    "value",
    [
        "$apr1$n3dnTOwA$PTVbVrWHAqHAXFBZsWYzo/",
        "{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=",
        "plain",
        "rl5FQLPHMQGLo",
        "$6$salt$hash",
        "$2b$12$tooshort",
        "",
    ],
)
def test_other_hashes_stop_the_start_and_are_not_shown(open_mode: Open, files: Files, value: str) -> None:
    files.htpasswd.write_text(f"alice:{hashed('x')}\nbob:{value}\n")
    with pytest.raises(SettingsError, match="line 2: the hash of this user is not bcrypt") as caught:
        open_mode("http_basic", **files.options())
    assert not value or value not in str(caught.value)


@pytest.mark.parametrize(
    ("mapping", "words"),
    [
        ("[alice]\nproject_id = p1\n", "roles is missing"),
        ("[alice]\nroles = member\n", "project_id is missing"),
        ("[alice]\nproject_id = p1\nroles = a\nrole = b\n", "unknown key 'role'"),
        ("[alice]\nproject_id = p1\nroles = a\n[alice]\nproject_id = p1\nroles = a\n", "already exists"),
        ("alice: p1\n", "no section headers"),
        ("[DEFAULT]\nroles = admin\n[alice]\nproject_id = p1\n", "project_id is missing"),
    ],
)
def test_a_wrong_mapping_stops_the_start(open_mode: Open, files: Files, mapping: str, words: str) -> None:
    files.mapping.write_text(mapping)
    with pytest.raises(SettingsError, match=words):
        open_mode("http_basic", **files.options())


def test_both_files_are_needed(open_mode: Open, files: Files) -> None:
    with pytest.raises(SettingsError, match=r"needs .fanlight.htpasswd_file"):
        open_mode("http_basic", htpasswd_file=str(files.htpasswd))
    with pytest.raises(SettingsError, match=r"nowhere cannot be read: No such file"):
        open_mode("http_basic", htpasswd_file=str(files.htpasswd), mapping_file="/nowhere")
    files.htpasswd.write_text("alice\n")
    with pytest.raises(SettingsError, match=r"line 1: expected user:hash"):
        open_mode("http_basic", **files.options())


def test_a_user_without_mapping_is_refused_and_named_in_the_log(
    open_mode: Open, serve: Serve, files: Files, caplog: pytest.LogCaptureFixture
) -> None:
    files.users(alice="wonder", bob="builder")
    with caplog.at_level(logging.WARNING):
        base = serve(open_mode("http_basic", **files.options()))
    assert "bob" in caplog.text
    assert callers.get(base, auth=("bob", "builder")).status_code == 403
    assert callers.get(base, auth=("bob", "wrong")).status_code == 401


def test_changes_of_the_files_count_at_once(open_mode: Open, files: Files) -> None:
    identity = open_mode("http_basic", **files.options())
    assert accepts(identity, "alice", "wonder")
    for number in range(20):
        files.users(alice=f"new{number:02}")
        assert not accepts(identity, "alice", "wonder" if number == 0 else f"new{number - 1:02}")
        assert accepts(identity, "alice", f"new{number:02}")
    files.mapping.write_text("[alice]\nproject_id = p9\nroles = admin\n")
    caller = identity.identify(head("alice", "new19"))
    assert (caller.project_id, caller.is_admin) == ("p9", True)
    files.users(root="toor")
    assert not accepts(identity, "alice", "new19")


def test_a_file_swapped_with_its_old_times_counts_too(open_mode: Open, files: Files) -> None:
    identity = open_mode("http_basic", **files.options())
    assert accepts(identity, "alice", "wonder")
    before = files.htpasswd.stat()
    new = files.htpasswd.with_name("new")
    new.write_text(f"alice:{hashed('secnd!')}\nroot:{hashed('toor')}\n")
    os.utime(new, ns=(before.st_atime_ns, before.st_mtime_ns))
    new.replace(files.htpasswd)
    assert not accepts(identity, "alice", "wonder")
    assert accepts(identity, "alice", "secnd!")


def test_a_broken_change_keeps_the_old_users(open_mode: Open, files: Files, caplog: pytest.LogCaptureFixture) -> None:
    identity = open_mode("http_basic", **files.options())
    files.htpasswd.write_text("alice:plain\n")
    assert accepts(identity, "alice", "wonder")
    assert "not bcrypt" in caplog.text
    files.htpasswd.unlink()
    assert accepts(identity, "alice", "wonder")
    files.users(alice="again")
    assert accepts(identity, "alice", "again")


@pytest.mark.alone
def test_an_unknown_user_costs_what_a_wrong_password_costs(open_mode: Open, files: Files) -> None:
    files.htpasswd.write_text(f"alice:{hashed('wonder', rounds=8)}\n")
    identity = open_mode("http_basic", **files.options())

    def cost(user: str) -> float:
        times = []
        for number in range(9):
            started = time.perf_counter()
            assert not accepts(identity, user, f"guess{number}")
            times.append(time.perf_counter() - started)
        return min(times)

    known, unknown = cost("alice"), cost("mallory")
    assert known > 0.004, "bcrypt with 2^8 rounds is not that fast"
    assert 0.7 < known / unknown < 1.4


def test_a_file_without_users_still_checks(open_mode: Open, files: Files) -> None:
    files.htpasswd.write_text("")
    started = time.perf_counter()
    assert not accepts(open_mode("http_basic", **files.options()), "alice", "wonder")
    assert time.perf_counter() - started > 0.05


@pytest.mark.alone
def test_a_verified_password_is_remembered(open_mode: Open, files: Files) -> None:
    files.htpasswd.write_text(f"alice:{hashed('wonder', rounds=10)}\n")
    identity = open_mode("http_basic", **files.options())
    assert accepts(identity, "alice", "wonder")
    time.sleep(0.06)
    started = time.perf_counter()
    for _ in range(100):
        assert accepts(identity, "alice", "wonder")
    assert time.perf_counter() - started < 0.04, "a single bcrypt check of 2^10 rounds takes longer"


@pytest.mark.alone
def test_one_password_in_many_threads_is_checked_once(open_mode: Open, files: Files) -> None:
    files.htpasswd.write_text(f"alice:{hashed('wonder', rounds=11)}\n")
    identity = open_mode("http_basic", **files.options())
    single = []
    for guess in ("a", "b", "c"):
        started = time.perf_counter()
        assert not accepts(identity, "alice", guess)
        single.append(time.perf_counter() - started)
    results: list[bool] = []
    threads = [threading.Thread(target=lambda: results.append(accepts(identity, "alice", "wonder"))) for _ in range(24)]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [True] * 24
    assert time.perf_counter() - started < 6 * statistics.median(single)


def test_guessing_is_told_to_come_back(open_mode: Open, serve: Serve, files: Files) -> None:
    files.htpasswd.write_text(f"alice:{hashed('wonder', rounds=11)}\n")
    base = serve(open_mode("http_basic", **files.options()))
    assert callers.get(base, auth=("alice", "wonder")).status_code == 200
    answers: list[httpx.Response] = []

    def guess(number: int) -> None:
        answers.append(callers.get(base, auth=("alice", f"guess{number}"), timeout=30))

    threads = [threading.Thread(target=guess, args=(number,)) for number in range(24)]
    for thread in threads:
        thread.start()
    known = callers.get(base, auth=("alice", "wonder"), timeout=30)
    for thread in threads:
        thread.join()
    assert known.status_code == 200, "who is logged in is not held up"
    assert {answer.status_code for answer in answers} == {401, 503}
    assert all(answer.headers["retry-after"] == "1" for answer in answers if answer.status_code == 503)


@pytest.mark.parametrize("page", [{"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site"}], ids=str)
def test_a_foreign_page_cannot_use_the_browsers_password(
    open_mode: Open, serve: Serve, files: Files, page: dict[str, str]
) -> None:
    base = serve(open_mode("http_basic", **files.options()))
    assert callers.post(base, auth=("alice", "wonder"), headers=page).status_code == 403
    own = {"Origin": base, "Sec-Fetch-Site": "same-origin"}
    assert callers.post(base, auth=("alice", "wonder"), headers=own).status_code == 200


def test_anonymous_access_where_there_would_be_a_401(open_mode: Open, serve: Serve, files: Files) -> None:
    base = serve(open_mode("http_basic", allow_anonymous_access=True, **files.options()))
    for auth in (None, ("alice", "wrong")):
        caller = callers.get(base, auth=auth).json()
        assert (caller["read_only"], caller["roles"], caller["is_admin"]) == (True, [], False)
    assert callers.get(base, auth=("alice", "wonder")).json()["read_only"] is False


def test_no_password_reaches_the_log(open_mode: Open, files: Files, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        identity = open_mode("http_basic", **files.options())
        accepts(identity, "alice", "wonder")
        accepts(identity, "alice", "planted-wrong")
        files.htpasswd.write_text("alice:planted-hash\n")
        accepts(identity, "alice", "wonder")
    assert "not bcrypt" in caplog.text
    for secret in ("wonder", "planted", base64.b64encode(b"alice:wonder").decode()):
        assert secret not in caplog.text
