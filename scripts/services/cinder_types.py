"""Cinder's place in Keystone's catalogue and a volume type for each back end; waits until both back ends are up.

cinder_types.py KEYSTONE-URL CINDER-URL
"""

import sys
import time

from cinderclient import client
from keystoneauth1 import session
from keystoneauth1.identity import v3
from keystoneclient.v3 import client as keystone_client

SECONDS = 120
# Ceph's volumes can be attached several times, so that several processes read one image at once. Cinder's NFS cannot.
BACK_ENDS = {"ceph": {"multiattach": "<is> True"}, "nfs": {}}
# `volumev3` is what glance_store's default asks for, `block-storage` what newer catalogues have.
KINDS = ("block-storage", "volumev3")


def main(keystone: str, cinder: str) -> None:
    domain = {"user_domain_id": "default", "project_domain_id": "default"}
    auth = v3.Password(keystone, username="admin", password="secret", project_name="admin", **domain)
    login = session.Session(auth=auth)
    identity = keystone_client.Client(session=login)
    for kind in KINDS:
        service = next(iter(identity.services.list(type=kind)), None) or identity.services.create("cinder", kind)
        for old in identity.endpoints.list(service=service):
            identity.endpoints.delete(old)
        for interface in ("public", "internal", "admin"):
            identity.endpoints.create(service, cinder, interface, region="RegionOne")
    login.invalidate()
    volumes = client.Client("3.70", session=login, service_type="block-storage")
    wanted = {f"bed@{name}" for name in BACK_ENDS}
    limit = time.monotonic() + SECONDS
    while not wanted <= {one.host for one in volumes.services.list() if one.state == "up"}:
        if time.monotonic() > limit:
            sys.exit(f"the back ends of Cinder are not up after {SECONDS} seconds")
        time.sleep(0.3)
    known = {one.name for one in volumes.volume_types.list()}
    for name, more in BACK_ENDS.items():
        if name not in known:
            volumes.volume_types.create(name).set_keys({"volume_backend_name": name, **more})


main(*sys.argv[1:])
