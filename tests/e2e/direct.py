"""Requests to the API server without a process for each: connections that stay open, one for each thread."""

import concurrent.futures
import http.client
import json
import ssl
import threading

MERGE = "application/merge-patch+json"


class Direct:
    def __init__(self, cluster):
        self.context = ssl.create_default_context(cafile=cluster.pki.certificate("ca"))
        self.context.load_cert_chain(cluster.pki.certificate("admin"), cluster.pki.key("admin"))
        self.local = threading.local()

    def request(self, method, path, made=None, content_type="application/json", accepted=(200, 201)):
        if not hasattr(self.local, "connection"):
            self.local.connection = http.client.HTTPSConnection("127.0.0.1", 6443, context=self.context, timeout=60)
        self.local.connection.request(method, path, None if made is None else json.dumps(made), {"Content-Type": content_type})
        answer = self.local.connection.getresponse()
        body = answer.read()
        assert answer.status in accepted, f"{method} {path}: {answer.status} {body[:500]!r}"
        return json.loads(body)

    def post(self, path, made):
        return self.request("POST", path, made)

    def post_all(self, path, objects):
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda made: self.post(path, made), objects))

    def patch(self, path, change):
        return self.request("PATCH", path, change, MERGE)

    def delete(self, path):
        return self.request("DELETE", path + "?gracePeriodSeconds=0", accepted=(200, 202, 404))
