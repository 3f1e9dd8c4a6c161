"""Files of rules: forms, order, changes while the service runs, and what is wrong with them."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from fanlight.errors import SettingsError
from fanlight.operations.policy import Policy
from tests.policy.conftest import OpenPolicy, caller, write_later

ANYBODY = caller()


def allowed(policy: Policy, rule: str = "tried") -> bool:
    return policy.allows(rule, ANYBODY, {})


@pytest.mark.parametrize(
    "text",
    [
        '"tried": "role:member"\n',
        "tried: role:member\n",
        '{"tried": "role:member"}',
        '{"tried": [["role:admin"], ["role:member", "role:reader"]]}',
        '{"tried": ["role:admin", "role:member"]}',
        '{"tried": []}',
        "# nothing but remarks\n",
        "",
        "{}",
    ],
)
def test_forms(policy: OpenPolicy, text: str) -> None:
    assert allowed(policy(text))


def test_files_of_folders_win_in_the_order_of_their_names(policy: OpenPolicy, tmp_path: Path) -> None:
    folder = tmp_path / "policy.d"
    folder.mkdir()
    (folder / "10-no.yaml").write_text('"tried": "!"\n"other": "!"\n')
    (folder / "20-yes.yaml").write_text('"tried": "@"\n')
    (folder / ".20-yes.yaml.swp").write_bytes(b"\x00\xff")
    (folder / "inner").mkdir()
    opened = policy('"tried": "!"\n"third": "!"\n', policy_dirs=(str(folder), str(tmp_path / "not-there")))
    assert [allowed(opened, rule) for rule in ("tried", "other", "third")] == [True, False, False]


BROKEN = [
    ("[unclosed", "policy.yaml"),
    ("- a\n- list\n", "must map"),
    ("just words", "must map"),
    ("tried: role:admin or nonsense\n", "tried"),
    ("tried: role:admin or\n", "tried"),
    ("tried: (role:admin\n", "tried"),
    ("tried: role:admin)\n", "tried"),
    ("tried: role:admin role:member\n", "tried"),
    ("tried: or role:admin\n", "tried"),
    ("tried: not\n", "tried"),
    ("tried: not(role:admin)\n", "tried"),
    ("tried: '()'\n", "tried"),
    ("tried: role:admin and not or role:x\n", "tried"),
    ("tried:\n", "tried"),
    ("tried: true\n", "tried"),
    ("tried: [[1]]\n", "tried"),
    ("tried: [nonsense]\n", "tried"),
    ("7: role:admin\n", "7"),
    ("a: rule:b\nb: rule:c or role:x\nc: not rule:a\n", "a -> b -> c -> a"),
    ("default: rule:default\n", "default -> default"),
]


@pytest.mark.parametrize(("text", "named"), BROKEN)
def test_a_broken_file_stops_the_start_with_one_line(
    policy: OpenPolicy, caplog: pytest.LogCaptureFixture, text: str, named: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        policy(text)
    assert named in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not caplog.records


def test_bytes_that_are_no_text_stop_the_start(policy: OpenPolicy, policy_file: Path) -> None:
    policy_file.write_bytes(b'"tried": "\xff\xfe"')
    with pytest.raises(SettingsError):
        policy()


def test_a_folder_in_the_place_of_the_file_stops_the_start(policy: OpenPolicy, policy_file: Path) -> None:
    policy_file.mkdir()
    with pytest.raises(SettingsError, match=r"policy\.yaml"):
        policy()


def test_a_rule_that_is_not_there_is_told(policy: OpenPolicy, caplog: pytest.LogCaptureFixture) -> None:
    policy('"tried": "role:x or (role:y and not rule:typo)"\n')
    assert "tried refers to rule:typo" in caplog.text


def test_a_changed_file_takes_effect(policy: OpenPolicy, policy_file: Path) -> None:
    opened = policy('"tried": "!"\n')
    assert not opened.reload_if_changed()
    write_later(policy_file, '"tried": "@"\n')
    assert opened.reload_if_changed()
    assert allowed(opened)
    assert not opened.reload_if_changed()


def test_a_change_is_seen_without_asking(
    policy: OpenPolicy, policy_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fanlight.operations.policy._LOOK_SECONDS", 0.0)
    opened = policy('"tried": "!"\n')
    assert not allowed(opened)
    write_later(policy_file, '"tried": "@"\n')
    assert allowed(opened)


def test_a_file_appears_and_goes(policy: OpenPolicy, policy_file: Path, tmp_path: Path) -> None:
    folder = tmp_path / "policy.d"
    opened = policy(policy_dirs=(str(folder),))
    assert allowed(opened)
    policy_file.write_text('"tried": "!"\n')
    assert opened.reload_if_changed()
    assert not allowed(opened)
    folder.mkdir()
    (folder / "a.yaml").write_text('"tried": "@"\n')
    assert opened.reload_if_changed()
    assert allowed(opened)
    (folder / "a.yaml").unlink()
    policy_file.unlink()
    assert opened.reload_if_changed()
    assert opened.allows("get_images", ANYBODY, {"project_id": "one"})


def test_two_changes_within_a_tick_of_the_clock_are_both_seen(policy: OpenPolicy, policy_file: Path) -> None:
    opened = policy()
    policy_file.write_text('"tried": "@"\n')
    assert opened.reload_if_changed()
    state = policy_file.stat()
    policy_file.write_text('"tried": "!"\n')
    os.utime(policy_file, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert opened.reload_if_changed()
    assert not allowed(opened)


def test_a_broken_change_keeps_the_old_rules_and_is_told_once(
    policy: OpenPolicy, policy_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    opened = policy('"tried": "!"\n')
    write_later(policy_file, '"tried": "role:a or"\n')
    for _ in range(3):
        assert not opened.reload_if_changed()
        assert not allowed(opened)
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert "tried" in caplog.text
    write_later(policy_file, '"tried": "@"\n"more": "@"\n')
    assert opened.reload_if_changed()
    assert allowed(opened)


def test_readers_are_never_in_each_others_way(policy: OpenPolicy, policy_file: Path) -> None:
    """While files change all the time, every answer is that of one of them."""
    opened = policy('"tried": "@"\n')
    found: set[bool] = set()
    failures: list[BaseException] = []

    def ask() -> None:
        try:
            for _ in range(200):
                opened.reload_if_changed()
                found.add(
                    opened.allows("tried", ANYBODY, {}) and opened.allows("get_images", ANYBODY, {"project_id": "one"})
                )
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for number in range(10):
        fresh = policy_file.with_name(f"new-{number}")
        fresh.write_text(f'"tried": "@"\n"number": "role:{number}"\n')
        fresh.rename(policy_file)
    for thread in threads:
        thread.join()
    assert not failures
    assert found == {True}
