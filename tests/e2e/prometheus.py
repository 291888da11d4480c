"""A real Prometheus. Debian's is built without its discovery in Kubernetes, so the pods that the API server has stand in a
file, under the labels that the discovery gives them; all else is Prometheus' own."""

import json
import re
import urllib.parse

from cluster import run, wait_until

URL = "http://127.0.0.1:9090"
# As in the example of a configuration that Prometheus comes with, which knows these annotations of pods.
BY_ANNOTATIONS = [
    {"source_labels": ["__meta_kubernetes_pod_annotation_prometheus_io_scrape"], "action": "keep", "regex": "true"},
    {"source_labels": ["__meta_kubernetes_pod_annotation_prometheus_io_path"], "action": "replace",
     "target_label": "__metrics_path__", "regex": "(.+)"},
    {"source_labels": ["__address__", "__meta_kubernetes_pod_annotation_prometheus_io_port"], "action": "replace",
     "regex": r"([^:]+)(?::\d+)?;(\d+)", "replacement": "$1:$2", "target_label": "__address__"},
    {"source_labels": ["__meta_kubernetes_pod_node_name"], "target_label": "node"},
]


def of_pod_monitor(monitor):
    """What the operator makes of a PodMonitor with one endpoint."""
    endpoint, = monitor["spec"]["podMetricsEndpoints"]
    labels = [{"source_labels": ["__meta_kubernetes_pod_label_" + label(name)],
               "action": "keep", "regex": value} for name, value in monitor["spec"]["selector"]["matchLabels"].items()]
    port = {"source_labels": ["__meta_kubernetes_pod_container_port_name"], "action": "keep", "regex": endpoint["port"]}
    own = [{"source_labels": each["sourceLabels"], "target_label": each["targetLabel"]} for each in endpoint["relabelings"]]
    return [*labels, port, *own]


def label(name):
    return re.sub(r"\W", "_", name)


def discovered(pods):
    """A target for each port of each pod, as the discovery makes them; for a pod without ports its address alone."""
    targets = []
    for pod in pods:
        address, meta = pod["status"]["podIP"], pod["metadata"]
        labels = {"__meta_kubernetes_namespace": meta["namespace"], "__meta_kubernetes_pod_name": meta["name"],
                  "__meta_kubernetes_pod_node_name": pod["spec"]["nodeName"],
                  **{"__meta_kubernetes_pod_label_" + label(name): value for name, value in meta["labels"].items()},
                  **{"__meta_kubernetes_pod_annotation_" + label(name): value
                     for name, value in meta.get("annotations", {}).items()}}
        ports = [port for container in pod["spec"]["containers"] for port in container.get("ports", [])]
        targets += [{"targets": [f"{address}:{port['containerPort']}"], "labels": {
            **labels, "__meta_kubernetes_pod_container_port_name": port["name"]}} for port in ports]
        targets += [] if ports else [{"targets": [address], "labels": labels}]
    return targets


class Prometheus:
    def __init__(self, cluster, jobs):
        """jobs: the relabelling of each, by its name."""
        self.cluster = cluster
        self.path, self.pods = cluster.directory / "prometheus.json", cluster.directory / "prometheus-pods.json"
        self.find()
        self.path.write_text(json.dumps({  # which is YAML
            "global": {"scrape_interval": "2s", "scrape_timeout": "2s"},
            "scrape_configs": [{"job_name": name, "file_sd_configs": [{"files": [str(self.pods)]}], "relabel_configs": rules}
                               for name, rules in jobs.items()]}), encoding="utf-8")

    def find(self):
        """Looks which pods are there."""
        fresh = self.pods.with_suffix(".fresh")
        fresh.write_text(json.dumps(discovered(self.cluster.get("pods", "-n", "keystone-system")["items"])), encoding="utf-8")
        fresh.rename(self.pods)

    def __enter__(self):
        self.cluster.start("prometheus", [
            "prometheus", f"--config.file={self.path}", f"--storage.tsdb.path={self.cluster.directory}/prometheus",
            "--web.listen-address=127.0.0.1:9090"])
        wait_until(lambda: self.cluster.alive("prometheus") and run(["curl", "-sf", URL + "/-/ready"], check=False).returncode == 0,
                   "Prometheus answers")
        return self

    def __exit__(self, *_):
        self.cluster.end("prometheus")

    def ask(self, path, **parameters):
        answer = json.loads(run(["curl", "-sf", f"{URL}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"]).stdout)
        assert answer["status"] == "success"
        return answer["data"]

    def targets(self):
        return self.ask("targets", state="active")["activeTargets"]

    def query(self, text):
        """Labels and value of each series."""
        return [(each["metric"], float(each["value"][1])) for each in self.ask("query", query=text)["result"]]

    def complaints(self):
        """Of scrapes whose samples it could not take, it says so here alone."""
        lines = self.cluster.log("prometheus").read_text(encoding="utf-8").splitlines()
        return [line for line in lines if "level=info" not in line]
