"""An OCI image as an archive, for `ctr images import`, `skopeo copy oci-archive:...` and the like. The same input
gives the same bytes."""

import dataclasses
import gzip
import hashlib
import io
import json
import platform
import tarfile

ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())


@dataclasses.dataclass(frozen=True)
class Entry:
    """A file, a symbolic link to `target`, or an empty directory: its path ends in a slash."""
    path: str
    data: bytes = b""
    target: str = ""
    mode: int = 0o444


def layer(entries, seconds=0, owner=0):
    """A tar file in order of paths, with the directories above each, which nobody may write either."""
    entries = sorted(entries, key=lambda entry: entry.path)
    folders = {str(parent) for entry in entries for parent in _above(entry.path)}
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for folder in sorted(folders):
            _add(archive, Entry(folder, mode=0o555), seconds, owner, tarfile.DIRTYPE)
        for entry in entries:
            _add(archive, entry, seconds, owner, _kind(entry))
    return buffer.getvalue()


def write_archive(path, name, layers, config, created=None):
    """name: the image's, with its tag. Returns the digest by which a registry would know it."""
    blobs = {}

    def blob(data, media_type):
        digest = hashlib.sha256(data).hexdigest()
        blobs[digest] = data
        return {"mediaType": f"application/vnd.oci.image.{media_type}", "digest": f"sha256:{digest}", "size": len(data)}

    platform_of = {"architecture": ARCHITECTURE, "os": "linux"}
    dated = {"created": created} if created else {}
    diffs = ["sha256:" + hashlib.sha256(each).hexdigest() for each in layers]
    described = blob(_json({**platform_of, **dated, "config": config, "rootfs": {"type": "layers", "diff_ids": diffs}}),
                     "config.v1+json")
    packed = [blob(gzip.compress(each, compresslevel=6, mtime=0), "layer.v1.tar+gzip") for each in layers]
    manifest = blob(_json({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "config": described,
                           "layers": packed, "annotations": config.get("Labels", {})}), "manifest.v1+json")
    named = {"io.containerd.image.name": name, "org.opencontainers.image.ref.name": name}
    index = {"schemaVersion": 2, "manifests": [{**manifest, "platform": platform_of, "annotations": named}]}
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        for entry in [Entry("oci-layout", b'{"imageLayoutVersion": "1.0.0"}'), Entry("index.json", _json(index)),
                      *(Entry(f"blobs/sha256/{digest}", data) for digest, data in sorted(blobs.items()))]:
            _add(archive, entry, 0, 0, tarfile.REGTYPE)
    return manifest["digest"]


def _kind(entry):
    if entry.target:
        return tarfile.SYMTYPE
    return tarfile.DIRTYPE if entry.path.endswith("/") else tarfile.REGTYPE


def _above(path):
    parts = path.rstrip("/").split("/")[:-1]
    return ["/".join(parts[:count]) for count in range(1, len(parts) + 1)]


def _add(archive, entry, seconds, owner, kind):
    info = tarfile.TarInfo(entry.path.rstrip("/"))
    info.type, info.mode, info.mtime = kind, entry.mode, seconds
    info.uid = info.gid = owner
    if kind == tarfile.SYMTYPE:
        info.linkname, info.mode = entry.target, 0o777
    if kind == tarfile.REGTYPE:
        info.size = len(entry.data)
    archive.addfile(info, io.BytesIO(entry.data))


def _json(value):
    return json.dumps(value, sort_keys=True).encode()
