# Installs into .venv and runs; every job itself stands in tox.ini.
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)
VENV := .venv
# pyenv's shims hide the other interpreters from tox; their own folders do not.
PYENVS := $(shell ls -d $${PYENV_ROOT:-$$HOME/.pyenv}/versions/3.1[123]*/bin 2>/dev/null | tr '\n' ':')

.PHONY: bench test clean
bench: $(VENV)/ready
	$(VENV)/bin/c10k run

test: $(VENV)/ready
	PATH="$(PYENVS)$$PATH" $(VENV)/bin/tox run

$(VENV)/ready: pyproject.toml
	@test -n "$(PYTHON)" || { echo 'make: no Python 3.11 or newer; name one: make PYTHON=/path/to/python3.11' >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check --editable '.[all]' 'tox>=4.60'
	touch $@

clean:
	rm -rf $(VENV) .tox
