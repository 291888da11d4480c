"""A bill of materials of the image: SPDX 2.3 as JSON. Each file is there with its digest and the Debian package that it
comes from."""

import hashlib
import json
import urllib.parse
import uuid

NOT_SAID = "NOASSERTION"
OURS = "SPDXRef-Package-grantd"
ITSELF = "usr/share/doc/grantd/sbom.spdx.json"


def _id(kind, name):
    return f"SPDXRef-{kind}-" + "".join(each if each.isalnum() or each in ".-" else "-" for each in name)


def _package(package):
    quoted = urllib.parse.quote(package.version, safe="~")
    return {"SPDXID": _id("Package", package.name), "name": package.name, "versionInfo": package.version,
            "supplier": "Organization: Debian", "downloadLocation": NOT_SAID, "filesAnalyzed": False,
            "licenseConcluded": NOT_SAID, "licenseDeclared": NOT_SAID, "copyrightText": NOT_SAID,
            "sourceInfo": f"built from the source package {package.source} {package.source_version}",
            "externalRefs": [{"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator":
                              f"pkg:deb/debian/{urllib.parse.quote(package.name, safe='')}@{quoted}"
                              f"?arch={package.architecture}&distro=debian-12"}]}


def _file(path, data):
    sums = [{"algorithm": name.upper(), "checksumValue": hashlib.new(name, data).hexdigest()} for name in ("sha1", "sha256")]
    return {"SPDXID": _id("File", path), "fileName": "./" + path, "checksums": sums, "licenseConcluded": NOT_SAID,
            "licenseInfoInFiles": [NOT_SAID], "copyrightText": NOT_SAID}


def _verification(files):
    """As SPDX 2.3 has it, 7.9."""
    sums = sorted(each["checksumValue"] for file in files for each in file["checksums"] if each["algorithm"] == "SHA1")
    return hashlib.sha1("".join(sums).encode()).hexdigest()


def _relation(one, kind, other):
    return {"spdxElementId": one, "relationshipType": kind, "relatedSpdxElement": other}


def document(version, created, packages, programs, libraries, licences, related):
    """programs, licences: entries of the image; libraries: as debian_files has them; related: kind of relation ->
    names of packages. The result does not hold itself."""
    files, relations = [], [_relation("SPDXRef-DOCUMENT", "DESCRIBES", OURS)]

    def add(path, data, package=None):
        files.append(_file(path, data))
        relations.append(_relation(OURS, "CONTAINS", files[-1]["SPDXID"]))
        if package:
            relations.append(_relation(files[-1]["SPDXID"], "GENERATED_FROM", _id("Package", package)))

    for entry in programs:
        add(entry.path, entry.data)
    for library in libraries:
        add(library.path, library.source.read_bytes(), library.package)
    for entry in licences:
        add(entry.path, entry.data, entry.path.split("/")[-2])
    for kind, names in sorted(related.items()):
        for other in (_id("Package", name) for name in sorted(names)):
            one, two = (other, OURS) if kind.endswith("_OF") else (OURS, other)
            relations.append(_relation(one, kind, two))
    own = {"SPDXID": OURS, "name": "grantd", "versionInfo": version, "downloadLocation": NOT_SAID, "filesAnalyzed": True,
           "packageVerificationCode": {"packageVerificationCodeValue": _verification(files),
                                       "packageVerificationCodeExcludedFiles": ["./" + ITSELF]},
           "licenseConcluded": NOT_SAID, "licenseDeclared": NOT_SAID, "copyrightText": NOT_SAID}
    said = {"spdxVersion": "SPDX-2.3", "dataLicense": "CC0-1.0", "SPDXID": "SPDXRef-DOCUMENT", "name": f"grantd-{version}",
            "creationInfo": {"created": created, "creators": ["Tool: grantd-scripts-image"]},
            "packages": [own, *map(_package, packages)], "files": files, "relationships": relations}
    # Its name is its content's.
    said["documentNamespace"] = uuid.uuid5(uuid.NAMESPACE_OID, json.dumps(said, sort_keys=True)).urn
    return json.dumps(said, indent=1, sort_keys=True).encode() + b"\n"
