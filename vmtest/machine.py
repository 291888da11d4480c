"""A kernel in a machine of QEMU, with this machine's files under it, which it cannot change."""

import lzma
import pathlib
import subprocess
import tempfile
import time

VIRTIOFSD = "/usr/lib/qemu/virtiofsd"
# What must be there before the root is. The others are found by modprobe, as on any machine.
EARLY = ("virtio_pci", "virtiofs", "overlay")
# Each is a part of what a node has, and of what the tests build; a kernel that has one built in, or not at all, goes on.
LATE = ("veth", "dummy", "bridge", "ifb", "tun", "vxlan", "wireguard", "vrf", "ipvlan", "macvlan", "sch_ingress", "cls_bpf", "cls_u32", "cls_matchall",
        "act_gact", "act_mirred", "act_bpf", "sch_fq", "sch_htb", "sch_tbf", "sch_netem", "nf_conntrack", "nf_nat", "nf_tables", "nft_compat", "nft_nat", "nft_masq", "nft_ct", "nft_dup_netdev",
        "nft_chain_nat", "nft_reject_inet", "xt_conntrack", "xt_MASQUERADE", "xt_nat", "xt_mark", "xt_connmark", "xt_comment", "xt_tcpudp",
        "ip_tables", "ip6_tables", "iptable_nat", "iptable_filter", "iptable_mangle", "ip6table_nat", "ip6table_filter", "ip6table_mangle", "ip_set", "ip_set_hash_net", "xt_set", "sctp",
        "af_packet", "inet_diag", "tcp_diag", "udp_diag", "br_netfilter")

INIT = """#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc proc /proc; mount -t sysfs sysfs /sys; mount -t devtmpfs dev /dev
exec >/dev/ttyS0 2>&1
for module in $(cat /early); do insmod $module || echo "vmtest: $module does not load"; done
mkdir -p /below /above /whole /results /modules
mount -t virtiofs -o ro root /below && mount -t tmpfs above /above && mkdir /above/upper /above/work &&
  mount -t overlay -o lowerdir=/below,upperdir=/above/upper,workdir=/above/work whole /whole ||
  { echo "vmtest: no root"; poweroff -f; }
mkdir -p /whole/vmtest-results
mount -t virtiofs results /whole/vmtest-results || { echo "vmtest: no place for results"; poweroff -f; }
mount -t proc proc /whole/proc; mount -t sysfs sys /whole/sys; mount -t devtmpfs dev /whole/dev
mkdir -p /whole/dev/pts /whole/dev/shm; mount -t devpts devpts /whole/dev/pts
for place in run tmp dev/shm; do mount -t tmpfs none /whole/$place; done
mount -t bpf bpf /whole/sys/fs/bpf; mount -t cgroup2 cgroup2 /whole/sys/fs/cgroup
mount -t debugfs debugfs /whole/sys/kernel/debug 2>/dev/null
mkdir -p /whole/lib/modules/$(uname -r); mount -t virtiofs -o ro modules /whole/lib/modules/$(uname -r)
ip link set lo up; hostname vmtest
# The kernel asks for the others by itself, in this root.
printf '#!/bin/busybox sh\nexec /bin/busybox chroot /whole /sbin/modprobe "$@"\n' >/modprobe
/bin/busybox chmod 755 /modprobe
echo /modprobe >/proc/sys/kernel/modprobe
for module in $(cat /late); do chroot /whole modprobe -q $module; done
chroot /whole /bin/bash /vmtest-results/script; echo "rc=$?" >/dev/ttyS1
sync; poweroff -f
"""


class Failed(Exception):
    """The machine came to no end of its own; with the last lines of its console."""


def early_modules(kernel, into):
    """Puts them and what they need there; their names in the order of loading."""
    names = []
    for module in EARLY:
        # What modprobe does not find is built in; if it is not, there will be no root.
        shown = subprocess.run(["modprobe", "-d", kernel.directory, "-S", kernel.version, "--show-depends", module], check=False,
                               capture_output=True, text=True).stdout
        for words in (line.split() for line in shown.splitlines()):
            if words[0] != "insmod":
                continue
            path = pathlib.Path(words[1])
            name = path.name.removesuffix(".xz")
            if name not in names:
                content = path.read_bytes()
                (into / name).write_bytes(lzma.decompress(content) if path.suffix == ".xz" else content)
                names.append(name)
    return names


