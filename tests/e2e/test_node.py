"""The node of the tests is a real one: pods, services and an uplink with somebody behind it."""

from node import NODE_LAN, OUTSIDE_LAN

from cluster import wait_until


def test_pods_reach_each_other_through_a_service(node):
    node.pod("server", command="while true; do echo hello | nc -l -p 8080; done")
    node.pod("client")
    node.kubectl("expose", "pod", "server", "--port=80", "--target-port=8080")
    address = node.get("service", "server")["spec"]["clusterIP"]
    assert address.startswith("10.43.")
    wait_until(lambda: "hello" in node.execute("client", f"nc -w 1 {address} 80 </dev/null", check=False).stdout,
               "an answer through the service")
    node.kubectl("delete", "service", "server")
    node.kubectl("delete", "pod", "server", "client", "--grace-period=0", "--force")


def test_the_outsider_is_behind_the_uplink(node):
    address = node.pod("inside")
    node.outside(["ping", "-c", "1", "-W", "2", address])
    node.execute("inside", f"ping -c 1 -W 2 {OUTSIDE_LAN}")
    assert node.outside(["ping", "-c", "1", "-W", "1", "10.42.0.254"], check=False).returncode != 0
    node.outside(["ping", "-c", "1", "-W", "2", NODE_LAN])
    node.kubectl("delete", "pod", "inside", "--grace-period=0", "--force")


def test_a_pod_speaks_to_the_api_with_its_own_account(node):
    node.pod("account")
    token = node.execute("account", "cat /var/run/secrets/kubernetes.io/serviceaccount/token").stdout
    who = node.kubectl("auth", "whoami", "--kubeconfig=/dev/null", f"--server={node.url}", f"--token={token}",
                       f"--certificate-authority={node.pki.certificate('ca')}")
    assert "system:serviceaccount:default:default" in who.stdout
    node.kubectl("delete", "pod", "account", "--grace-period=0", "--force")
