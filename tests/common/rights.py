"""What manifests give to whom, and what docs/kubernetes.md says of it."""

import pathlib
import re

KUBERNETES_DOCUMENT = pathlib.Path(__file__).resolve().parents[2] / "docs/kubernetes.md"
# The groups of what the document calls by its name alone.
GROUPS = {"realms": ["keystone.io"], "grants": ["keystone.io"], "grantnodestatuses": ["keystone.io"], "namespaces": [""],
          "pods": [""], "events": [""]}
AGENT = ("ServiceAccount", "keystone-system", "grantd")
# Of a right that holds in every namespace.
EVERYWHERE = "*"


def rights(objects):
    """(who, where, group, resource, verb) of every Role and ClusterRole, for everybody to whom one is bound."""
    roles = {key(each): each.get("rules") or [] for each in objects if each["kind"] in ("Role", "ClusterRole")}
    for each in objects:
        assert "aggregationRule" not in each, f"{each['metadata']['name']}: others add rules to it"
    given = set()
    for binding in objects:
        if binding["kind"] not in ("RoleBinding", "ClusterRoleBinding"):
            continue
        where = EVERYWHERE if binding["kind"] == "ClusterRoleBinding" else binding["metadata"]["namespace"]
        role = (binding["roleRef"]["kind"], "" if binding["roleRef"]["kind"] == "ClusterRole" else where, binding["roleRef"]["name"])
        for subject in binding.get("subjects") or []:
            who = (subject["kind"], subject.get("namespace", ""), subject["name"])
            # One that is not among these is the cluster's own: nobody knows what it holds.
            given |= {(who, where, *right) for right in (rules_of(roles[role]) if role in roles else [("", str(role), "*")])}
    return given


def key(role):
    return role["kind"], role["metadata"].get("namespace", ""), role["metadata"]["name"]


def rules_of(rules):
    for rule in rules:
        for verb in rule["verbs"]:
            for url in rule.get("nonResourceURLs") or []:
                yield "", url, verb
            for resource in rule.get("resources") or []:
                for group in rule["apiGroups"]:
                    yield group, resource, verb


def documented():
    """The same of the agent's account, as the document's table has it: all of it in every namespace."""
    section = KUBERNETES_DOCUMENT.read_text(encoding="utf-8").split("## What each right is for\n")[1].split("\n## ")[0]
    table = section.split("| right | for |\n|---|---|\n")[1].split("\n\n")[0]
    given = set()
    for line in table.splitlines():
        resources = []
        for part in line.split("|")[1].split(";"):
            names, verbs = part.split(":")
            status = re.fullmatch(r"\s*its (\w+)", names)
            resources = [f"{each}/{status.group(1)}" for each in resources] if status else [each.strip() for each in names.split(",")]
            given |= {(AGENT, EVERYWHERE, group, resource, verb.strip()) for resource in resources
                      for group in GROUPS[resource.split("/")[0]] for verb in verbs.split(",")}
    return given
