"""A Cinder store of a service that is not root, as a program: adds and reads an object on a device that is root's.

Told as JSON on its standard input: options, and a folder for the stand-in of the connector. Tells, line by line: who it
is, whose the device was while it was written, and while it was read; the SHA-256 of what was read; the devices. Or,
where adding fails, only the error.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from pathlib import Path

from fanlight.errors import StoreError
from fanlight.model import Location
from tests.stores.iscsi import Iscsi
from tests.stores.place import STORE, Bytes, new_id, open_one, pattern


def main() -> None:
    options, folder = json.load(sys.stdin)
    connector = Iscsi(Path(folder))
    devices: list[str] = []
    connector.connecting = devices.append
    owners: list[int] = []

    class Looking(Bytes):
        def read(self, size: int = -1, /) -> bytes:
            owners.extend(os.stat(device).st_uid for device in devices)
            return super().read(size)

    with connector.installed():
        stores = open_one("cinder", options)
        data = pattern(5_000_000)
        try:
            stored = stores.put(STORE, new_id(), Looking(data), len(data), algorithm="sha512")
        except StoreError as error:
            print(type(error).__name__, error)
            return
        location = Location(url=stored.url, metadata=stored.metadata)
        readers = [stores.open(location), stores.open(location)]
        print(os.geteuid(), *{*owners}, os.stat(devices[-1]).st_uid)
        readers[0].close()
        print(hashlib.sha256(b"".join(readers[1])).hexdigest())
        readers[1].close()
        print(json.dumps(devices))
        stores.delete(location)


if __name__ == "__main__":
    main()
