"""The agent's image: what is in it, that it runs with nothing else, and that its bill of materials is true."""

import gzip
import hashlib
import io
import json
import os
import re
import subprocess
import tarfile

import pytest

from conftest import make_image
from cluster import ROOT, run

OWNER = 65532
PROGRAMS = {"usr/bin/grantd", "usr/bin/grantctl", "usr/bin/grantd-cni"}
SBOM = "usr/share/doc/grantd/sbom.spdx.json"
LABELS = "org.opencontainers.image."


class Image:
    def __init__(self, path):
        with tarfile.open(path) as archive:
            blobs = {each.name: archive.extractfile(each).read() for each in archive if each.isfile()}
        self.index = json.loads(blobs["index.json"])
        self.manifest = self._blob(blobs, self.index["manifests"][0])
        self.config = self._blob(blobs, self.manifest["config"])
        self.layers = []
        for described, diff in zip(self.manifest["layers"], self.config["rootfs"]["diff_ids"], strict=True):
            packed = self._bytes(blobs, described)
            layer = tarfile.open(fileobj=io.BytesIO(packed))
            self.layers.append(layer)
            assert hashlib.sha256(gzip.decompress(packed)).hexdigest() == diff.removeprefix("sha256:")
        self.size = path.stat().st_size

    @staticmethod
    def _bytes(blobs, described):
        data = blobs["blobs/" + described["digest"].replace(":", "/")]
        assert len(data) == described["size"] and hashlib.sha256(data).hexdigest() == described["digest"].removeprefix("sha256:")
        return data

    def _blob(self, blobs, described):
        return json.loads(self._bytes(blobs, described))

    def entries(self):
        return [each for layer in self.layers for each in layer.getmembers()]

    def files(self):
        """Path -> content."""
        return {each.name: layer.extractfile(each).read() for layer in self.layers for each in layer if each.isfile()}


@pytest.fixture(scope="module")
def image(agent_image):
    return Image(agent_image)


@pytest.fixture(scope="module")
def bill(image):
    return json.loads(image.files()[SBOM])


def test_the_same_input_gives_the_same_bytes(agent_image, tmp_path):
    again, later = tmp_path / "again.tar", tmp_path / "later.tar"
    said = make_image(again)
    assert again.read_bytes() == agent_image.read_bytes()
    assert Image(again).index["manifests"][0]["digest"] in said
    # It is dated, and the date is input.
    make_image(later, 1700000001)
    assert later.read_bytes() != agent_image.read_bytes()
    assert Image(later).config["created"] == "2023-11-14T22:13:21Z"


def test_it_has_what_is_needed_and_no_more(image):
    files = set(image.files())
    libraries = {each for each in files if re.match(r"usr/lib(64|/[a-z0-9_]+-linux-gnu)/[\w.+-]+\.so[.\d]*$", each)}
    licences = {each for each in files if re.match(r"usr/share/doc/[\w.+-]+/copyright$", each)}
    assert PROGRAMS <= files and len(libraries) > 10 and len(licences) > 10
    assert files == PROGRAMS | libraries | licences | {SBOM}
    assert {each.name: each.linkname for each in image.entries() if each.issym()} == {
        "lib": "usr/lib", "lib64": "usr/lib64", "var/run": "/run"}
    assert image.size < 20e6
    names = [each.name for each in image.entries() if not each.isdir()]
    assert len(names) == len(set(names))


def test_nobody_may_write_what_is_in_it(image):
    for each in image.entries():
        assert (each.uid, each.gid) == (OWNER, OWNER), each.name
        assert each.issym() or each.mode in (0o555, 0o444), each.name
    assert not [each.name for each in image.entries() if not (each.isdir() or each.isfile() or each.issym())]


def test_its_labels_say_what_it_is(image):
    labels = image.config["config"]["Labels"]
    version = re.search(r"^project\(grantd VERSION (\S+)", (ROOT / "CMakeLists.txt").read_text(encoding="utf-8"), re.M).group(1)
    assert labels[LABELS + "version"] == version and labels[LABELS + "title"] == "grantd"
    assert labels[LABELS + "created"] == image.config["created"] == "2023-11-14T22:13:20Z"
    assert labels[LABELS + "revision"].startswith(run(["git", "-C", ROOT, "rev-parse", "HEAD"]).stdout.strip())
    assert image.manifest["annotations"] == labels
    assert image.index["manifests"][0]["annotations"]["io.containerd.image.name"] == f"localhost/grantd:{version}"
    assert image.config["config"]["Entrypoint"] == ["/usr/bin/grantd"]


