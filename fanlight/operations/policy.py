"""Policy: who may do what, as operators configure it with oslo.policy's files and language.

Operations ask here, once a decision, with the caller and a target (what the decision is about). oslo.policy parses the
checks; checks.py compiles them, since its own `enforce` looks at the file system, copies credentials and interprets the
check at each call. A check that cannot be parsed is an error here; oslo.policy takes it for "never" and goes on.
"""

from __future__ import annotations

import logging
import os
import re
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any, Protocol

from msgspec import Struct
from oslo_config import cfg
from oslo_policy import _checks, opts
from oslo_policy import policy as oslo_policy

from fanlight.catalog.questions import answer
from fanlight.errors import PolicyDenied, SettingsError
from fanlight.model import Caller, Image
from fanlight.operations.checks import Check, Rules, Target
from fanlight.operations.rules import RULES

LOG = logging.getLogger(__name__)
_LOOK_SECONDS = 1.0
"""How often at most the files are looked at for changes."""
_RACY_NS = 50_000_000
"""Nanoseconds: a file changed so recently may change again within the same tick of the file system's clock."""
_SCOPED = frozenset(rule.name for rule in RULES if rule.scoped)
_OWN_KINDS = (_checks.TrueCheck, _checks.FalseCheck, _checks.RuleCheck, _checks.RoleCheck, _checks.GenericCheck)
_JOINTS = frozenset({"and", "or"})


class PolicySettings(Protocol):
    """The options of [oslo_policy], paths absolute."""

    @property
    def policy_file(self) -> str | None: ...
    @property
    def policy_dirs(self) -> tuple[str, ...]: ...
    @property
    def policy_default_rule(self) -> str: ...
    @property
    def enforce_new_defaults(self) -> bool: ...
    @property
    def remote_content_type(self) -> str: ...
    @property
    def remote_ssl_verify_server_crt(self) -> bool: ...
    @property
    def remote_ssl_ca_crt_file(self) -> str | None: ...
    @property
    def remote_ssl_client_crt_file(self) -> str | None: ...
    @property
    def remote_ssl_client_key_file(self) -> str | None: ...
    @property
    def remote_timeout(self) -> float: ...


def open_policy(settings: PolicySettings) -> Policy:
    """Read the policy files. Raises SettingsError for one that cannot be understood; none at all is fine."""
    return Policy(settings)


