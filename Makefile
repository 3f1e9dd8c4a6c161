# Few verbs. `make` alone lists them.

HOST ?= 127.0.0.1
PORT ?= 9292
DATA_DIR ?= ./data
WORKERS ?= 1
BENCH ?=

.PHONY: help run check test stores bench bench-stores docs clean

help:
	@echo 'make run    start the service: HOST=$(HOST) PORT=$(PORT) DATA_DIR=$(DATA_DIR) WORKERS=$(WORKERS)'
	@echo 'make check  lint, types, import contracts, and the quick tests that need nothing but SQLite'
	@echo 'make test   everything, with real MariaDB, PostgreSQL, Keystone, memcached and Glance'
	@echo 'make stores run the suite of the stores alone on real back ends, and print a table of store and check'
	@echo 'make bench  measure side by side with Glance and write docs/performance.md; BENCH="--quick" for less'
	@echo 'make bench-stores  measure file, s3, swift and rbd side by side with the driver of glance_store'
	@echo 'make docs   write the pages that are made from the code'
	@echo 'make clean  stop the test bed and remove all that the other verbs made; the data stays'

run:
	@scripts/install run
	@exec .venv/bin/fanlight serve --host '$(HOST)' --port '$(PORT)' --data-dir '$(DATA_DIR)' --workers '$(WORKERS)'

check:
	@scripts/check

test:
	@scripts/test

stores:
	@FANLIGHT_LARGE=1 scripts/stores

bench:
	@scripts/bench $(BENCH)

bench-stores:
	@scripts/bench-stores $(BENCH)

docs:
	@scripts/install dev
	@.venv/bin/fanlight config document >docs/configuration.md
	@for page in routes errors; do .venv/bin/fanlight document $$page >docs/$$page.md; done
	@.venv/bin/fanlight document commands >docs/cli.md

clean:
	@scripts/bed down
	rm -rf .venv .state .mypy_cache .ruff_cache .hypothesis .import_linter_cache build dist *.egg-info
	find . -name __pycache__ -prune -exec rm -rf {} +
