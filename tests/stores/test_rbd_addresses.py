"""URLs of RBD images."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fanlight.errors import MalformedLocation
from fanlight.stores.rbd import Address

PARTS = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), min_size=1)


@given(fsid=PARTS, pool=PARTS, image=PARTS, snapshot=PARTS)
def test_long_urls_come_back(fsid: str, pool: str, image: str, snapshot: str) -> None:
    for address in (Address(image), Address(image, pool, fsid, snapshot)):
        assert Address.parse(address.url) == address
        assert address.url.isascii()


@given(st.text())
def test_any_text_is_an_address_or_malformed(text: str) -> None:
    for url in (text, "rbd://" + text):
        try:
            address = Address.parse(url)
        except MalformedLocation:
            continue
        assert Address.parse(address.url) == address
