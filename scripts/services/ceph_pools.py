"""Gives a fresh Ceph the pools and users of the tests. Usage: ceph_pools.py CEPH.CONF KEYRING

One interpreter, because every `ceph` command costs half a second. Runs on Debian's own Python. The users' keys are
added to the keyring, where librados finds them by name.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

POOLS = ("images", "volumes")
USERS = {
    "glance": {"mon": "profile rbd", "osd": "profile rbd pool=images"},
    "cinder": {"mon": "profile rbd", "osd": "profile rbd pool=volumes, profile rbd pool=images"},
    "rgw": {"mon": "allow rw", "osd": "allow rwx", "mgr": "allow rw"},
}
"""User -> what it may do with each kind of daemon."""


def asked(cluster: Any, prefix: str, **arguments: Any) -> bytes:
    """A command to the monitor."""
    status, answer, words = cluster.mon_command(json.dumps({"prefix": prefix, **arguments}), b"")
    if status:
        raise SystemExit(f"{prefix}: {words}")
    return bytes(answer)


def main(conf: str, keyring: str) -> None:
    import rados
    import rbd

    with rados.Rados(conffile=conf, name="client.admin") as cluster:
        while json.loads(asked(cluster, "osd stat", format="json"))["num_up_osds"] < 1:
            time.sleep(0.1)
        for pool in POOLS:
            asked(cluster, "osd pool create", pool=pool, pg_num=8, pgp_num=8)
            asked(cluster, "osd pool application enable", pool=pool, app="rbd")
            with cluster.open_ioctx(pool) as place:
                rbd.RBD().pool_init(place, True)
        for user, caps in USERS.items():
            pairs = [text for pair in caps.items() for text in pair]
            key = asked(cluster, "auth get-or-create", entity=f"client.{user}", caps=pairs)
            with open(keyring, "ab") as file:
                file.write(key)


if __name__ == "__main__":
    main(*sys.argv[1:])
