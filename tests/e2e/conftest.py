import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(__file__))

from cluster import ROOT  # noqa: E402
from node import Node  # noqa: E402


@pytest.fixture(scope="session")
def api():
    """An API server with etcd, shared by all tests, which use names of their own. Nothing else runs until the
    first test that asks for a node."""
    with Node() as cluster:
        cluster.start_api()
        yield cluster


@pytest.fixture(scope="session")
def crds(api):
    """The API server with our resources and the namespace keystone-system."""
    api.kubectl("apply", "-f", ROOT / "deploy/crds")
    api.kubectl("wait", "--for=condition=established", "crd", "--all", "--timeout=20s")
    api.kubectl("apply", "-f", ROOT / "deploy/kubernetes/namespace.yaml")
    return api


@pytest.fixture(scope="session")
def node(crds):
    """The same cluster with everything that a node has; real pods run on it."""
    crds.start_node()
    return crds