def make_initramfs(kernel, path):
    with tempfile.TemporaryDirectory(prefix="grantd-vmtest-") as name:
        root = pathlib.Path(name)
        for folder in ("bin", "proc", "sys", "dev"):
            (root / folder).mkdir()
        (root / "bin/busybox").write_bytes(pathlib.Path("/bin/busybox").read_bytes())
        (root / "bin/busybox").chmod(0o755)
        (root / "init").write_text(INIT, encoding="utf-8")
        (root / "init").chmod(0o755)
        (root / "early").write_text("\n".join("/" + each for each in early_modules(kernel, root)) + "\n", encoding="utf-8")
        (root / "late").write_text("\n".join(LATE) + "\n", encoding="utf-8")
        listing = "\n".join(str(each.relative_to(root)) for each in sorted(root.rglob("*"))) + "\n"
        with open(path, "wb") as archive:
            subprocess.run(["/bin/busybox", "cpio", "-o", "-H", "newc"], check=True, cwd=root, input=listing.encode(), stdout=archive,
                           stderr=subprocess.DEVNULL)


def share(tag, source, folder, daemons):
    """A directory of ours, under that tag of virtiofs; gives QEMU's options."""
    socket = folder / f"{tag}.socket"
    daemons.append(subprocess.Popen([VIRTIOFSD, f"--socket-path={socket}", "-o", f"source={source}", "-o", "cache=always",  # pylint: disable=consider-using-with
                                     "-o", "sandbox=chroot", "-o", "xattr"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
    # QEMU does not wait for it.
    end = time.monotonic() + 30
    while not socket.exists():
        if daemons[-1].poll() is not None or time.monotonic() > end:
            raise Failed(f"virtiofsd does not serve {source}")
        time.sleep(0.05)
    return ["-chardev", f"socket,id={tag},path={socket}", "-device", f"vhost-user-fs-pci,chardev={tag},tag={tag}"]


def accelerator(kvm, threads):
    """Under TCG -cpu max with cx16 panics some kernels; nested KVM does not run them at all."""
    return ["-accel", "kvm", "-cpu", "host"] if kvm else ["-accel", f"tcg,thread={threads}", "-cpu", "max,-cx16"]


def run(kernel, script, results, seconds, kvm=False, threads="multi"):
    """Runs the text of a script in it. Gives its exit status; what it writes to /vmtest-results is in `results`.

    threads: of the emulator. With more than one, a kernel that changes its own code while packets run through it, as where
    programs come to a hook and go, may die of a breakpoint that is gone already: "single" for real traffic."""
    (results / "script").write_text(script, encoding="utf-8")
    console, status = results / "console", results / "status"
    daemons = []
    with tempfile.TemporaryDirectory(prefix="grantd-vmtest-") as name:
        folder = pathlib.Path(name)
        make_initramfs(kernel, folder / "initramfs")
        try:
            shares = [*share("root", "/", folder, daemons), *share("results", results, folder, daemons),
                      *share("modules", kernel.directory / "lib/modules" / kernel.version, folder, daemons)]
            subprocess.run([
                "timeout", "-k", "5", str(seconds), "qemu-system-x86_64", "-nodefaults", "-no-reboot", "-display", "none",
                *accelerator(kvm, threads),
                "-smp", "2", "-m", "1536", "-object", "memory-backend-memfd,id=memory,size=1536M,share=on", "-numa", "node,memdev=memory",
                "-kernel", kernel.image, "-initrd", folder / "initramfs", "-append", "console=ttyS0 panic=-1 oops=panic quiet loglevel=4",
                "-serial", f"file:{console}", "-serial", f"file:{status}", *shares], check=False, stdin=subprocess.DEVNULL)
        finally:
            for daemon in daemons:
                daemon.kill()
                daemon.wait()
    # QEMU's own status says nothing: it is 0 after a panic.
    said = status.read_text(encoding="utf-8", errors="replace") if status.exists() else ""
    if "rc=" not in said:
        tail = console.read_text(encoding="utf-8", errors="replace")[-3000:] if console.exists() else "no console"
        raise Failed(f"{kernel.version} came to no end within {seconds} s:\n{tail}")
    return int(said.split("rc=")[1].split()[0])
