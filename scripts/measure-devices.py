"""Measures a node with many devices: each reads a number from a file of its own every second, and the numbers change all
the while. Prints the memory and the processor time of the node, and how many devices have news in its world model.
Usage: python3 scripts/measure-devices.py target/release/clawmesh-node [DEVICES [SECONDS]]"""

import json
import os
import subprocess
import sys
import tempfile
import time

NODE = os.path.abspath(sys.argv[1])
DEVICES = int(sys.argv[2]) if len(sys.argv) > 2 else 500
SECONDS = int(sys.argv[3]) if len(sys.argv) > 3 else 60


def cpu_sec(pid):
    fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def kib(pid, file, name):
    for line in open(f"/proc/{pid}/{file}"):
        if line.startswith(name + ":"):
            return int(line.split()[1])
    raise SystemExit(f"/proc/{pid}/{file} has no {name}")


def write(home, round_):
    for n in range(DEVICES):
        with open(f"{home}/value-{n}.new", "w") as file:
            file.write(f"{20 + (n + round_) % 50}\n")
        os.replace(f"{home}/value-{n}.new", f"{home}/value-{n}")


def config(home):
    for n in range(DEVICES):
        yield (
            f'[[device]]\nkind = "file"\nname = "dev-{n}"\nevery_ms = 1000\n[[device.reading]]\nmetric = "temperature"\n'
            f'zone = "z{n}"\nunit = "Cel"\npath = "{home}/value-{n}"\n'
        )


def main():
    with tempfile.TemporaryDirectory() as home:
        state = f"{home}/state"
        os.mkdir(state, 0o700)
        write(home, 0)
        open(f"{state}/config.toml", "w").write("".join(config(home)))
        node = subprocess.Popen(
            [NODE, "start", "--json", "--no-discovery", "--port", "0", "--state-dir", state],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env={**os.environ, "CLAWMESH_MARKS_DIR": f"{home}/marks"},
        )
        try:
            node.stdout.readline()
            began, before, most = time.monotonic(), cpu_sec(node.pid), 0
            round_ = 0
            while time.monotonic() - began < SECONDS:
                round_ += 1
                write(home, round_)
                most = max(most, kib(node.pid, "status", "VmRSS"))
                time.sleep(1)
            spent = cpu_sec(node.pid) - before
            took = time.monotonic() - began
            own = kib(node.pid, "smaps_rollup", "Pss_Anon")
            asked = [NODE, "world", "--json", "--state-dir", state]
            world = json.loads(subprocess.run(asked, capture_output=True, text=True, check=True).stdout)
            facts = world if isinstance(world, list) else world.get("facts", world)
            zones = {fact.get("zone") for fact in facts if str(fact.get("zone", "")).startswith("z")}
        finally:
            node.kill()
            node.wait()
        print(f"devices with a reading: {len(zones)} of {DEVICES}")
        print(f"resident memory: at most {most / 1024:.1f} MiB, of which nobody else can have {own / 1024:.1f} MiB at the end")
        print(f"processor: {100 * spent / took:.1f} % of a core")


main()
