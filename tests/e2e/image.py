"""An OCI archive with a static busybox, for `ctr images import`. It has what guests of the tests need: sh, nc,
httpd, ping, sleep."""

import hashlib
import io
import json
import platform
import subprocess
import tarfile

BUSYBOX = "/bin/busybox"
ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())


def write_image(path, name, command, files=()):
    """files: further (path in the image, bytes) pairs, made executable."""
    layer = _layer(files)
    blobs = {}

    def blob(data, media_type):
        digest = hashlib.sha256(data).hexdigest()
        blobs[digest] = data
        return {"mediaType": f"application/vnd.oci.image.{media_type}", "digest": f"sha256:{digest}", "size": len(data)}

    platform_of = {"architecture": ARCHITECTURE, "os": "linux"}
    rootfs = {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(layer).hexdigest()]}
    config = blob(_json({**platform_of, "config": {"Env": ["PATH=/bin"], "Cmd": command}, "rootfs": rootfs}), "config.v1+json")
    manifest = blob(_json({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
                           "config": config, "layers": [blob(layer, "layer.v1.tar")]}), "manifest.v1+json")
    entry = {**manifest, "platform": platform_of, "annotations": {"io.containerd.image.name": name}}
    with tarfile.open(path, "w") as archive:
        _add(archive, "oci-layout", b'{"imageLayoutVersion": "1.0.0"}')
        _add(archive, "index.json", _json({"schemaVersion": 2, "manifests": [entry]}))
        for digest, data in blobs.items():
            _add(archive, f"blobs/sha256/{digest}", data)


def _layer(files):
    buffer = io.BytesIO()
    applets = subprocess.run([BUSYBOX, "--list"], check=True, capture_output=True, text=True).stdout.split()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for directory in ("bin", "dev", "etc", "proc", "sys", "tmp"):
            entry = tarfile.TarInfo(directory)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(entry)
        with open(BUSYBOX, "rb") as file:
            _add(archive, "bin/busybox", file.read())
        for applet in applets:
            if applet == "busybox":
                continue
            link = tarfile.TarInfo("bin/" + applet)
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            archive.addfile(link)
        _add(archive, "etc/passwd", b"root:x:0:0:root:/:/bin/sh\n")
        for path, data in files:
            _add(archive, path, data)
    return buffer.getvalue()


def _add(archive, path, data):
    entry = tarfile.TarInfo(path)
    entry.size, entry.mode = len(data), 0o755
    archive.addfile(entry, io.BytesIO(data))


def _json(value):
    return json.dumps(value).encode()
