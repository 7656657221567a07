# /// script
# requires-python = ">=3.14"
# dependencies = []
# [tool.c10k]
# title = "asyncio, an interpreter per core"
# model = "coroutines in several interpreters"
# unit = "task"
# tier = "variant"
# ///
"""Streams of asyncio in one interpreter per core, each in a thread; all accept from one listener.

The unit of concurrency is a task, and it stays in the interpreter that accepted its client. It
switches at await: in read when nothing has arrived, in drain when this client is slow to take
its echo. Each interpreter has a global lock, modules and an event loop of its own, so they run
in parallel. After https://docs.python.org/3/library/concurrent.interpreters.html.
"""

import os
from concurrent import interpreters


def serve():
    # Nothing from outside of this function is there in the other interpreter.
    import asyncio
    import socket

    async def echo(reader, writer):
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        except OSError:
            pass  # this client left
        finally:
            writer.close()

    async def main():
        listener = socket.socket(fileno=0)
        server = await asyncio.start_server(echo, sock=listener, backlog=4096)
        await server.serve_forever()

    asyncio.run(main())


threads = [interpreters.create().call_in_thread(serve) for _ in os.sched_getaffinity(0)]
for thread in threads:
    thread.join()
