# Every target works from a fresh clone: the environment is made when it is first needed.
#   make demo    two simulated calls      make test    every check
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

# The first Python on the path that is new enough; `make PYTHON=/path/to/python3 …` chooses another.
PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)

PACKAGES := gateway media telephony control tests
# What is run against the compiled hot path besides: its own tests, and whole calls.
COMPILED_TESTS := tests/media tests/calls $(addprefix tests/telephony/,test_media_layout.py test_stream.py) \
	$(addprefix tests/control/,test_agent_leg.py test_bridge.py test_bridge_orders.py test_carrier_leg.py test_outputs.py) \
	$(addprefix tests/gateway/,test_barge_in.py test_call_runner.py test_calls.py test_links.py test_ticker.py test_upgrade.py \
		test_write_batch.py)
PYTEST_ARGS ?= -n auto --dist loadgroup

# The tool that writes the locks is not part of the locked environment: it is used here and nowhere else.
UV_VERSION := 0.13.9
UV := build/uv/bin/uv
# --no-strip-extras: pip takes a bare `name==` for no pin of a dependency's `name[extra]` and refuses the lock as soon
# as the index has a newer release.
LOCK = $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	--no-strip-extras $(LOCK_ARGS)

# What every 20 ms of a call run through, compiled together by mypyc: classes call each other without the interpreter
# only within one group (docs/adr/0012). Left out: structs of msgspec, subclasses of picows's classes and
# dataclasses that pydantic reads, which a compiled class cannot be; and whatever awaits (the ADR says why).
COMPILED := build/compiled
HOT := $(addprefix media/,jitter.py latency.py level.py playout.py recorder.py transcode.py turns.py voiced.py) \
	$(addprefix media/realtime/,delta.py items.py responses.py session.py) \
	$(addprefix telephony/,media_layout.py stream.py) \
	$(addprefix control/,agent_leg.py bridge.py carrier_leg.py conversation.py outputs.py) \
	$(addprefix gateway/,bridge_driver.py inlet.py outlet.py ticker.py write_batch.py)
MYPYC ?= $(BIN)/mypyc

# The readers of the API's document, which the gateway serves itself.
ASSETS := control/api/assets
SWAGGER_UI := 5.35.0
REDOC := 2.5.1