class Policy:
    """The rules in force. Thread-safe; a changed file takes effect within a second or so, a broken one does not."""

    def __init__(self, settings: PolicySettings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._stamp = self._files_stamp()
        self._looked = time.monotonic()
        try:
            self._rules = self._read()
        except (ValueError, OSError) as error:
            raise SettingsError(f"The policy cannot be understood: {_one_line(error)}") from error

    @property
    def legacy(self) -> bool:
        """Whether the old defaults count as well (`enforce_new_defaults` is false)."""
        return not self._settings.enforce_new_defaults

    def check(self, rule: str, caller: Caller) -> Check:
        """The check that `rule` is for `caller` now; ask it `check(target, caller)`, of as many targets as there are.

        Callers of the system or a domain pass no scoped rule.
        """
        if time.monotonic() - self._looked > _LOOK_SECONDS:
            self.reload_if_changed()
        if (caller.system_scope or caller.domain_id) and rule in _SCOPED:
            return _never
        rules = self._rules
        return rules.checks.get(rule, rules.default)

    def allows(self, rule: str, caller: Caller, target: Target) -> bool:
        """Whether `rule` lets `caller` do it to `target`."""
        return self.check(rule, caller)(target, caller)

    def require(self, rule: str, caller: Caller, target: Target) -> None:
        """Raise PolicyDenied unless `rule` lets `caller` do it to `target`."""
        if not self.check(rule, caller)(target, caller):
            raise PolicyDenied(rule)

    def is_admin(self, caller: Caller) -> bool:
        """Whether the rule `context_is_admin` makes `caller` an administrator."""
        return self.check("context_is_admin", caller)({}, caller)

    def reload_if_changed(self) -> bool:
        """Read the files again if one of them changed, appeared or went; whether new rules are in force now.

        Files that cannot be understood leave the old rules in force, and one error in the log.
        """
        # Whoever comes while another thread reads goes on with the old rules.
        if not self._lock.acquire(blocking=False):
            return False
        try:
            self._looked = time.monotonic()
            stamp = self._files_stamp()
            if stamp == self._stamp:
                return False
            self._stamp = stamp
            self._rules = self._read()
        except (ValueError, OSError) as error:
            LOG.error("the changed policy cannot be understood, the old rules stay: %s", _one_line(error))
            return False
        finally:
            self._lock.release()
        LOG.info("policy files read again")
        return True

    def idle(self) -> list[str]:
        """Names in the files that no operation asks for and no other rule refers to: misspelt, or of what is not here.

        Raises ValueError and OSError.
        """
        written: dict[str, Any] = {}
        for path in self._files():
            written |= _file_rules(path)
        used = {rule.name for rule in RULES} | {self._settings.policy_default_rule}
        for check in oslo_policy.Rules.from_dict(written).values():
            used.update(_references(check))
        return sorted(written.keys() - used)

    # -- files

    def _files(self) -> list[str]:
        """The files that there are or should be, in the order in which later ones win."""
        paths = [self._settings.policy_file] if self._settings.policy_file else []
        for folder in self._settings.policy_dirs:
            try:
                names = sorted(os.listdir(folder))
            except FileNotFoundError:
                continue
            found = [os.path.join(folder, name) for name in names if not name.startswith(".")]
            paths += [path for path in found if not os.path.isdir(path)]
        return paths

    def _files_stamp(self) -> object:
        """Something that differs when any file differs, or one may still be being written."""
        try:
            paths = self._files()
        except OSError as error:
            return str(error)
        now = time.time_ns()
        found: list[object] = []
        for path in paths:
            try:
                state = os.stat(path)
            except OSError as error:
                found.append((path, error.errno))
                continue
            racy = now if 0 <= now - state.st_mtime_ns < _RACY_NS else 0
            found.append((path, state.st_ino, state.st_mtime_ns, state.st_ctime_ns, state.st_size, racy))
        return found

    def _read(self) -> Rules:
        """The defaults, the files over them. Raises ValueError and OSError."""
        texts: dict[str, Any] = {}
        for rule in RULES:
            both = self.legacy and rule.deprecated is not None
            texts[rule.name] = f"({rule.check}) or ({rule.deprecated})" if both and rule.check else rule.check
        for path in self._files():
            texts |= _file_rules(path)
        parsed = dict(oslo_policy.Rules.from_dict(texts))
        for name, check in parsed.items():
            if isinstance(check, _checks.FalseCheck) and set(re.findall(r"[^\s()\[\]']+", str(texts[name]))) != {"!"}:
                raise ValueError(f"the check of {name} cannot be parsed: {texts[name]!r}")
        _require_acyclic(parsed)
        _tell_of_missing(parsed, self._settings.policy_default_rule)
        outside = _Outside(self._settings, parsed)
        bound = {name: _bound(check, outside, name) for name, check in parsed.items()}
        return Rules(bound, self._settings.policy_default_rule)


def _file_rules(path: str) -> dict[str, Any]:
    """Name -> check, as they stand in a file; nothing where it is gone. Raises ValueError and OSError."""
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
    except FileNotFoundError:
        return {}
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not UTF-8 text") from None
    try:
        found = oslo_policy.parse_file_contents(text)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    if not isinstance(found, dict):
        raise ValueError(f"{path} must map names of rules to checks")
    for name, check in found.items():
        leaves = [check] if isinstance(check, str) else _old_list(check)
        if not isinstance(name, str) or leaves is None or not all(_is_sound(leaf) for leaf in leaves):
            raise ValueError(f"{path}: the check of {name} cannot be parsed: {check!r}")
    return found


def _old_list(check: Any) -> list[str] | None:
    """The checks of the oldest form, a list (or) of lists (and); None where it is something else."""
    # A name without value would mean "everybody" to oslo.policy, and is far more likely to be an accident.
    if not isinstance(check, list):
        return None
    inner = [[item] if isinstance(item, str) else item for item in check]
    if not all(isinstance(item, list) and all(isinstance(leaf, str) for leaf in item) for item in inner):
        return None
    return [leaf for item in inner for leaf in item]


def _is_sound(text: str) -> bool:
    """Whether the words of a check follow each other as they should; oslo.policy would log a traceback and deny."""
    depth, wants_check = 0, True
    for word in text.split():
        rest = word.lstrip("(")
        inner = rest.rstrip(")")
        opened, closed = len(word) - len(rest), len(rest) - len(inner)
        if opened and not wants_check:
            return False
        depth += opened
        if inner.lower() == "not" or inner.lower() in _JOINTS:
            if closed or wants_check != (inner.lower() == "not"):
                return False
            wants_check = True
        elif inner:
            if not wants_check or (inner not in ("@", "!") and not re.match(r"[^:()]+:", inner)):
                return False
            wants_check = False
        if closed and wants_check:
            return False
        depth -= closed
        if depth < 0:
            return False
    return depth == 0 and (not wants_check or not text.strip())


# -- trees of checks


def _children(check: Any) -> list[Any]:
    if isinstance(check, _checks.NotCheck):
        return [check.rule]
    return list(check.rules) if isinstance(check, _checks.AndCheck | _checks.OrCheck) else []


def _references(check: Any) -> Iterator[str]:
    if isinstance(check, _checks.RuleCheck):
        yield check.match
    for child in _children(check):
        yield from _references(child)


def _require_acyclic(rules: Mapping[str, Any]) -> None:
    """Raise ValueError for a rule that refers to itself, over however many others."""
    done: set[str] = set()

    def visit(name: str, way: tuple[str, ...]) -> None:
        if name in way:
            raise ValueError(f"rules refer to each other in a circle: {' -> '.join((*way[way.index(name) :], name))}")
        if name not in done:
            for other in _references(rules.get(name)):
                visit(other, (*way, name))
            done.add(name)

    for name in rules:
        visit(name, ())


def _tell_of_missing(rules: Mapping[str, Any], default: str) -> None:
    for name, check in rules.items():
        for other in _references(check):
            if other not in rules:
                LOG.warning("policy: %s refers to rule:%s, which is not there: %s decides", name, other, default)


def _bound(check: Any, outside: _Outside, rule: str) -> Any:
    """The tree, with checks that only oslo.policy can run tied to what they need."""
    if isinstance(check, _checks.GenericCheck) and check.kind == "is_admin_project":
        # No longer in tokens; oslo.context tells every policy that it is so.
        check.kind = "True"
    if isinstance(check, _checks.NotCheck):
        check.rule = _bound(check.rule, outside, rule)
    elif isinstance(check, _checks.AndCheck | _checks.OrCheck):
        check.rules = [_bound(child, outside, rule) for child in check.rules]
    elif type(check) not in _OWN_KINDS:
        return _OutsideCheck(check, outside, rule)
    return check


class _Outside:
    """What oslo.policy hands to checks beside target and credentials: its options, and all rules."""

    def __init__(self, settings: PolicySettings, rules: Mapping[str, Any]) -> None:
        self._settings = settings
        self.rules = rules

    @cached_property
    def conf(self) -> cfg.ConfigOpts:
        """The options of [oslo_policy] about questions to others, where oslo.policy looks for them."""
        conf = cfg.ConfigOpts()
        conf([], default_config_files=[], default_config_dirs=[])
        for option in dict(opts.list_opts())["oslo_policy"]:
            if option.dest.startswith("remote_"):
                conf.register_opt(option, group="oslo_policy")
                conf.set_override(option.dest, getattr(self._settings, option.dest), group="oslo_policy")
        return conf


class _OutsideCheck:
    """A check that asks somebody else: `http:`, `https:`, or one of an operator's package. No answer means no."""

    def __init__(self, check: Any, outside: _Outside, rule: str) -> None:
        self._check, self._outside, self._rule = check, outside, rule

    def __call__(self, target: Target, credentials: Mapping[str, Any], _rules: object) -> bool:
        plain = {name: list(value) if isinstance(value, tuple) else value for name, value in credentials.items()}
        about = dict(target)
        return answer(repr((str(self._check), self._rule, about, plain)), lambda: self._ask(about, plain))

    def _ask(self, target: dict[str, Any], credentials: dict[str, Any]) -> bool:
        try:
            return bool(self._check(target, credentials, self._outside, self._rule))
        except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
            LOG.error("policy: the check %s of %s failed, which denies: %s", self._check, self._rule, _one_line(error))
            return False


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())


