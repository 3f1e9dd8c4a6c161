"""glance_store's own driver, as a program: runs in an environment that has it, and not Fanlight.

Reads a JSON list from standard input: file of options, and tasks ["add", id, size or null, hex], ["read", url],
["delete", url]. Answers with a JSON list: URLs, SHA-512 of what was read, null.
"""

from __future__ import annotations

import hashlib
import io
import json
import sys
from typing import Any

import glance_store  # type: ignore[import-not-found]
from oslo_config import cfg


def main() -> None:
    path, tasks = json.load(sys.stdin)
    conf = cfg.CONF
    glance_store.register_opts(conf)
    conf(["--config-file", path])
    glance_store.create_stores(conf)
    glance_store.verify_default_store()
    sys.stdout.write(json.dumps([_do(conf, *task) for task in tasks]))


def _do(conf: Any, what: str, *task: Any) -> Any:
    if what == "add":
        object_id, size, data = task
        source = io.BytesIO(bytes.fromhex(data))
        url = glance_store.add_to_backend_with_multihash(conf, object_id, source, size or 0, "sha512")[0]
        return url
    if what == "read":
        read = hashlib.sha512()
        for block in glance_store.get_from_backend(task[0])[0]:
            read.update(block)
        return read.hexdigest()
    return glance_store.delete_from_backend(task[0])


if __name__ == "__main__":
    main()
