"""The table of rules, its sample, what a decision costs, and the same table in the real Glance."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import yaml

from fanlight.operations.policy import ImageTarget, policy_sample
from fanlight.operations.rules import RULES
from tests.policy.conftest import OpenPolicy, caller, image

ROOT = Path(__file__).parents[2]

PROGRAM = """
import json, sys
from glance import policies
rows = [
    [
        rule.name,
        rule.check_str,
        rule.deprecated_rule and rule.deprecated_rule.check_str,
        [one["method"] + " " + one["path"] for one in getattr(rule, "operations", None) or []],
        rule.scope_types,
    ]
    for rule in policies.list_rules()
]
print(json.dumps(rows))
"""


def test_every_rule_is_there_once_and_described() -> None:
    assert len({rule.name for rule in RULES}) == len(RULES) == 67
    for rule in RULES:
        assert re.fullmatch(r"[A-Z].+\.", rule.description), rule.name


def test_the_sample_is_yaml_with_all_rules_once_it_is_uncommented() -> None:
    sample = policy_sample()
    assert yaml.safe_load(sample) is None
    plain = re.sub(r'^#(?=")', "", sample, flags=re.MULTILINE)
    assert yaml.safe_load(plain) == {rule.name: rule.check for rule in RULES}


def test_the_command_of_the_page_writes_the_sample(tmp_path: Path) -> None:
    (command,) = re.findall(r"^\$ (fanlight policy .*)$", (ROOT / "docs" / "policy.md").read_text(), re.MULTILINE)
    words = command.replace("fanlight", f"{sys.executable} -m fanlight")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run(["sh", "-c", words], cwd=tmp_path, env=environment, check=True, timeout=60)
    assert (tmp_path / "policy.yaml").read_text().strip() == policy_sample().strip()


def test_the_sample_changes_nothing(policy: OpenPolicy) -> None:
    plain = re.sub(r'^#(?=")', "", policy_sample(), flags=re.MULTILINE)
    sampled, default = policy(plain), policy()
    who = caller("two")
    target = ImageTarget(image("one", "shared"), who)
    for rule in RULES:
        assert sampled.allows(rule.name, who, target) == default.allows(rule.name, who, target), rule.name


def test_the_rules_are_those_of_glance(glance: Path) -> None:
    done = subprocess.run(
        [str(glance / "bin" / "python"), "-c", PROGRAM], capture_output=True, check=True, timeout=60, text=True
    )
    theirs = {name: rest for name, *rest in json.loads(done.stdout)}
    ours = {
        rule.name: [
            rule.check,
            rule.deprecated,
            [operation.replace(" /", " /v2/") for operation in rule.operations],
            ["project"] if rule.scoped else None,
        ]
        for rule in RULES
    }
    assert ours == theirs
