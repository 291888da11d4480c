import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(__file__))

from cluster import ROOT, Cluster  # noqa: E402


@pytest.fixture(scope="session")
def api():
    """An API server with etcd and nothing else, shared by all tests, which use names of their own."""
    with Cluster() as cluster:
        cluster.start_api()
        yield cluster


@pytest.fixture(scope="session")
def crds(api):
    """The API server with our resources and the namespace keystone-system."""
    api.kubectl("apply", "-f", ROOT / "deploy/crds")
    api.kubectl("wait", "--for=condition=established", "crd", "--all", "--timeout=20s")
    api.kubectl("create", "namespace", "keystone-system")
    return api
