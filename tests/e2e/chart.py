"""The chart, as Helm makes objects of it."""

import yaml

from cluster import ROOT, build, run

CHART = ROOT / "deploy/chart/grantd"


def helm(*arguments, check=True):
    return run([build("helm"), *arguments], check=check)


def template(*arguments, check=True, namespace="keystone-system"):
    return helm("template", "grantd", CHART, "--namespace", namespace, "--kube-version", "1.32.0", *arguments, check=check)


def documents(text):
    """By kind and name."""
    made = [each for each in yaml.safe_load_all(text) if each]
    by_name = {(each["kind"], each["metadata"]["name"]): each for each in made}
    assert len(by_name) == len(made) > 0
    return by_name
