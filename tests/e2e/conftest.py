import os
import subprocess
import sys

import pytest

sys.path[:0] = [os.path.dirname(__file__), os.path.join(os.path.dirname(__file__), "../common"),
                os.path.join(os.path.dirname(__file__), "../../scripts")]

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


@pytest.fixture(scope="session")
def agent_image(tmp_path_factory):
    """The archive of the agent's image, made of the release build."""
    path = tmp_path_factory.mktemp("image") / "grantd.tar"
    make_image(path)
    return path


def make_image(path, seconds=1700000000):
    done = subprocess.run(["/usr/bin/python3", "-B", ROOT / "scripts/image.py", ROOT / "build/release", path], check=False,
                          env={**os.environ, "SOURCE_DATE_EPOCH": str(seconds)}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout
