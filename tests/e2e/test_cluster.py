"""The cluster of the tests is a real one."""


def test_the_server_answers(api):
    assert api.get("namespace", "default")["status"]["phase"] == "Active"


def test_the_server_refuses_what_is_no_object(api):
    refused = api.apply('{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "No Name"}}', check=False)
    assert refused.returncode != 0 and "Invalid value" in refused.stderr
