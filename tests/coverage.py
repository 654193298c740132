"""Lines that ran, by module: reads what `llvm-cov export -summary-only` writes."""

import collections
import json
import sys

lines = collections.defaultdict(lambda: [0, 0])
for file in json.load(sys.stdin)["data"][0]["files"]:
    _, inside, path = file["filename"].partition("/src/")
    if inside and "registry" not in file["filename"]:
        counted = file["summary"]["lines"]
        module = path.split("/")[0].removesuffix(".rs")
        lines[module][0] += counted["covered"]
        lines[module][1] += counted["count"]
for module, (covered, count) in sorted(lines.items()):
    if count:
        print(f"{module:16} {covered:6} of {count:6} lines  {100 * covered / count:5.1f} %")
