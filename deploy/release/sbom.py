"""Writes the software bill of materials of the program (CycloneDX 1.6, JSON) to stdout.

What `cargo metadata` and Cargo.lock say of each crate that is built into the program (no
development dependencies), and what assets/vendor/README.md says of the files in the pages.
"""

import json
import pathlib
import re
import subprocess
import tomllib

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL

ROOT = pathlib.Path(__file__).resolve().parents[2]
TARGET = "x86_64-unknown-linux-gnu"


def metadata():
    command = ["cargo", "metadata", "--locked", "--format-version=1", f"--filter-platform={TARGET}"]
    return json.loads(subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout)


def built(resolved):
    """For each package that the program is built of: those that it needs."""
    nodes = {node["id"]: node for node in resolved["nodes"]}
    needs, waiting = {}, [resolved["root"]]
    while waiting:
        package = waiting.pop()
        if package in needs:
            continue
        # "dev" is for tests only; `None` is an ordinary dependency.
        needs[package] = [
            to["pkg"]
            for to in nodes[package]["deps"]
            if any(kind["kind"] in (None, "build") for kind in to["dep_kinds"])
        ]
        waiting += needs[package]
    return needs


def licences(said):
    # Crates of old write "MIT/Apache-2.0".
    return [LicenseFactory().make_from_string(said.replace("/", " OR "))] if said else []


def component(package, checksum, kind=ComponentType.LIBRARY):
    purl = PackageURL("cargo", name=package["name"], version=package["version"])
    return Component(
        type=kind,
        name=package["name"],
        version=package["version"],
        bom_ref=str(purl),
        purl=purl,
        description=package["description"] and package["description"].strip(),
        licenses=licences(package["license"]),
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=checksum)] if checksum else [],
    )


def vendored():
    """What is copied into the pages, one row of a table each."""
    text = (ROOT / "assets/vendor/README.md").read_text()
    row = re.compile(r"^\| `(.+?)` \| .*npm `(.+?)` ([\d.]+).*?\| (.+?), `LICENSE\S+` \| (.+?) \|$", re.M)
    names = {"OFL 1.1": "OFL-1.1"}
    for file, name, version, licence, checksum in row.findall(text):
        group, _, rest = name.rpartition("/")
        purl = PackageURL("npm", namespace=group or None, name=rest, version=version)
        sums = re.findall(r"[0-9a-f]{64}", checksum)
        yield Component(
            type=ComponentType.FILE,
            name=file,
            version=version,
            bom_ref=str(purl),
            purl=purl,
            licenses=licences(names.get(licence, licence)),
            hashes=[HashType(alg=HashAlgorithm.SHA_256, content=it) for it in sums],
        )


def main():
    found = metadata()
    packages = {package["id"]: package for package in found["packages"]}
    lock = tomllib.loads((ROOT / "Cargo.lock").read_text())
    sums = {(it["name"], it["version"]): it.get("checksum") for it in lock["package"]}
    needs = built(found["resolve"])
    bom, components = Bom(), {}
    for package in map(packages.get, sorted(needs)):
        is_root = package["id"] == found["resolve"]["root"]
        kind = ComponentType.APPLICATION if is_root else ComponentType.LIBRARY
        one = component(package, sums[package["name"], package["version"]], kind)
        components[package["id"]] = one
        if is_root:
            bom.metadata.component = one
        else:
            bom.components.add(one)
    for package, needed in needs.items():
        bom.register_dependency(components[package], [components[it] for it in needed])
    files = list(vendored())
    bom.components.update(files)
    bom.register_dependency(bom.metadata.component, files)
    text = JsonV1Dot6(bom).output_as_string(indent=2)
    wrong = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    if wrong:
        raise SystemExit(f"the bill of materials is not valid: {wrong}")
    print(text)


main()
