"""One file a framework, one function a primitive: see ../primitives.py."""
