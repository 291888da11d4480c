"""Which files of Debian's packages a program needs, and what dpkg says of those packages."""

import collections
import dataclasses
import pathlib
import re
import subprocess
import tempfile


@dataclasses.dataclass(frozen=True)
class Library:
    path: str  # in an image
    source: pathlib.Path  # here
    package: str


Package = collections.namedtuple("Package", "name version architecture source source_version")


def _run(command):
    return subprocess.run(list(map(str, command)), check=True, capture_output=True, text=True).stdout


def owners(paths):
    """Path -> the package that the file belongs to. One that belongs to none is an error: nobody could say what it is."""
    # Packages name some files from before the merge of /usr.
    names = {path: [str(path.resolve()), str(path.resolve()).removeprefix("/usr")] for path in map(pathlib.Path, paths)}
    # It exits 1 where it does not know all of them.
    told = subprocess.run(["dpkg", "-S", *sorted({name for both in names.values() for name in both})],
                          capture_output=True, text=True, check=False).stdout
    known = {line.rsplit(": ", 1)[1]: line.split(":")[0].split(",")[0] for line in told.splitlines()}
    found = {path: known.get(both[0]) or known.get(both[1]) for path, both in names.items()}
    nobodys = [str(path) for path, package in found.items() if not package]
    if nobodys:
        raise LookupError(f"of no Debian package: {', '.join(nobodys)}")
    return found


def libraries(programs):
    """The shared libraries of programs, with the loader, by the name that they ask for."""
    found = {}
    for program in programs:
        listed = subprocess.run(["ldd", program], capture_output=True, text=True, check=False)
        if "not a dynamic executable" in listed.stdout + listed.stderr:
            continue
        if listed.returncode != 0 or "not found" in listed.stdout:
            raise LookupError(f"{program}: {listed.stdout}{listed.stderr}")
        for path in re.findall(r"(?:=> |^\t)(/\S+) \(0x", listed.stdout, re.M):
            asked = pathlib.Path(path)
            inside = asked.parent.resolve() / asked.name
            if asked.name.startswith("ld-linux"):  # It is asked for by its whole path.
                inside = pathlib.Path("/usr" + path) if not path.startswith("/usr") else asked
            found[inside] = asked
    of = owners(found.values())
    return [Library(str(inside).lstrip("/"), asked.resolve(), of[asked]) for inside, asked in sorted(found.items())]


def linked_statically(build, target):
    """The packages whose archives are in a program, asked of the linker itself."""
    link = _run(["ninja", "-C", build, "-t", "commands", target]).splitlines()[-1]
    with tempfile.TemporaryDirectory() as directory:
        again = link.replace(f"-o {target}", f"-o {directory}/program -Wl,--trace")
        assert again != link, f"not the link of {target}: {link}"
        traced = subprocess.run(again, shell=True, cwd=build, check=True, capture_output=True, text=True).stdout
    return set(owners(re.findall(r"^\(?(/usr/lib\S+?\.[ao])\b", traced, re.M)).values())


def compiled_in(build, targets):
    """The packages whose headers the compiler read for programs. Some libraries are nothing else."""
    objects = re.findall(r" -o (\S+\.o) ", _run(["ninja", "-C", build, "-t", "commands", *targets]))
    headers = re.findall(r"^    (/usr/\S+)$", _run(["ninja", "-C", build, "-t", "deps", *objects]), re.M)
    assert objects and headers
    return set(owners(set(headers)).values())


def licence(package):
    """Debian's own words on whose the package is."""
    return pathlib.Path(f"/usr/share/doc/{package}/copyright").read_bytes()


def described(packages):
    fields = "\t".join("${" + name + "}" for name in ("Package", "Version", "Architecture", "source:Package", "source:Version"))
    return [Package(*line.split("\t")) for line in _run(["dpkg-query", "-W", f"-f={fields}\n", *packages]).splitlines()]
