"""The node of the tests is a real one: pods, services and an uplink with somebody behind it."""

from node import NODE_LAN, OUTSIDE_LAN

from cluster import ROOT, wait_until


def test_pods_reach_each_other_through_a_service(node):
    node.pod("server", command="while true; do echo hello | nc -l -p 8080; done")
    node.pod("client")
    node.kubectl("expose", "pod", "server", "--port=80", "--target-port=8080")
    address = node.get("service", "server")["spec"]["clusterIP"]
    assert address.startswith("10.43.")
    answers = []

    def is_answered():
        answers.append(node.execute("client", f"timeout 5 nc -w 1 {address} 80 </dev/null", check=False))
        return "hello" in answers[-1].stdout

    wait_until(is_answered, lambda: f"an answer through the service; of {len(answers)} the last: {answers[-1]}\n"
               f"{node.kubectl('get', 'endpointslices', '-o', 'wide').stdout}\n"
               f"{node.log('kube-proxy').read_text(encoding='utf-8')[-3000:]}", 60)
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


def test_a_guests_service_works_under_the_admission_policies(node):
    """Its endpoints are written by the cluster's controllers, which the policies let pass."""
    policies = ROOT / "deploy/kubernetes/admission.yaml"
    node.kubectl("apply", "-f", policies)
    node.kubectl("create", "namespace", "guest-carol")
    wait_until(lambda: node.kubectl("get", "serviceaccount", "default", "-n", "guest-carol", check=False).returncode == 0,
               "an account for its pods")
    by_hand = ("create", "service", "externalname", "away", "--external-name=example.org", "-n", "guest-carol", "--dry-run=server")
    wait_until(lambda: node.kubectl(*by_hand, check=False).returncode != 0, "the policies are in force")
    address = node.pod("web", "guest-carol")
    node.kubectl("expose", "pod", "web", "-n", "guest-carol", "--port=80")
    wait_until(lambda: address in node.kubectl("get", "endpointslices", "-n", "guest-carol", "-o", "yaml").stdout,
               "the pod stands behind its service")
    node.kubectl("delete", "namespace", "guest-carol", "--wait=false")
    node.kubectl("delete", "-f", policies)
