"""A Modbus device for tests, by pymodbus: 200 of each table, as unit 1. Over TCP, or over a pseudo-terminal that is a serial port.

    server.py PORT
    server.py /path/of/the/serial/port

Says `ready PORT`, then each write as `write TABLE AT WORD...`. Listens to lines on its standard input: `set TABLE AT WORD`,
`get TABLE AT` (answered as `got WORD`), `slow SECONDS` before every answer, and `unplug` and `plug` of the serial port.
"""

import asyncio
import os
import pty
import select
import socket
import sys
import threading
import time
import tty

from pymodbus import FramerType
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

READS = {"coil": 1, "discrete": 2, "holding": 3, "input": 4}
WRITES = {5: "coil", 6: "holding", 15: "coil", 16: "holding"}


def say(*words):
    print(*words, flush=True)


class Adapter:
    """A serial port under this name, with the device of this port behind it."""

    def __init__(self, name, port):
        self.name, self.port, self.goes = name, port, None

    def plug(self):
        near, far = pty.openpty()
        tty.setraw(far)
        if os.path.lexists(self.name):
            os.unlink(self.name)
        os.symlink(os.ttyname(far), self.name)
        os.close(far)
        self.goes = [True]
        self.thread = threading.Thread(target=self.carry, args=(near, self.goes), daemon=True)
        self.thread.start()

    def unplug(self):
        self.goes[0] = False
        self.thread.join()

    def carry(self, near, goes):
        with socket.create_connection(("127.0.0.1", self.port)) as device:
            while goes[0]:
                ready, _, _ = select.select([near, device], [], [], 0.05)
                for one in ready:
                    try:
                        if one is device:
                            os.write(near, device.recv(512))
                        else:
                            device.sendall(os.read(near, 512))
                    except OSError:
                        # Nobody has the port open.
                        time.sleep(0.01)
        os.close(near)


def main():
    slow, adapter = [0.0], []
    serial = sys.argv[1].startswith("/")
    bits = lambda: [SimData(0, count=200, values=False, datatype=DataType.BITS)]
    words = lambda: [SimData(0, count=200, values=0, datatype=DataType.REGISTERS)]
    device = SimDevice(id=1, simdata=(bits(), bits(), words(), words()))

    def seen(sending, pdu):
        if not sending:
            if pdu.function_code in WRITES:
                say("write", WRITES[pdu.function_code], pdu.address, *map(int, pdu.bits or pdu.registers))
            time.sleep(slow[0])
        return pdu

    def listen(server, loop):
        context = server.context
        await_ = lambda todo: asyncio.run_coroutine_threadsafe(todo, loop).result()
        for line in sys.stdin:
            match line.split():
                case ["set", table, at, word]:
                    value = bool(int(word)) if table in ("coil", "discrete") else int(word)
                    refused = await_(context.async_setValues(1, READS[table], int(at), [value]))
                    say("refused" if refused else "done")
                case ["get", table, at]:
                    say("got", int(await_(context.async_getValues(1, READS[table], int(at), 1))[0]))
                case ["unplug"]:
                    adapter[0].unplug()
                    say("done")
                case ["plug"]:
                    adapter[0].plug()
                    say("done")
                case ["slow", seconds]:
                    slow[0] = float(seconds)
                    say("done")

    async def serve():
        address = ("127.0.0.1", 0 if serial else int(sys.argv[1]))
        framer = FramerType.RTU if serial else FramerType.SOCKET
        server = ModbusTcpServer(device, framer=framer, address=address, trace_pdu=seen)
        serving = asyncio.create_task(server.serve_forever())
        while server.transport is None:
            await asyncio.sleep(0.01)
        port = server.transport.sockets[0].getsockname()[1]
        if serial:
            adapter.append(Adapter(sys.argv[1], port))
            adapter[0].plug()
        say("ready", port)
        loop = asyncio.get_running_loop()
        threading.Thread(target=listen, args=(server, loop), daemon=True).start()
        await serving

    asyncio.run(serve())


main()
