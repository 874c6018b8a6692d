"""Measures a node with a reading over MQTT: messages at a rate for a while through a real mosquitto, most of them within
the deadband. Prints the processor time of the node and of the broker, and how long a message that is news takes until it is
a signed frame. Usage: python3 scripts/measure-mqtt.py target/release/clawmesh-node [RATE [SECONDS]]"""

import json
import os
import socket
import struct
import subprocess
import sys
import tempfile
import time

NODE = os.path.abspath(sys.argv[1])
RATE = int(sys.argv[2]) if len(sys.argv) > 2 else 2000
SECONDS = int(sys.argv[3]) if len(sys.argv) > 3 else 20
STEP_SEC = 0.25


def text(word):
    return struct.pack(">H", len(word)) + word


def packet(head, body):
    assert len(body) < 128
    return bytes([head, len(body)]) + body


def cpu_sec(pid):
    fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def run():
    with tempfile.TemporaryDirectory() as home, socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        conf, state = f"{home}/conf", f"{home}/state"
        open(conf, "w").write(f"user root\nlistener {port} 127.0.0.1\nallow_anonymous true\n")
        broker = subprocess.Popen(["/usr/sbin/mosquitto", "-c", conf], stderr=subprocess.DEVNULL)
        os.mkdir(state, 0o700)
        open(f"{state}/config.toml", "w").write(
            f'[[device]]\nkind = "mqtt"\nname = "bench"\nbroker = "mqtt://127.0.0.1:{port}"\n'
            '[[device.reading]]\nmetric = "level"\nzone = "z"\nunit = "%"\ntopic = "level"\njson = "/v"\n'
            "report = { deadband = 1.0 }\n"
        )
        node = subprocess.Popen(
            [NODE, "start", "--json", "--no-discovery", "--port", "0", "--state-dir", state],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env={**os.environ, "CLAWMESH_MARKS_DIR": f"{home}/marks"},
        )
        try:
            node.stdout.readline()
            measure(port, node, broker, state)
        finally:
            node.kill()
            broker.kill()
            node.wait()
            broker.wait()


def measure(port, node, broker, state):
    link = socket.create_connection(("127.0.0.1", port))
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    link.sendall(packet(0x10, text(b"MQTT") + bytes([4, 2, 0, 0]) + text(b"bench")))
    link.recv(4)

    def publish(value):
        link.sendall(packet(0x30, text(b"level") + json.dumps({"v": value}).encode()))

    def frames():
        asked = [NODE, "frames", "--kind", "observation", "--limit", "1000", "--json", "--state-dir", state]
        return json.loads(subprocess.run(asked, stdout=subprocess.PIPE, check=True).stdout)

    while not frames():
        publish(0)
        time.sleep(0.1)
    before, began, sent, steps = (cpu_sec(node.pid), cpu_sec(broker.pid)), time.monotonic(), 0, {}
    level = 0
    while (now := time.monotonic() - began) < SECONDS:
        step = int(now / STEP_SEC) + 1
        if step != level // 10:
            level = step * 10
            steps[level] = time.time() * 1000
            publish(level)
            sent += 1
        while sent < now * RATE:
            publish(level + 0.3 * (sent % 3 - 1))
            sent += 1
        time.sleep(0.0005)
    after = (cpu_sec(node.pid), cpu_sec(broker.pid))
    took = {}
    for frame in frames():
        frame = frame.get("frame", frame)
        value = frame["data"]["value"]
        near = min(steps, key=lambda step: abs(step - value))
        if abs(near - value) < 1:
            took[near] = min(took.get(near, 1e9), frame["timestamp"] - steps[near])
    late = sorted(took.values())
    print(f"mqtt_rate\t{sent / SECONDS:.0f}\tmessages/s\t2000")
    print(f"mqtt_node_cpu\t{100 * (after[0] - before[0]) / SECONDS:.1f}\t% of a core\t100")
    print(f"mqtt_broker_cpu\t{100 * (after[1] - before[1]) / SECONDS:.1f}\t% of a core\t")
    print(f"mqtt_news\t{len(late)} of {len(steps)}\tframes\tall")
    print(f"mqtt_to_frame_p50\t{late[len(late) // 2]:.1f}\tms\t5")
    print(f"mqtt_to_frame_p99\t{late[len(late) * 99 // 100]:.1f}\tms\t5")


run()
