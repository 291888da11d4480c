"""The cluster of the tests is a real one."""

import pathlib
import tempfile

from cluster import PREFIX, dead_clusters, hold


def test_the_server_answers(api):
    assert api.get("namespace", "default")["status"]["phase"] == "Active"


def test_the_server_refuses_what_is_no_object(api):
    refused = api.apply('{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "No Name"}}', check=False)
    assert refused.returncode != 0 and "Invalid value" in refused.stderr


def test_what_a_killed_run_left_is_removed_by_one_of_those_that_see_it(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    directory = pathlib.Path(tempfile.mkdtemp(prefix=PREFIX))
    with hold(directory):
        assert not list(dead_clusters())
    one = dead_clusters()
    assert next(one) == directory
    assert not list(dead_clusters())
    one.close()
    assert list(dead_clusters()) == [directory]
