#!/usr/bin/env python3
"""Migrations as C: embed-sql.py OUT.c NNN_name.sql …   (numbers 1, 2, 3 … without gaps)"""
import pathlib, re, sys

out, files = sys.argv[1], sorted(map(pathlib.Path, sys.argv[2:]))
rows = []
for want, path in enumerate(files, 1):
    m = re.fullmatch(r"(\d+)_(\w+)\.sql", path.name)
    if not m or int(m[1]) != want:
        sys.exit(f"{path}: expected a name like {want:03}_what.sql")
    lines = "".join(f'        "{line}\\n"\n' for line in
                    path.read_text().replace("\\", "\\\\").replace('"', '\\"').splitlines())
    size = len(path.read_bytes())
    rows.append(f'    {{{want}, "{m[2]}", {{\n{lines}        , {size}}}}},\n')
pathlib.Path(out).write_text('#include "index/index_priv.h"\n\n'
                             "const struct db_migration index_schema[] = {\n" + "".join(rows) + "};\n"
                             "const size_t index_schema_n = sizeof(index_schema) / sizeof(index_schema[0]);\n")
