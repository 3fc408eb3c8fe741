#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Runs the benchmarks of bench/suites: ratios against baselines measured in the same run."""
import argparse
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", default="build")
    parser.add_argument("words", nargs="*", help="only suites with such a word in their name")
    args = parser.parse_args()
    env = dict(os.environ, REPRISE_BUILD=str((ROOT / args.build).resolve()), REPRISE_ROOT=str(ROOT))
    print(f"load before: {os.getloadavg()[0]:.1f} (figures of a busy machine mean little)")
    bad = 0
    for suite in sorted((ROOT / "bench/suites").iterdir()):
        if args.words and not any(word in suite.name for word in args.words):
            continue
        print(f"\n== {suite.name}", flush=True)
        try:
            bad += subprocess.run([suite], env=env, cwd=ROOT, stdin=subprocess.DEVNULL, timeout=1800).returncode != 0
        except subprocess.TimeoutExpired:
            print(f"{suite.name}: still running after 1800 s")
            bad += 1
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
