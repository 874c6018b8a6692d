"""A Modbus TCP device for tests, by pymodbus: 200 of each table, as unit 1.

    server.py PORT

Says `ready PORT`, then each write as `write TABLE AT WORD...`. Listens to lines on its standard input: `set TABLE AT WORD`,
`get TABLE AT` (answered as `got WORD`) and `slow SECONDS` before every answer.
"""

import asyncio
import sys
import threading
import time

from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

READS = {"coil": 1, "discrete": 2, "holding": 3, "input": 4}
WRITES = {5: "coil", 6: "holding", 15: "coil", 16: "holding"}


def say(*words):
    print(*words, flush=True)


def main():
    slow = [0.0]
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
                case ["slow", seconds]:
                    slow[0] = float(seconds)
                    say("done")

    async def serve():
        address = ("127.0.0.1", int(sys.argv[1]))
        server = ModbusTcpServer(device, address=address, trace_pdu=seen)
        serving = asyncio.create_task(server.serve_forever())
        while server.transport is None:
            await asyncio.sleep(0.01)
        say("ready", server.transport.sockets[0].getsockname()[1])
        loop = asyncio.get_running_loop()
        threading.Thread(target=listen, args=(server, loop), daemon=True).start()
        await serving

    asyncio.run(serve())


main()
