"""Policy checks, compiled: the tree that oslo.policy parsed, as nested Python functions.

The language stays oslo.policy's. Its own evaluation interprets literals and formats texts anew at each call (80 to
170 µs for `get_image`); compiled, the same rule costs two or three. Checks that we do not know (`http:`, or registered
by an operator's package) are called as they are.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Protocol

from oslo_policy import _checks

from fanlight.model import Caller


class Target(Protocol):
    """What a decision is about, by the names that policy files use. A dictionary is one."""

    def __getitem__(self, name: str, /) -> Any: ...

    def get(self, name: str, /) -> Any: ...

    def keys(self) -> Iterable[str]: ...


Check = Callable[[Target, Caller], bool]
_PLACE = re.compile(r"%\((\w+)\)s")


class Rules:
    """All rules of one set of files, which do not refer to each other in a circle.

    `checks`: the compiled check of each rule. A name without rule is decided by `default`.
    """

    def __init__(self, parsed: Mapping[str, Any], default: str) -> None:
        self.rules = parsed
        self.checks: dict[str, Check] = {}
        self.default = self._compile(parsed.get(default))
        for name in parsed:
            self._find(name)

    def _find(self, name: str) -> Check:
        """The check of a rule, compiled when first met: a rule may refer to one further down in the file."""
        if name not in self.rules:
            return self.default
        if name not in self.checks:
            self.checks[name] = self._compile(self.rules[name])
        return self.checks[name]

    def _compile(self, check: Any) -> Check:
        kind = type(check)
        if check is None or kind is _checks.FalseCheck:
            return lambda target, caller: False
        if kind is _checks.TrueCheck:
            return lambda target, caller: True
        if kind is _checks.NotCheck:
            inner = self._compile(check.rule)
            return lambda target, caller: not inner(target, caller)
        if kind is _checks.AndCheck:
            return _all([self._compile(rule) for rule in check.rules])
        if kind is _checks.OrCheck:
            return _any([self._compile(rule) for rule in check.rules])
        if kind is _checks.RuleCheck:
            return self._find(check.match)
        if kind is _checks.RoleCheck and "%" not in check.match:
            role = check.match.lower()
            return lambda target, caller: role in caller.roles
        if kind is _checks.GenericCheck:
            return _generic(check)
        return lambda target, caller: bool(check(target, Credentials(caller), self))


def _all(checks: list[Check]) -> Check:
    def run(target: Target, caller: Caller) -> bool:
        for check in checks:  # noqa: SIM110  # a generator would cost as much as the checks
            if not check(target, caller):
                return False
        return True

    return run


def _any(checks: list[Check]) -> Check:
    def run(target: Target, caller: Caller) -> bool:
        for check in checks:  # noqa: SIM110  # a generator would cost as much as the checks
            if check(target, caller):
                return True
        return False

    return run


def _generic(check: Any) -> Check:
    """`left:right`: a literal or a credential on the left, a text or `%(name)s` of the target on the right."""
    left, right = _left(check.kind), _right(check.match)

    def run(target: Target, caller: Caller) -> bool:
        # Nothing equals nothing: an image without owner is not that of a caller without project.
        wanted = right(target)
        if wanted is None:
            return False
        found = left(caller)
        if isinstance(found, list | tuple):
            return wanted in [str(one) for one in found]
        return found is not None and str(found) == wanted

    return run


def _left(kind: str) -> Callable[[Caller], Any]:
    try:
        literal = str(ast.literal_eval(kind))
    except (ValueError, SyntaxError):
        return lambda caller: Credentials(caller).get(kind)
    return lambda caller: literal


def _right(match: str) -> Callable[[Target], str | None]:
    place = _PLACE.fullmatch(match)
    if place is not None:
        name = place[1]

        def look_up(target: Target) -> str | None:
            value = target.get(name)
            return None if value is None else str(value)

        return look_up
    if "%" not in match:
        return lambda target: match

    def fill_in(target: Target) -> str | None:
        try:
            return match % target
        except (KeyError, ValueError, TypeError):
            return None

    return fill_in


class Credentials(Mapping[str, Any]):
    """A caller as checks see it: credentials by the names that policy files use."""

    __slots__ = ("_caller",)

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    def __getitem__(self, name: str) -> Any:
        field = _NAMES.get(name)
        if field is None:
            raise KeyError(name)
        return getattr(self._caller, field)

    def __iter__(self) -> Iterator[str]:
        return iter(_NAMES)

    def __len__(self) -> int:
        return len(_NAMES)


_NAMES = {
    "user": "user_id",
    "user_id": "user_id",
    "tenant": "project_id",
    "project_id": "project_id",
    "roles": "roles",
    "is_admin": "is_admin",
    "domain_id": "domain_id",
    "user_domain_id": "user_domain_id",
    "project_domain_id": "project_domain_id",
    "system_scope": "system_scope",
    "service_roles": "service_roles",
    "service_user_id": "service_user_id",
    "service_project_id": "service_project_id",
    "service_user_domain_id": "service_user_domain_id",
    "service_project_domain_id": "service_project_domain_id",
    "read_only": "read_only",
    "request_id": "request_id",
}
