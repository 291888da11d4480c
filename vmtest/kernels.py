"""Kernels of Debian's archive, unpacked and cached. The machine's own apt stays as it is."""

import os
import pathlib
import re
import subprocess

# Name of the row -> suite of the archive. What its metapackage depends on today is taken.
SUITES = {"6.1": "bookworm", "6.12": "bookworm-backports", "7": "trixie-backports"}
METAPACKAGE = "linux-image-cloud-amd64"
WANTED = re.compile(r"^linux-(image|binary|modules)-(\d\S*)$")
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"


class NotToBeHad(Exception):
    """Why a kernel cannot be had."""


class Kernel:
    def __init__(self, directory):
        self.directory = directory
        self.version = next((directory / "lib/modules").iterdir()).name
        # Newer packages keep it beside the modules.
        self.image = next(path for path in (directory / f"boot/vmlinuz-{self.version}",
                                            directory / f"lib/modules/{self.version}/vmlinuz") if path.exists())


def cache():
    return pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache")) / "grantd/vmtest"


def mirror():
    """Of the machine's own sources, so that a local one is used."""
    texts = [path.read_text(encoding="utf-8") for folder in ("/etc/apt", "/etc/apt/sources.list.d")
             for path in sorted(pathlib.Path(folder).glob("*")) if path.suffix in (".list", ".sources")]
    found = re.search(r"^(?:URIs:|deb (?:\[[^]]*\] )?)\s*(https?://\S+/debian)/?\s*(?:$|\s)", "\n".join(texts), re.M)
    return found.group(1) if found else "http://deb.debian.org/debian"


class Archive:
    """One suite, with lists and settings of our own."""

    def __init__(self, suite):
        self.directory = cache() / "apt" / suite
        for part in ("lists/partial", "cache/archives/partial"):
            (self.directory / part).mkdir(parents=True, exist_ok=True)
        (self.directory / "status").touch()
        (self.directory / "sources.list").write_text(f"deb [signed-by={KEYRING}] {mirror()} {suite} main\n", encoding="utf-8")

    def run(self, tool, *arguments, where=None):
        options = {"Dir::Etc::SourceList": "sources.list", "Dir::State::Lists": "lists", "Dir::Cache": "cache",
                   "Dir::State::Status": "status"}
        settings = [f"-o{name}={self.directory / path}" for name, path in options.items()]
        done = subprocess.run([tool, *settings, "-oDir::Etc::SourceParts=/dev/null", "-oAcquire::Languages=none",
                               "-oAPT::Sandbox::User=root", *arguments], check=False, cwd=where, capture_output=True, text=True, timeout=600)
        if done.returncode != 0:
            raise NotToBeHad(f"{tool} {arguments[0]}: {(done.stderr or done.stdout).strip().splitlines()[-1:]}")
        return done.stdout

    def packages(self):
        self.run("apt-get", "update")
        names = self.run("apt-cache", "depends", "--recurse", "--no-recommends", "--no-suggests", "--no-conflicts", "--no-breaks",
                         "--no-replaces", "--no-enhances", METAPACKAGE).splitlines()
        return sorted({name for name in names if WANTED.match(name)})


def kernel(name):
    """Downloaded where the cache has no newer one than the archive."""
    archive = Archive(SUITES[name])
    packages = archive.packages()
    if not packages:
        raise NotToBeHad(f"{METAPACKAGE} of {SUITES[name]} depends on no kernel")
    directory = cache() / "kernels" / WANTED.match(packages[0]).group(2)
    if not (directory / "complete").exists():
        downloads = archive.directory / "downloads"
        downloads.mkdir(exist_ok=True)
        for old in downloads.glob("*.deb"):
            old.unlink()
        archive.run("apt-get", "download", *packages, where=downloads)
        directory.mkdir(parents=True, exist_ok=True)
        for package in downloads.glob("*.deb"):
            subprocess.run(["dpkg-deb", "--extract", package, directory], check=True)
        modules = directory / "lib/modules"
        if not modules.exists():  # newer packages are for a merged /usr
            modules.parent.mkdir(exist_ok=True)
            modules.symlink_to("../usr/lib/modules")
        subprocess.run(["depmod", "-b", directory, Kernel(directory).version], check=True, stderr=subprocess.DEVNULL)
        (directory / "complete").touch()
    return Kernel(directory)