def test_it_runs_with_nothing_else(image, tmp_path):
    for layer in image.layers:
        layer.extractall(tmp_path)
    for name in ("grantd", "grantctl"):
        done = run(["chroot", tmp_path, f"/usr/bin/{name}", "--version"])
        assert done.stdout.startswith(name)
    plugin = subprocess.run(["chroot", tmp_path, "/usr/bin/grantd-cni"], env={**os.environ, "CNI_COMMAND": "VERSION"}, input="{}",
                            capture_output=True, text=True, check=False)
    assert "1.0.0" in json.loads(plugin.stdout)["supportedVersions"]
    missing = next(tmp_path.glob("usr/lib/*/libyaml-cpp.so.*"))
    missing.unlink()
    done = run(["chroot", tmp_path, "/usr/bin/grantd", "--version"], check=False)
    assert done.returncode != 0 and "libyaml-cpp" in done.stderr


def by_name(bill):
    return {each["name"]: each for each in bill["packages"]}


def related(bill, kind):
    return [(each["spdxElementId"], each["relatedSpdxElement"]) for each in bill["relationships"]
            if each["relationshipType"] == kind]


def test_the_bill_is_a_whole_spdx_document(bill):
    """What SPDX 2.3 makes mandatory."""
    assert bill["spdxVersion"] == "SPDX-2.3" and bill["dataLicense"] == "CC0-1.0" and bill["SPDXID"] == "SPDXRef-DOCUMENT"
    assert bill["name"] and re.match(r"urn:uuid:[0-9a-f-]{36}$", bill["documentNamespace"])
    assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$", bill["creationInfo"]["created"])
    assert all(re.match(r"(Tool|Person|Organization): ", each) for each in bill["creationInfo"]["creators"])
    elements = [bill["SPDXID"]] + [each["SPDXID"] for each in bill["packages"] + bill["files"]]
    assert len(elements) == len(set(elements))
    assert all(re.match(r"SPDXRef-[A-Za-z0-9.-]+$", each) for each in elements)
    for each in bill["packages"]:
        assert each["name"] and each["versionInfo"] and each["downloadLocation"]
    for each in bill["files"]:
        assert each["fileName"].startswith("./") and "SHA1" in [one["algorithm"] for one in each["checksums"]]
    for each in bill["relationships"]:
        assert {each["spdxElementId"], each["relatedSpdxElement"]} <= set(elements), each
    assert related(bill, "DESCRIBES") == [("SPDXRef-DOCUMENT", by_name(bill)["grantd"]["SPDXID"])]


def test_the_bill_names_every_file_with_its_digest(image, bill):
    there = {"./" + path: hashlib.sha256(data).hexdigest() for path, data in image.files().items() if path != SBOM}
    named = {each["fileName"]: next(one["checksumValue"] for one in each["checksums"] if one["algorithm"] == "SHA256")
             for each in bill["files"]}
    assert named == there
    sums = "".join(sorted(hashlib.sha1(data).hexdigest() for path, data in image.files().items() if path != SBOM))
    code = by_name(bill)["grantd"]["packageVerificationCode"]
    assert code["packageVerificationCodeValue"] == hashlib.sha1(sums.encode()).hexdigest()
    assert code["packageVerificationCodeExcludedFiles"] == ["./" + SBOM]


def test_the_bill_says_where_each_library_comes_from(image, bill):
    packages = {each["SPDXID"]: each for each in bill["packages"]}
    of_file = dict(related(bill, "GENERATED_FROM"))
    for each in bill["files"]:
        path = each["fileName"].removeprefix("./")
        if path in PROGRAMS:
            assert each["SPDXID"] not in of_file
        elif path.endswith("/copyright"):
            assert packages[of_file[each["SPDXID"]]]["name"] == path.split("/")[-2]
        else:
            # dpkg's own list of the package has the file that the name leads to.
            listed = run(["dpkg", "-L", packages[of_file[each["SPDXID"]]]["name"]]).stdout.splitlines()
            real = str((ROOT / "/" / path).resolve())
            assert real in listed or real.removeprefix("/usr") in listed, path


def test_the_bill_says_debians_versions(bill):
    debian = [each for name, each in by_name(bill).items() if name != "grantd"]
    assert len(debian) > 20
    for each in debian:
        version = run(["dpkg-query", "-W", "-f=${Version}", each["name"]]).stdout
        assert each["versionInfo"] == version
        assert [one["referenceType"] for one in each["externalRefs"]] == ["purl"]
        assert each["externalRefs"][0]["referenceLocator"].startswith(f"pkg:deb/debian/{each['name'].replace('+', '%2B')}@")
    assert "libbpf-dev" in {each["name"] for each in debian if ("SPDXRef-Package-grantd", each["SPDXID"]) in related(bill, "STATIC_LINK")}
    assert "nlohmann-json3-dev" in by_name(bill)