.DEFAULT_GOAL := help
.PHONY: help install demo run test test-compiled coverage check format compiled bench lock assets clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):[^#]*## /  make \1	/p' $(MAKEFILE_LIST) | expand -t 18

install: $(STAMP) ## make .venv: the locked packages, then this project, in place

# --no-build-isolation: the build backend is locked too, not fetched anew. compileall: a package whose source Python
# warns about (pydub's is one) would otherwise fail at its first import in the tests, where warnings are errors. It
# works on every core, pip's own compiling on one; what does not compile (templates of code) is nothing we import.
$(STAMP): requirements/dev.txt pyproject.toml
	@test -n "$(PYTHON)" || { echo "Offhook needs Python 3.11 or later; none was found on the path." >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { \
		echo "This Python cannot make an environment; on Debian: apt-get install python3-venv" >&2; \
		rm -rf $(VENV); exit 1; }
	@echo "Installing the locked packages into $(VENV) (a minute or two, once)"
	@$(BIN)/python -m pip --disable-pip-version-check install --quiet --no-compile --require-hashes -r requirements/dev.txt
	@$(BIN)/python -W ignore -m compileall -qq -j 0 $(VENV)/lib || true
	@$(BIN)/python -m pip --disable-pip-version-check install --quiet --no-build-isolation --no-deps --editable .
	@touch $@

demo: $(STAMP) ## two simulated calls: barge-in, digits, recording; a dialled one with gather and transfer
	@$(BIN)/offhook demo

run: $(STAMP) ## serve on loopback with a scripted agent: any media client of this machine may call
	@OFFHOOK_MEDIA_AUTH=$${OFFHOOK_MEDIA_AUTH:-none} $(BIN)/offhook serve --demo-agent

# The tests run even where a check has failed, so that one run tells everything; any of the three fails the target.
test: $(STAMP) ## every check, then every test, those of the hot path compiled too
	@status=0; \
	$(MAKE) --no-print-directory check || { status=1; echo "make check failed (above); the tests run all the same"; }; \
	$(MAKE) --no-print-directory test-compiled || { status=1; echo "make test-compiled failed (above); the tests run all the same"; }; \
	$(BIN)/python -m pytest $(PYTEST_ARGS) || status=1; \
	exit $$status

# -P, or the packages of this directory would come before the compiled ones; `--compiled` fails where they do.
test-compiled: $(STAMP) ## the tests of the hot path and of whole calls, against its compiled self
	@if ! command -v cc >/dev/null; then echo "no C compiler: the compiled hot path is not tested"; exit 0; fi; \
	$(MAKE) --no-print-directory --silent compiled && PYTHONPATH=$(abspath $(COMPILED)) $(BIN)/python -P -m pytest --compiled \
		--import-mode=append -q -n auto --dist loadgroup --no-cov $(COMPILED_TESTS)

# Apart from `make test`: before Python 3.14 the tracer makes the tests take two thirds longer.
coverage: $(STAMP) ## every test, with the report of lines and branches that none reaches
	@$(BIN)/python -m pytest $(PYTEST_ARGS) --cov --cov-report=term-missing:skip-covered

check: $(STAMP) ## format, lint, types and import contracts, without running anything
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: $(STAMP) ## rewrite the sources in the house format
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

# A copy of the packages, its hot modules beside their compiled selves: PYTHONPATH=build/compiled python -P -m gateway serve
compiled: $(COMPILED)/.made ## compile the hot path of a copy in build/compiled (a minute; needs a C compiler)

$(COMPILED)/.made: Makefile $(STAMP) $(wildcard $(addsuffix /*.py,gateway media media/* telephony telephony/* control control/*))
	@rm -rf $(COMPILED) && mkdir -p $(COMPILED)
	@cp -r gateway media telephony control $(COMPILED)/
	@cd $(COMPILED) && $(abspath $(MYPYC)) --config-file ../../pyproject.toml $(MYPYC_ARGS) $(HOT) >mypyc.log 2>&1 \
		|| { cat mypyc.log; exit 1; }
	@rm -rf $(COMPILED)/build $(COMPILED)/.mypy_cache && touch $@

bench: $(STAMP) ## the benchmarks, on this machine
	@$(BIN)/python -m benchmarks

# Keeps every pinned version that still fits pyproject.toml; `make lock LOCK_ARGS=--upgrade` takes the newest.
lock: $(UV) ## write requirements/*.txt anew from pyproject.toml
	$(LOCK) --group dev --extra parquet pyproject.toml requirements/build.in -o requirements/dev.txt
	$(LOCK) -c requirements/dev.txt pyproject.toml -o requirements/run.txt
	$(LOCK) -c requirements/dev.txt --extra local pyproject.toml -o requirements/local.txt
	$(LOCK) -c requirements/dev.txt requirements/build.in -o requirements/build.txt
	$(LOCK) -c requirements/dev.txt requirements/compile.in -o requirements/compile.txt

$(UV):
	@$(PYTHON) -m venv build/uv
	@build/uv/bin/python -m pip --disable-pip-version-check install --quiet uv==$(UV_VERSION)

# npm is needed for this alone: what it fetches is committed, but for one thing: ReDoc would ask its maker's server for a
# logo, and whoever reads our documentation is nobody else's business.
assets: ## fetch Swagger UI and ReDoc anew, at the versions above
	@rm -rf build/assets && mkdir -p build/assets/swagger-ui build/assets/redoc
	@cd build/assets && npm pack --silent swagger-ui-dist@$(SWAGGER_UI) redoc@$(REDOC)
	@tar -xzf build/assets/swagger-ui-dist-$(SWAGGER_UI).tgz -C build/assets/swagger-ui --strip-components=1
	@tar -xzf build/assets/redoc-$(REDOC).tgz -C build/assets/redoc --strip-components=1
	@cd build/assets/swagger-ui && cp swagger-ui-bundle.js swagger-ui-bundle.js.LICENSE.txt swagger-ui.css $(CURDIR)/$(ASSETS)/
	@cd build/assets/redoc/bundles && cp redoc.standalone.js redoc.standalone.js.LICENSE.txt $(CURDIR)/$(ASSETS)/
	@cp build/assets/swagger-ui/LICENSE $(ASSETS)/LICENSE.swagger-ui && cp build/assets/swagger-ui/NOTICE $(ASSETS)/NOTICE.swagger-ui
	@cp build/assets/redoc/LICENSE $(ASSETS)/LICENSE.redoc
	@sed -i 's|https://cdn.redoc.ly/redoc/logo-mini.svg|data:,|' $(ASSETS)/redoc.standalone.js
	@cd $(ASSETS) && sha256sum swagger-ui-bundle.js swagger-ui.css redoc.standalone.js > SHA256SUMS
	@git diff --stat -- $(ASSETS)

clean: ## remove the environment and everything generated
	rm -rf $(VENV) build dist htmlcov .coverage .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
