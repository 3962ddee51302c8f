# make run starts the app; make test proves it; make bench measures it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := test
.PHONY: run test lint bench clean

run: $(VENV)/run.done
	$(BIN)/streamlit run app.py

test: $(VENV)/test.done lint
	$(BIN)/pytest -n 2 --dist loadfile -rs

lint: $(VENV)/test.done
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

bench: $(VENV)/bench.done
	$(BIN)/python -m bench

# Each requirements file is installed again only when it changes, so that a second start is offline.
$(VENV)/run.done: requirements.txt
	@test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV) || { \
		echo "Python could not make an environment in $(VENV). It needs its modules venv and pip:"; \
		echo "on Debian and Ubuntu, install python3-venv. Then run make again."; exit 1; }
	$(BIN)/pip install --quiet --disable-pip-version-check torch==2.13.0
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.txt
	touch $@

$(VENV)/test.done: $(VENV)/run.done requirements-dev.txt
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	touch $@

$(VENV)/bench.done: $(VENV)/test.done requirements-bench.txt
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements-bench.txt
	touch $@

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache
