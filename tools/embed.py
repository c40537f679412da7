#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""embed.py [--words | --weights] NAME OUTPUT FILE...: the files' bytes, one after the other, as a C array.

Writes `const unsigned char NAME[]` (with a NUL behind the bytes, so that text is a C string) and
`const unsigned long NAME_size`; with --words a header with `static const uint32_t NAME[]`, the bytes
taken as little-endian words (SPIR-V), so that its size is known where it is included; with --weights
`const uint16_t NAME[]`, the weights of one model file (docs/model-format.md) in half precision, and their number.
"""
import struct
import sys

words = sys.argv[1] == "--words"
weights = sys.argv[1] == "--weights"
name, output, *inputs = sys.argv[2 if words or weights else 1 :]
data = b"".join(open(path, "rb").read() for path in inputs)
if words:
    numbers = [f"0x{w:x}" for w in struct.unpack(f"<{len(data) // 4}I", data)]
    rows = [", ".join(numbers[i : i + 10]) for i in range(0, len(numbers), 10)]
elif weights:
    inputs, first, second, outputs = struct.unpack_from("<4H", data, 16)
    count = (inputs + 1) * first + (first + 1) * second + (second + 1) * outputs
    halves = struct.pack(f"<{count}e", *struct.unpack_from(f"<{count}f", data, 32))
    numbers = [str(h) for h in struct.unpack(f"<{count}H", halves)]
    rows = [", ".join(numbers[i : i + 16]) for i in range(0, count, 16)]
else:
    rows = [", ".join(str(b) for b in data[i : i + 24]) for i in range(0, len(data), 24)]
with open(output, "w", encoding="ascii") as out:
    if words:
        out.write("#include <stdint.h>\n")
        out.write(f"static const uint32_t {name}[] = {{\n" + ",\n".join(rows) + "\n};\n")
    elif weights:
        out.write("#include <stdint.h>\n")
        out.write(f"extern const uint16_t {name}[];\nextern const unsigned long {name}_size;\n")
        out.write(f"const uint16_t {name}[] = {{\n" + ",\n".join(rows) + "\n};\n")
        out.write(f"const unsigned long {name}_size = {count};\n")
    else:
        out.write(f"extern const unsigned char {name}[];\nextern const unsigned long {name}_size;\n")
        out.write(f"const unsigned char {name}[] = {{\n" + ",\n".join(rows + ["0"]) + "\n};\n")
        out.write(f"const unsigned long {name}_size = {len(data)};\n")