def _never(target: Target, caller: Caller) -> bool:
    return False


# -- targets


class ImageTarget(Struct, frozen=True):
    """What checks see of an image (facts: policy 1.2): its fields except locations, and its custom properties.

    Under the usual names also: `project_id` (the owner), `id` and `image_id`, and `member_id`, the caller's project
    where the image is shared and not its own. A name that the image lacks makes a check that uses it false.
    Nothing is copied: most checks look at two or three names.
    """

    image: Image
    caller: Caller

    def __getitem__(self, name: str) -> Any:
        image = self.image
        if name == "project_id" or name == "owner":
            return image.owner
        if name == "member_id" or name == "member":
            shared = image.visibility == "shared" and image.owner != self.caller.project_id
            return self.caller.project_id if shared else None
        if name == "image_id" or name == "id":
            return image.id
        if name in _IMAGE_FIELDS:
            return getattr(image, name)
        return image.properties[name]

    def get(self, name: str) -> Any:
        """The value, None where there is none."""
        try:
            return self[name]
        except KeyError:
            return None

    def keys(self) -> Iterable[str]:
        """All names."""
        return _NAMES | self.image.properties.keys()


_IMAGE_FIELDS = frozenset(
    "name status visibility created_at updated_at disk_format container_format size virtual_size checksum os_hash_algo "
    "os_hash_value min_disk min_ram protected os_hidden tags".split()
)
_NAMES = frozenset({"project_id", "owner", "member_id", "member", "image_id", "id", *_IMAGE_FIELDS})


# -- documentation


def policy_sample() -> str:
    """All rules with their defaults, as a policy file (YAML) in which everything is commented out."""
    lines = [
        "# Policy of Fanlight: a copy of the rules that hold by default. Remove the # before a rule to change it.",
        "# The file is read again when it changes.",
        "",
    ]
    for rule in RULES:
        lines.append(f"# {rule.description}")
        lines += [f"#   {operation}" for operation in rule.operations]
        if rule.scoped:
            lines.append("# Only for tokens of a project.")
        if rule.deprecated is not None:
            lines.append(f'# With enforce_new_defaults = false also: "{rule.deprecated}"')
        lines += [f'#"{rule.name}": "{rule.check}"', ""]
    return "\n".join(lines)
