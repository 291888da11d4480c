"""What stands on the queues of a node."""

import json


def links(node):
    """The two interfaces of the queues."""
    listed = json.loads(node.world.node.run("ip", "-j", "link"))
    return sorted(each["ifname"] for each in listed if each["ifname"].startswith("grantd-"))


def classes(node):
    queue, _ = links(node)
    return node.world.node.run("tc", "class", "show", "dev", queue).splitlines()
