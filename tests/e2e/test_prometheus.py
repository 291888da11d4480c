"""A real Prometheus finds the agents that the chart makes, by annotations and as a PodMonitor says, and reads them."""

import json

import pytest

from agent import FAR
from chart import documents, template
from deployed import UPLINKS, Deployed
from node import NAME
from prometheus import BY_ANNOTATIONS, Prometheus, of_pod_monitor

from cluster import NODE_ADDRESS, wait_until

SPACE, GUEST = "guest-dave", "guest-dave/watched"
JOBS = {"annotations", "monitor"}


@pytest.fixture(scope="module")
def chart():
    """By its default the agent answers the node alone, and nobody is told of it."""
    return template("--set", "metrics.listen=0.0.0.0:9786,metrics.annotations=true",
                    "--set", f"uplinks={{{','.join(UPLINKS.values())}}}").stdout


@pytest.fixture(scope="module")
def agent(node, agent_image, chart):
    node.namespace(SPACE)
    node.pod("watched", SPACE)
    with Deployed(node, agent_image, chart) as running:
        yield running
    node.kubectl("delete", "namespace", SPACE, "--wait=false")


def test_prometheus_reads_the_agent_that_it_finds(agent, node):
    # Its kind is the operator's, which no cluster of ours has.
    monitor = documents(template("--set", "metrics.listen=0.0.0.0:9786,metrics.podMonitor.enabled=true").stdout)["PodMonitor", "grantd"]
    with Prometheus(node, {"annotations": BY_ANNOTATIONS, "monitor": of_pod_monitor(monitor)}) as prometheus:
        agent.grant(hard={"keystone.io/egress-bandwidth": "80M"})
        agent.held(GUEST, "g")
        assert not agent.reaches(GUEST, FAR)
        refused = json.loads(agent.execute("grantctl", "drops", "--output", "json").stdout)["drops"]
        packets = sum(each["packets"] for each in refused if each["grant"] == "keystone-system/g" and each["direction"] == "egress")
        assert packets > 0
        whose = {"grant": "keystone-system/g", "grantor": "alice", "grantee": "dave", "direction": "egress"}
        by = {job: {"job": job, "instance": f"{NODE_ADDRESS}:9786", "node": NAME} for job in JOBS}

        def seen(name, **more):
            """The one series of that name that each job has of the Grant's egress; its value."""
            found = [(labels, value) for labels, value in prometheus.query(f'{name}{{grant="keystone-system/g",direction="egress"}}')]
            labels = [{"__name__": name, **whose, **more, **by[job]} for job in sorted(JOBS)]
            values = {value for _, value in found}
            return values.pop() if sorted((each for each, _ in found), key=lambda each: each["job"]) == labels and len(values) == 1 else None
        wait_until(lambda: seen("grantd_violations_total", reason="destination") == packets,
                   f"{packets} violations are seen", 20)
        assert seen("grantd_bandwidth_limit_bytes_per_second") == 10e6
        assert prometheus.query("up") and all(value == 1 for _, value in prometheus.query("up"))
        targets = prometheus.targets()
        assert {each["labels"]["job"] for each in targets} == JOBS and len(targets) == len(JOBS)
        assert {(each["health"], each["lastError"], each["scrapeUrl"]) for each in targets} == {
            ("up", "", f"http://{NODE_ADDRESS}:9786/metrics")}
        assert not prometheus.complaints()
    agent.delete()
