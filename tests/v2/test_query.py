"""The query string of a list: what it becomes, and what is refused."""

from __future__ import annotations

import datetime

import pytest

from fanlight.errors import Invalid
from fanlight.http.faults import fault_of
from fanlight.http.v2.query import MOST_CONDITIONS, decode, parse_list_query, split_quoted
from fanlight.model import Filter, ImageQuery
from fanlight.settings import ApiSettings, Settings

from .tables import QUERIES, Query

SETTINGS = Settings()


def parse(text: str) -> ImageQuery:
    return parse_list_query(text, SETTINGS)


@pytest.mark.parametrize(
    "row", [row for row in QUERIES if not row.text.startswith("marker=")], ids=lambda row: row.text[:40]
)
def test_status_of_query(row: Query) -> None:
    try:
        parse(row.text)
        status = 200
    except Invalid as error:
        status = fault_of(error).status
    assert status == row.status


def test_defaults() -> None:
    assert parse("") == ImageQuery(limit=25, sort=(("created_at", "desc"), ("id", "desc")))


@pytest.mark.parametrize(
    ("text", "limit"), [("limit=0", 0), ("limit=7", 7), ("limit=5000", 1000), ("limit=1&limit=3", 3), ("", 25)]
)
def test_limit(text: str, limit: int) -> None:
    assert parse(text).limit == limit


def test_default_limit_never_exceeds_the_maximum() -> None:
    settings = Settings(api=ApiSettings(limit_param_default=25, api_limit_max=10))
    assert parse_list_query("", settings).limit == 10


@pytest.mark.parametrize(
    ("text", "sort"),
    [
        ("sort=name", [("name", "desc"), ("created_at", "desc"), ("id", "desc")]),
        ("sort=name:asc", [("name", "asc"), ("created_at", "asc"), ("id", "asc")]),
        ("sort=name:asc,size", [("name", "asc"), ("size", "desc"), ("created_at", "desc"), ("id", "desc")]),
        ("sort=id:asc,created_at:desc", [("id", "asc"), ("created_at", "desc")]),
        ("sort_key=name&sort_key=size", [("name", "desc"), ("size", "desc"), ("created_at", "desc"), ("id", "desc")]),
        ("sort_key=size&sort_dir=asc", [("size", "asc"), ("created_at", "asc"), ("id", "asc")]),
        (
            "sort_key=name&sort_key=size&sort_dir=asc&sort_dir=desc",
            [("name", "asc"), ("size", "desc"), ("created_at", "desc"), ("id", "desc")],
        ),
        ("sort_dir=asc", [("created_at", "asc"), ("id", "asc")]),
        (
            "sort_key=name&sort_key=name&sort_dir=asc&sort_dir=desc",
            [("name", "asc"), ("created_at", "desc"), ("id", "desc")],
        ),
    ],
)
def test_sort(text: str, sort: list[tuple[str, str]]) -> None:
    assert parse(text).sort == tuple(sort)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("name=a", Filter("name", "eq", "a")),
        ("name=eq:a:b", Filter("name", "eq", "a:b")),
        ("name=in:a,%22b,c%22", Filter("name", "in", ("a", "b,c"))),
        ("name=in:", Filter("name", "in", ())),
        ("size=5", Filter("size", "eq", 5)),
        ("size_min=5", Filter("size", "gte", 5)),
        ("min_disk_max=5", Filter("min_disk", "lte", 5)),
        ("protected=false", Filter("protected", "eq", False)),
        ("owner=", Filter("owner", "eq", "")),
        ("created_at=gte:2026-01-02T03:04:05Z", Filter("created_at", "gte", datetime.datetime(2026, 1, 2, 3, 4, 5))),
        ("created_at=2026-01-02T03:04:05Z", Filter("created_at", "eq", datetime.datetime(2026, 1, 2, 3, 4, 5))),
        (
            "updated_at=lt:2026-01-02T03:04:05%2B02:00",
            Filter("updated_at", "lt", datetime.datetime(2026, 1, 2, 1, 4, 5)),
        ),
        ("created_at_min=2026-01-02", Filter("created_at", "gte", datetime.datetime(2026, 1, 2))),
    ],
)
def test_filter(text: str, expected: Filter) -> None:
    assert parse(text).filters == (expected,)


def test_other_parameters() -> None:
    query = parse("visibility=all&member_status=pending&os_hidden=True&tag=a&tag=b&tag=a&marker=m&hw_x=y&deleted=1")
    assert query.visibility == "all"
    assert query.member_status == "pending"
    assert query.os_hidden
    assert query.tags == ("a", "b")
    assert query.marker == "m"
    assert query.properties == {"hw_x": "y"}
    assert query.filters == ()


def test_empty_visibility_is_not_the_default() -> None:
    assert parse("visibility=").visibility == ""
    assert parse("").visibility is None


@pytest.mark.parametrize(
    ("text", "items"),
    [
        ("a", ("a",)),
        ("a,b", ("a", "b")),
        ("a,,b", ("a", "", "b")),
        ('"a,b"', ("a,b",)),
        ('"a,b",c', ("a,b", "c")),
        (r'"a\"b"', ('a"b',)),
        (r'"a\\"', ("a\\",)),
        ('"",a', ("", "a")),
        ("a,", ("a",)),
        ("", ()),
    ],
)
def test_split_quoted(text: str, items: tuple[str, ...]) -> None:
    assert split_quoted(text) == items


@pytest.mark.parametrize("text", ['"a', '"a"b', 'a"b"', 'a"', '"a""b"', '"a\\"'])
def test_bad_quotes(text: str) -> None:
    with pytest.raises(Invalid):
        split_quoted(text)


def test_decode_keeps_order_and_repeats() -> None:
    assert decode("b=1&a=&b=%C3%A9") == [("b", "1"), ("a", ""), ("b", "é")]


@pytest.mark.parametrize("text", ["a=%FF", "a=\ufffd", "a=%00", "%F0%9F%98%80=1", "&".join(["a=1"] * 1001)])
def test_decode_refuses(text: str) -> None:
    with pytest.raises(Invalid):
        decode(text)


def test_number_of_conditions_is_bounded() -> None:
    text = "&".join(f"tag={number}" for number in range(MOST_CONDITIONS))
    assert len(parse(text).tags) == MOST_CONDITIONS
    with pytest.raises(Invalid):
        parse(text + "&one=more")
