"""Certificates and kubeconfigs of a test cluster, by openssl. Good for two days."""

import base64
import json
import subprocess

CLIENTS = {
    "admin": "/O=system:masters/CN=admin",
    "controller-manager": "/CN=system:kube-controller-manager",
    "scheduler": "/CN=system:kube-scheduler",
    "kubelet-client": "/O=system:masters/CN=kube-apiserver-kubelet-client",
}


class Pki:
    def __init__(self, directory):
        self.directory = directory
        directory.mkdir(parents=True)
        self._key("ca")
        self._openssl("req", "-x509", "-new", "-key", self.key("ca"), "-days", "2", "-subj", "/CN=grantd-e2e",
                      "-addext", "keyUsage=critical,keyCertSign,cRLSign,digitalSignature", "-out", self.certificate("ca"))
        for name, subject in CLIENTS.items():
            self.client(name, subject)
        # Service accounts' tokens are signed with RSA everywhere.
        self._openssl("genrsa", "-out", self.key("service-accounts"), "2048")
        self._openssl("rsa", "-in", self.key("service-accounts"), "-pubout", "-out", directory / "service-accounts.pub")

    def key(self, name):
        return self.directory / f"{name}.key"

    def certificate(self, name):
        return self.directory / f"{name}.crt"

    def client(self, name, subject):
        self._sign(name, subject, "extendedKeyUsage=clientAuth")

    def server(self, name, subject, *alternatives):
        self._sign(name, subject, f"extendedKeyUsage=serverAuth\nsubjectAltName={','.join(alternatives)}")

    def kubeconfig(self, name, url):
        """Path of a kubeconfig of that client. JSON is YAML."""
        path = self.directory / f"{name}.kubeconfig"
        user = {"client-certificate-data": self._base64(self.certificate(name)),
                "client-key-data": self._base64(self.key(name))}
        cluster = {"server": url, "certificate-authority-data": self._base64(self.certificate("ca"))}
        path.write_text(json.dumps({
            "apiVersion": "v1", "kind": "Config", "current-context": "e2e",
            "clusters": [{"name": "e2e", "cluster": cluster}], "users": [{"name": name, "user": user}],
            "contexts": [{"name": "e2e", "context": {"cluster": "e2e", "user": name}}]}), encoding="utf-8")
        return path

    def _sign(self, name, subject, extensions):
        self._key(name)
        request, wanted = self.directory / f"{name}.csr", self.directory / f"{name}.ext"
        wanted.write_text(extensions + "\n", encoding="utf-8")
        self._openssl("req", "-new", "-key", self.key(name), "-subj", subject, "-out", request)
        self._openssl("x509", "-req", "-in", request, "-CA", self.certificate("ca"), "-CAkey", self.key("ca"),
                      "-CAcreateserial", "-days", "2", "-extfile", wanted, "-out", self.certificate(name))

    def _key(self, name):
        self._openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", self.key(name))

    @staticmethod
    def _openssl(*arguments):
        done = subprocess.run(["openssl", *map(str, arguments)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    @staticmethod
    def _base64(path):
        return base64.b64encode(path.read_bytes()).decode()
