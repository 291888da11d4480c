"""The image of the agent, from a build and the Debian packages of this machine. scripts/image runs it.

  /usr/bin/python3 scripts/image.py BUILD FILE
"""

import datetime
import os
import pathlib
import re
import subprocess
import sys

import debian_files
import sbom
from oci_archive import Entry, layer, write_archive

PROGRAMS = ("grantd", "grantctl", "grantd-cni")
ROOT = pathlib.Path(__file__).resolve().parent.parent
# Nobody's in particular. The agent runs as root without the right to pass over permissions, so what belongs to another
# and may be written by nobody is safe from it too.
OWNER = 65532
# Where Debian has its libraries since its merge of /usr; and runtimes write down /var/run/netns for /run/netns.
LINKS = [Entry("lib", target="usr/lib"), Entry("lib64", target="usr/lib64"), Entry("var/run", target="/run")]


def version():
    text = (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")
    return re.search(r"^project\(grantd VERSION (\S+)", text, re.M).group(1)


def revision():
    done = subprocess.run(["git", "-C", ROOT, "describe", "--always", "--abbrev=40", "--match=", "--dirty"],
                          capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""


def programs(build):
    return [Entry(f"usr/bin/{name}", (build / "agent" / name).read_bytes(), mode=0o555) for name in PROGRAMS]


def labels(created):
    said = {"title": "grantd", "description": "Holds guest workloads to their Grants, with eBPF", "version": version(),
            "revision": revision(), "created": created}
    return {f"org.opencontainers.image.{name}": value for name, value in said.items() if value}


def write_image(build, path, seconds):
    """Returns the image's name and digest."""
    created = datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    needed = debian_files.libraries([build / "agent" / name for name in PROGRAMS])
    linked = debian_files.linked_statically(build, "agent/grantd-cni")
    libraries = [Entry(each.path, each.source.read_bytes(), mode=0o555) for each in needed]
    compiled = debian_files.compiled_in(build, [f"agent/{name}" for name in PROGRAMS])
    packages = sorted({each.package for each in needed} | linked | compiled)
    licences = [Entry(f"usr/share/doc/{package}/copyright", debian_files.licence(package)) for package in packages]
    ours = programs(build)
    bill = sbom.document(version(), created, debian_files.described(packages), ours, needed, licences,
                         {"STATIC_LINK": linked, "DEPENDS_ON": {each.package for each in needed}, "BUILD_DEPENDENCY_OF": compiled})
    below = layer([*LINKS, *libraries, *licences], seconds, OWNER)
    above = layer([*ours, Entry(sbom.ITSELF, bill)], seconds, OWNER)
    config = {"Entrypoint": ["/usr/bin/grantd"], "Cmd": ["run", "--kubernetes"], "User": "0:0", "Env": ["PATH=/usr/bin"],
              "Labels": labels(created)}
    name = f"localhost/grantd:{version()}"
    digest = write_archive(path, name, [below, above], config, created)
    pathlib.Path(f"{path}.spdx.json").write_bytes(bill)
    return name, digest


def main():
    if len(sys.argv) != 3:
        sys.exit("usage: scripts/image.py BUILD FILE")
    build, path = map(pathlib.Path, sys.argv[1:])
    name, digest = write_image(build, path, int(os.environ.get("SOURCE_DATE_EPOCH", "0")))
    print(f"{path}: {name}@{digest}, {path.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
