"""A proxy between the agent and the API server, which is the real one, that spoils what passes it. It speaks HTTP/1.1,
one request to a connection."""

import collections
import contextlib
import json
import select
import socket
import ssl
import threading
import time

PORT = 7443
QUIET_SECONDS = 0.2  # nothing came for so long: the stream stands between two events


def refusal(status, reason, *headers):
    body = json.dumps({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": status, "reason": reason})
    return "\r\n".join([f"HTTP/1.1 {status} {reason}", "Content-Type: application/json", f"Content-Length: {len(body)}",
                        "Connection: close", *headers, "", body]).encode()


def chunk(data):
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


class Faults:
    """`answer`: what each request is answered with, instead of being sent on, or those with `only` in the first line of
    their head. `cut_after`: bytes of each answer, then the
    connection ends. `bytes_at_once`: no more of each answer, every 50 ms. `stall`: requests are taken and nothing comes.
    `inject`: put into each watch that stands, once."""

    def __init__(self):
        self.answer, self.cut_after, self.bytes_at_once, self.stall, self.inject = None, None, None, False, []
        self.only = b""


class Proxy:
    def __init__(self, cluster):
        pki = cluster.pki
        pki.server("proxy", "/CN=proxy", "IP:127.0.0.1")
        pki.client("proxied", "/O=system:masters/CN=proxied")
        self.url = f"https://127.0.0.1:{PORT}"
        self.kubeconfig = pki.kubeconfig("proxied", self.url)
        self.inwards = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.inwards.load_cert_chain(pki.certificate("proxy"), pki.key("proxy"))
        self.outwards = ssl.create_default_context(cafile=pki.certificate("ca"))
        self.outwards.load_cert_chain(pki.certificate("admin"), pki.key("admin"))
        # Who has a token is who it says.
        self.by_token = ssl.create_default_context(cafile=pki.certificate("ca"))
        self.faults, self.requests, self.injected = Faults(), 0, collections.Counter()
        self.statuses = collections.Counter()  # what the server itself answered
        self.connections, self.lock, self.listener = set(), threading.Lock(), None

    def __enter__(self):
        self.open()
        return self

    def __exit__(self, *_):
        self.close()

    def open(self):
        self.listener = socket.create_server(("127.0.0.1", PORT))
        threading.Thread(target=self._accept, args=(self.listener,), daemon=True).start()

    def close(self):
        """As a server that is away: nobody listens, and nothing that was open goes on."""
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.drop()

    def drop(self):
        """Ends all connections, so that each kind is asked for again."""
        with self.lock:
            for each in self.connections:
                with contextlib.suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)

    @contextlib.contextmanager
    def spoiled(self, drop=True, **faults):
        self.faults = Faults()
        for name, value in faults.items():
            setattr(self.faults, name, value)
        if drop:
            self.drop()
        try:
            yield
        finally:
            self.faults = Faults()
            self.drop()

    def _accept(self, listener):
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        with self.lock:
            self.connections.add(connection)
        try:
            with contextlib.suppress(OSError, ValueError), self.inwards.wrap_socket(connection, server_side=True) as client:
                with self.lock:
                    self.connections.add(client)
                self._answer(client)
                with self.lock:
                    self.connections.discard(client)
        finally:
            with self.lock:
                self.connections.discard(connection)
            connection.close()

    def _answer(self, client):
        head, body = _request(client)
        self.requests += 1
        faults = self.faults
        if faults.stall:
            while faults.stall and self.faults is faults:
                time.sleep(0.05)
            return
        if faults.answer and faults.only in head.split(b"\r\n", 1)[0]:
            client.sendall(faults.answer)
            return
        context = self.by_token if b"\r\nauthorization:" in head.lower() else self.outwards
        with socket.create_connection(("127.0.0.1", 6443)) as plain, \
                context.wrap_socket(plain, server_hostname="127.0.0.1") as server:
            server.sendall(head.replace(b"\r\n", b"\r\nConnection: close\r\n", 1) + body)
            self._relay(client, server, faults, head.split(b" ", 2)[1].decode())

    def _relay(self, client, server, faults, path):
        is_begun, sent, to_inject = False, 0, list(faults.inject) if "watch=" in path else []
        while True:
            if not server.pending() and not select.select([server, client], [], [], QUIET_SECONDS)[0]:
                for each in to_inject:
                    client.sendall(chunk(each))
                    self.injected[path.split("?", 1)[0]] += 1
                to_inject = []
                continue
            if not server.pending() and client in select.select([server, client], [], [], 0)[0] and not client.recv(1):
                return
            data = server.recv(faults.bytes_at_once or 65536)
            if not data:
                return
            if not is_begun:
                self.statuses[int(data.split(b" ", 2)[1])] += 1
                is_begun = True
            if faults.bytes_at_once:
                time.sleep(0.05)
            if faults.cut_after is not None and sent + len(data) > faults.cut_after:
                client.sendall(data[:faults.cut_after - sent])
                return
            client.sendall(data)
            sent += len(data)


def _request(client):
    received = b""
    while b"\r\n\r\n" not in received:
        more = client.recv(65536)
        if not more:
            raise ValueError("no request")
        received += more
    head, _, body = received.partition(b"\r\n\r\n")
    length = next((int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0)
    while len(body) < length:
        body += client.recv(65536)
    return head + b"\r\n\r\n", body
