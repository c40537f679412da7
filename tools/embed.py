#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""embed.py NAME OUTPUT FILE...: the files' bytes, one after the other, as a C array.

Writes `const unsigned char NAME[]` (with a NUL behind the bytes, so that text is a C string) and
`const unsigned long NAME_size`.
"""
import sys

name, output, *inputs = sys.argv[1:]
data = b"".join(open(path, "rb").read() for path in inputs)
rows = [", ".join(str(b) for b in data[i : i + 24]) for i in range(0, len(data), 24)]
with open(output, "w", encoding="ascii") as out:
    out.write(f"extern const unsigned char {name}[];\nextern const unsigned long {name}_size;\n")
    out.write(f"const unsigned char {name}[] = {{\n" + ",\n".join(rows + ["0"]) + "\n};\n")
    out.write(f"const unsigned long {name}_size = {len(data)};\n")
