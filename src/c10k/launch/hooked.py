"""Runs a server with a hook: all of its file but the last statement, the hook, that statement.

The last statement of a server is the one that serves, so the hook finds what start-up made.
The server's interpreter runs this file: python -P hooked.py SERVER HOOK. It imports nothing of
the suite, and a hook shares no names with the server.
"""

import ast
import sys


def statements(path: str) -> list[ast.stmt]:
    """The statements of a Python file."""
    with open(path, "rb") as file:  # noqa: PTH123 - pathlib would be one module more in the server
        return ast.parse(file.read(), path).body


def run(body: list[ast.stmt], path: str, names: dict[str, object]) -> None:
    """Runs statements of a file with these global names."""
    exec(compile(ast.Module(body, []), path, "exec"), names)


def main(server: str, hook: str) -> None:
    """Runs the server until it ends."""
    names: dict[str, object] = {"__name__": "__main__", "__file__": server}
    *start_up, serve = statements(server)
    run(start_up, server, names)
    run(statements(hook), hook, {"__name__": "hook", "__file__": hook})
    run([serve], server, names)


if __name__ == "__main__":
    main(*sys.argv[1:])
