"""The agent's token ends, and another one comes into its file. The API server itself says 401."""

import base64
import json
import subprocess
import time

import pytest

from account import HOLDER, account, make_holder, make_token, remove_holder, write_kubeconfig
from agent import FAR, Agent
from faults import Proxy
from node import OUTSIDE_LAN

from cluster import wait_until

GUEST, SPACE = "guest-dave/web", "guest-dave"
LIFE_SECONDS = 25
LEEWAY_SECONDS = 60  # the server takes a token for so long after its end, for clocks that differ
REMEMBERED_SECONDS = 15  # the server believes a token for ten seconds after it has looked, and some
LATEST_SECONDS = 40  # the longest that the agent waits before it asks again, and some


def with_life(node, token, seconds):
    """The same token, signed by the cluster's key, that is refused sooner than one of the server's own."""
    def part(text):
        return base64.urlsafe_b64encode(text).rstrip(b"=")
    head, claims, _ = token.split(".")
    said = json.loads(base64.urlsafe_b64decode(claims + "=="))
    text = head.encode() + b"." + part(json.dumps({**said, "exp": int(time.time()) + seconds - LEEWAY_SECONDS}).encode())
    signed = subprocess.run(["openssl", "dgst", "-sha256", "-sign", node.pki.key("service-accounts")], input=text,
                            stdout=subprocess.PIPE, check=True).stdout
    return (text + b"." + part(signed)).decode()


class TokenFile:
    def __init__(self, directory):
        self.path = directory / "token"

    def put(self, token):
        """As the kubelet does it: there is never half of one."""
        fresh = self.path.with_suffix(".new")
        fresh.write_text(token, encoding="utf-8")
        fresh.rename(self.path)


@pytest.fixture(scope="module")
def proxy(node):
    with Proxy(node) as running:
        yield running


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return TokenFile(tmp_path_factory.mktemp("token"))


@pytest.fixture(scope="module")
def agent(node, proxy, file):
    node.namespace(SPACE)
    node.pod("web", SPACE)
    with account(node):
        file.put(make_token(node))
        with Agent(node, kubeconfig=write_kubeconfig(node, server=proxy.url, tokenFile=str(file.path))) as running:
            running.grant()
            running.held(GUEST, "g")
            yield running
    node.kubectl("delete", "namespace", SPACE, "--wait=false")


def is_taken(node, token):
    told = node.kubectl("auth", "whoami", "--kubeconfig=/dev/null", f"--server={node.url}", f"--token={token}",
                        f"--certificate-authority={node.pki.certificate('ca')}", check=False)
    assert told.returncode == 0 or "Unauthorized" in told.stderr, told.stderr
    return told.returncode == 0


def test_a_token_that_has_ended(agent, node, proxy, file):
    short = with_life(node, make_token(node), LIFE_SECONDS)
    begin, before = time.monotonic(), proxy.statuses[401]
    file.put(short)
    proxy.drop()
    agent.grant(destinations=[FAR])
    wait_until(lambda: agent.reaches(GUEST, FAR), "it is a token like others", LIFE_SECONDS)
    assert is_taken(node, short) and proxy.statuses[401] == before
    wait_until(lambda: not is_taken(node, short), "its life is over", LIFE_SECONDS + REMEMBERED_SECONDS)
    assert time.monotonic() - begin >= LIFE_SECONDS - 2
    proxy.drop()
    wait_until(lambda: proxy.statuses[401] > before, "the server refuses the agent", LATEST_SECONDS)
    agent.grant()  # nobody hears it
    end = time.monotonic() + 3
    while time.monotonic() < end:
        assert agent.reaches(GUEST, OUTSIDE_LAN) and agent.reaches(GUEST, FAR), "what was in force stays"
    file.put(make_token(node))
    wait_until(lambda: not agent.reaches(GUEST, FAR), "the next token is read", LATEST_SECONDS)
    assert agent.reaches(GUEST, OUTSIDE_LAN)


def test_a_token_that_is_replaced_in_time(agent, node, proxy, file):
    """The one before it is taken from the agent with its pod; nothing is refused."""
    old = file.path.read_text(encoding="utf-8")
    make_holder(node, "next")
    try:
        file.put(make_token(node, "next"))
        assert is_taken(node, old)
        remove_holder(node, HOLDER)
        wait_until(lambda: not is_taken(node, old), "the old one is void", REMEMBERED_SECONDS)
        before = proxy.statuses[401]
        proxy.drop()
        agent.grant(destinations=[FAR])
        wait_until(lambda: agent.reaches(GUEST, FAR), "it is followed by the new one", LATEST_SECONDS)
        assert proxy.statuses[401] == before
    finally:
        remove_holder(node, "next")
