"""What the rules decide by default, for the callers and images that matter, and what files and options change."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import parse_qs

import pytest

from fanlight.errors import PolicyDenied
from fanlight.model import Caller
from fanlight.operations.policy import ImageTarget
from fanlight.operations.rules import RULES, UNSCOPED
from tests.policy.conftest import OpenPolicy, caller, image

ADMIN = caller("admins", "admin", "member", "reader")
OWNER = caller("one")
OTHER = caller("two")
READER = caller("one", "reader")
NOBODY = Caller()

IMAGE_DECISIONS = [
    # rule, visibility, who of ADMIN OWNER OTHER READER (of the owning project) NOBODY passes
    ("get_image", "private", "yes yes no yes no"),
    ("get_image", "shared", "yes yes yes yes no"),
    ("get_image", "public", "yes yes yes yes no"),
    ("get_image", "community", "yes yes yes yes no"),
    ("download_image", "private", "yes yes no no no"),
    ("download_image", "public", "yes yes yes no no"),
    ("download_from_store", "shared", "yes yes yes no no"),
    ("modify_image", "public", "yes yes no no no"),
    ("delete_image", "private", "yes yes no no no"),
    ("upload_image", "private", "yes yes no no no"),
    ("add_image", "private", "yes yes no no no"),
    ("publicize_image", "private", "yes no no no no"),
    ("communitize_image", "private", "yes yes no no no"),
    ("deactivate", "private", "yes yes no no no"),
    ("reactivate", "private", "yes yes no no no"),
    ("copy_image", "private", "yes no no no no"),
    ("add_member", "shared", "yes yes no no no"),
    ("get_members", "shared", "yes yes yes yes no"),
    ("get_members", "private", "yes yes no yes no"),
    ("get_member", "shared", "yes yes yes yes no"),
    ("modify_member", "shared", "yes no yes no no"),
    ("delete_member", "shared", "yes yes no no no"),
    ("add_image_location", "private", "yes yes no no no"),
    ("fetch_image_location", "private", "yes no no no no"),
    ("tasks_api_access", "private", "yes no no no no"),
    ("stores_info_detail", "private", "yes no no no no"),
]


@pytest.mark.parametrize(("rule", "visibility", "expected"), IMAGE_DECISIONS)
def test_defaults(policy: OpenPolicy, rule: str, visibility: str, expected: str) -> None:
    opened, subject = policy(), image("one", visibility)
    callers = (ADMIN, OWNER, OTHER, READER, NOBODY)
    found = [opened.allows(rule, one, ImageTarget(subject, one)) for one in callers]
    assert found == [word == "yes" for word in expected.split()]


def test_a_service_is_told_locations(policy: OpenPolicy) -> None:
    service = caller("services", "service")
    assert policy().allows("fetch_image_location", service, ImageTarget(image(), service))


@pytest.mark.parametrize("rule", [rule.name for rule in RULES])
def test_tokens_of_the_system_or_a_domain_pass_no_rule_of_a_call(policy: OpenPolicy, rule: str) -> None:
    opened = policy()
    for scope in ({"system_scope": "all"}, {"domain_id": "d"}):
        admin = caller(None, "admin", "member", "reader", **scope)
        assert opened.allows(rule, admin, ImageTarget(image(), admin)) is (rule in UNSCOPED)


def test_a_rule_of_the_operators_own_has_no_scope(policy: OpenPolicy) -> None:
    opened = policy('"mine": "role:admin"\n')
    assert opened.allows("mine", caller(None, "admin", system_scope="all"), {})


def test_without_owner_and_project_nobody_is_owner(policy: OpenPolicy) -> None:
    homeless = caller(None, "member", "reader")
    assert not policy().allows("modify_image", homeless, ImageTarget(image(None), homeless))


def test_require_names_the_rule(policy: OpenPolicy) -> None:
    with pytest.raises(PolicyDenied, match="modify_image") as caught:
        policy().require("modify_image", OTHER, ImageTarget(image(), OTHER))
    assert caught.value.rule == "modify_image"


def test_who_is_admin_follows_its_rule(policy: OpenPolicy) -> None:
    opened = policy('"context_is_admin": "role:boss"\n')
    assert opened.is_admin(caller("p", "boss"))
    assert not opened.is_admin(ADMIN)
    assert opened.allows("publicize_image", caller("p", "boss"), ImageTarget(image(), OWNER))


def test_legacy_adds_the_old_defaults(policy: OpenPolicy) -> None:
    new, old = policy(), policy(enforce_new_defaults=False)
    assert not new.legacy
    assert old.legacy
    target = ImageTarget(image("one", "private"), NOBODY)
    for rule in ("get_image", "modify_image", "upload_image", "get_task"):
        assert old.allows(rule, NOBODY, target), rule
    # These had no other default before.
    for rule in ("publicize_image", "copy_image", "tasks_api_access", "download_from_store"):
        assert not old.allows(rule, NOBODY, target), rule
    assert not new.allows("modify_image", NOBODY, target)


def test_a_rule_in_the_file_replaces_both_defaults(policy: OpenPolicy) -> None:
    opened = policy('"modify_image": "role:editor"\n', enforce_new_defaults=False)
    assert not opened.allows("modify_image", OWNER, ImageTarget(image(), OWNER))
    assert opened.allows("modify_image", caller("x", "editor"), ImageTarget(image(), OWNER))


@pytest.mark.parametrize(
    ("check", "expected"),
    [
        ("@", True),
        ("!", False),
        ("", True),
        ("not role:admin", True),
        ("not (role:admin or role:member)", False),
        ("role:MEMBER", True),
        ("role:admin or role:reader and project_id:one", True),
        ("project_id:%(owner)s", True),
        ("tenant:%(owner)s", True),
        ("user_id:u", True),
        ("user_id:%(nothing)s", False),
        ("'raw':%(disk_format)s", True),
        ("'linux':%(os_type)s", True),
        ("None:%(checksum)s", False),
        ("roles:member", True),
        ("is_admin_project:True", True),
        ("is_admin:True", False),
        ("rule:mine", True),
        ("rule:not_there", True),
        ("role:%(wanted_role)s", True),
        ("project_id:%(nothing)s or role:reader", True),
    ],
)
def test_the_language(policy: OpenPolicy, check: str, expected: bool) -> None:
    opened = policy(f'"tried": "{check}"\n"mine": "role:member"\n')
    subject = image("one", disk_format="raw", properties={"os_type": "linux", "wanted_role": "reader"})
    assert opened.allows("tried", OWNER, ImageTarget(subject, OWNER)) is expected


def test_the_default_rule_decides_for_unknown_names(policy: OpenPolicy) -> None:
    assert policy().allows("whatever", NOBODY, {})
    assert not policy('"default": "!"\n').allows("whatever", ADMIN, {})
    assert not policy('"deny": "!"\n', policy_default_rule="deny").allows("whatever", ADMIN, {})
    assert not policy(policy_default_rule="not_there").allows("whatever", ADMIN, {})


def test_target_of_an_image() -> None:
    subject = image("one", "shared", properties={"os_type": "linux", "owner": "forged", "project_id": "forged"})
    target = ImageTarget(subject, OTHER)
    assert target["project_id"] == target["owner"] == "one"
    assert target["member_id"] == "two"
    assert target["id"] == target["image_id"] == "i-1"
    assert target["os_type"] == "linux"
    assert target["visibility"] == "shared"
    assert target.get("locations") is None
    assert "locations" not in dict(target)
    assert dict(target)["owner"] == "one"
    assert ImageTarget(subject, OWNER)["member_id"] is None
    assert ImageTarget(image("one", "public"), OTHER)["member_id"] is None


# -- checks that ask somebody else


@pytest.fixture
def judge() -> Iterator[tuple[str, list[dict[str, str]]]]:
    """A server that says True to questions about the user `u` of project `two`."""
    asked: list[dict[str, str]] = []

    class Judge(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
            asked.append({name: values[0] for name, values in form.items()})
            answer = b"True" if json.loads(asked[-1]["credentials"])["project_id"] == "two" else b"False"
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *words: object) -> None:
            """Silence."""

    server = HTTPServer(("127.0.0.1", 0), Judge)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    thread.join()
    server.server_close()


def test_an_http_check_asks(policy: OpenPolicy, judge: tuple[str, list[dict[str, str]]]) -> None:
    url, asked = judge
    opened = policy(f'"get_image": "role:member and {url}/%(visibility)s"\n')
    subject = image("one", "public", tags=("a",))
    assert opened.allows("get_image", OTHER, ImageTarget(subject, OTHER))
    assert not opened.allows("get_image", OWNER, ImageTarget(subject, OWNER))
    assert json.loads(asked[0]["rule"]) == "get_image"
    assert json.loads(asked[0]["target"])["project_id"] == "one"
    assert json.loads(asked[0]["credentials"])["roles"] == ["member", "reader"]


def test_an_http_check_without_answer_denies(policy: OpenPolicy, caplog: pytest.LogCaptureFixture) -> None:
    opened = policy('"get_image": "http://127.0.0.1:9/"\n', remote_timeout=1.0)
    assert not opened.allows("get_image", ADMIN, ImageTarget(image(), ADMIN))
    assert "get_image" in caplog.text
    assert "Traceback" not in caplog.text
