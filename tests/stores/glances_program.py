"""glance_store's own drivers, as a program: runs in an environment that has it, and not Fanlight. See glances.py."""

from __future__ import annotations

import hashlib
import io
import json
import sys
from types import SimpleNamespace
from typing import Any

import glance_store  # type: ignore[import-not-found]
from oslo_config import cfg

CONTEXT = SimpleNamespace(project_id="glance", user_id="glance")
"""Cinder's driver asks whose image it is."""


def main() -> None:
    kind, options, libraries, tasks = json.load(sys.stdin)
    if libraries:
        sys.path.append(libraries)  # boto3, which Glance's environment does not have
    conf = cfg.ConfigOpts()
    glance_store.register_opts(conf)
    conf([])
    for name, value in {**options, "stores": [kind], "default_store": kind}.items():
        conf.set_override(name, value, "glance_store")
    glance_store.create_stores(conf)
    sys.stdout.write(json.dumps([_do(kind, *task) for task in tasks]))


def _do(kind: str, what: str, *task: Any) -> Any:
    if what == "add":
        object_id, data, size = task
        store, source = glance_store.get_store_from_scheme(kind), io.BytesIO(bytes.fromhex(data))
        add = glance_store.store_add_to_backend_with_multihash
        return add(object_id, source, size or 0, "sha512", store, context=CONTEXT)[0]
    if what == "read":
        read = hashlib.sha512()
        for block in glance_store.get_from_backend(task[0])[0]:
            read.update(block)
        return read.hexdigest()
    return glance_store.delete_from_backend(task[0])


if __name__ == "__main__":
    main()
