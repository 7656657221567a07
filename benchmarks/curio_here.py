"""curio, imported as servers/curio_sockets.py does it, so that it also works on newer Pythons."""

import ssl
from multiprocessing import connection

_names = {(connection, name): b"" for name in ("CHALLENGE", "WELCOME", "FAILURE")}
_names[ssl, "wrap_socket"] = ssl.SSLContext.wrap_socket
_lent = {place: value for place, value in _names.items() if not hasattr(*place)}
for _place, _value in _lent.items():
    setattr(*_place, _value)
from curio import *  # noqa: E402, F403

for _place in _lent:
    delattr(*_place)
