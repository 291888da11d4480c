"""An image with a static busybox. It has what guests of the tests need: sh, nc, httpd, ping, sleep."""

import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "scripts"))

from oci_archive import Entry, layer, write_archive  # noqa: E402

BUSYBOX = "/bin/busybox"


def write_image(path, name, command):
    applets = subprocess.run([BUSYBOX, "--list"], check=True, capture_output=True, text=True).stdout.split()
    entries = [Entry("bin/busybox", pathlib.Path(BUSYBOX).read_bytes(), mode=0o755),
               Entry("tmp/", mode=0o1777), Entry("etc/passwd", b"root:x:0:0:root:/:/bin/sh\n"),
               *(Entry("bin/" + applet, target="busybox") for applet in applets if applet != "busybox")]
    write_archive(path, name, [layer(entries)], {"Env": ["PATH=/bin"], "Cmd": command})
