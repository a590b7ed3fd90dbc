#!/usr/bin/env python3
"""Every path that ARCHITECTURE.md, README.md and CONTRIBUTING.md name in backquotes must exist."""
import pathlib, re, sys

bad = []
for doc in ("ARCHITECTURE.md", "README.md", "CONTRIBUTING.md"):
    for n, line in enumerate(open(doc), 1):
        for name in re.findall(r"`((?:src|docs|tools|tests|bench|data|\.ci)/[\w./-]*)`", line):
            if not pathlib.Path(name).exists():
                bad.append(f"{doc}:{n}: no such path: {name}")
print("\n".join(bad), end="\n" if bad else "")
sys.exit(bool(bad))
