# SPDX-License-Identifier: MIT
"""Four threads that count into a file."""
import sys
import threading
import time

lock = threading.Lock()
out = open(sys.argv[1], "a", buffering=1)
counts = [0] * 4


def count(which):
    while True:
        with lock:
            out.write(f"{which} {counts[which]}\n")
            counts[which] += 1
        time.sleep(0.01)


threads = [threading.Thread(target=count, args=(i,)) for i in range(4)]
for thread in threads:
    thread.start()
