# Everything is built and tested from here. `make help` lists the targets.
SHELL := /bin/bash
TOOLS := $(or $(LAKELOAD_TOOLS),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/lakeload)
RELEASE ?= $(shell git describe --tags --exact-match 2>/dev/null)
PACKAGES ?= ./...
# Spark, PostgreSQL and a test binary fill two cores: more packages at a time only make time-outs likelier.
PARALLEL ?= 2
TIMEOUT ?= 25m
# The servers of test-matrix, and the packages whose tests of edge cases depend on the server.
VERSIONS ?= 14 15 16 17 18
EDGES = ./cdc/postgres ./integration/changes ./integration/values ./integration/slots
COUNT = go run ./internal/testcount -counts bin/test-counts -- -count=1 -p $(PARALLEL) -timeout $(TIMEOUT)

.PHONY: help build test test-matrix formats test-short race vet lint fmt install crash-table kills soak bench bench-index demo clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | sort | column -t -s $$'\t'

build: ## bin/lakeload
	CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X main.release=$(RELEASE)" -o bin/lakeload ./cmd/lakeload

install: ## the real parts that the tests run against, into $(TOOLS)
	@integration/testbed/install.sh

test: install ## vet, lint, and all tests against the real parts: a missing one is a failure
	@mkdir -p bin; rm -f bin/test-counts; status=0; \
	$(MAKE) --no-print-directory vet || status=1; \
	$(MAKE) --no-print-directory lint || status=1; \
	LAKELOAD_REAL=1 $(COUNT) $(PACKAGES) || status=1; \
	echo "the edge cases on the other server"; \
	LAKELOAD_REAL=1 LAKELOAD_TEST_PG=18 $(COUNT) -run '^TestEdge' ./cdc/postgres || status=1; \
	LAKELOAD_REAL=1 LAKELOAD_TEST_PG=15 $(COUNT) -run '^TestEdge' ./integration/changes ./integration/values || status=1; \
	exit $$status

test-matrix: install ## the edge cases on PostgreSQL 14 to 18; VERSIONS="16 17" chooses
	@mkdir -p bin; rm -f bin/test-counts; status=0; \
	for v in $(VERSIONS); do \
		echo "PostgreSQL $$v"; \
		LAKELOAD_REAL=1 LAKELOAD_TEST_PG=$$v $(COUNT) -run '^TestEdge' $(EDGES) || status=1; \
	done; \
	echo "all versions: $$(cat bin/test-counts)"; exit $$status

formats: install ## every table format feature by turns with Spark, about a quarter of an hour
	LAKELOAD_REAL=1 LAKELOAD_FORMATS=all go test ./integration/formats ./integration/foreign -count=1 -v -timeout 2h

test-short: ## the quick tests: what is not on the machine is left out, and named at the end
	@go run ./internal/testcount -- -short -timeout $(TIMEOUT) $(PACKAGES)

race: ## the quick tests under the race detector
	go test -race -short -timeout $(TIMEOUT) $(PACKAGES)

vet:
	@echo "go vet"
	@go vet $(PACKAGES)

lint: ## golangci-lint with .golangci.yml
	@[ -x "$(TOOLS)/bin/golangci-lint" ] || integration/testbed/install.sh lint
	@echo "golangci-lint"
	@"$(TOOLS)/bin/golangci-lint" run $(PACKAGES)

fmt: ## puts the code into the form that lint wants
	@"$(TOOLS)/bin/golangci-lint" fmt

crash-table: install ## kills the program ten times at every crash point in every mode, and writes the table of docs/EXACTLY_ONCE.md: an hour
	LAKELOAD_REAL=1 LAKELOAD_CRASHES=10 LAKELOAD_CRASH_TABLE=1 go test ./integration/crashes -count=1 -v -parallel 7 -timeout 4h -run 'TestEveryCrashPoint'

# KILLS is how many; SEED those of an earlier run.
kills: install ## kills the program a thousand times in a row at random moments: half an hour
	LAKELOAD_REAL=1 LAKELOAD_KILLS=$(or $(KILLS),1000) LAKELOAD_SEED=$(SEED) go test ./integration/crashes -count=1 -v -timeout 4h -run 'TestKillsInARow'

# DURATION as 30m or 3h; SEED that of an earlier run.
soak: install ## random statements, faults of network, servers, store and program, for DURATION=1h, by a SEED
	LAKELOAD_REAL=1 LAKELOAD_SOAK=$(or $(DURATION),1h) LAKELOAD_SEED=$(SEED) go test ./integration/soak -count=1 -v -timeout 0 -run 'TestSoak'

bench: install ## the ratios against limits and peers, under half an hour
	go run ./bench

bench-index: ## the key index beside pebble, minutes; KEYS=100000000 BATCHES=2000 MEMORY=128 choose
	cd bench/pebble && go run . -keys $(or $(KEYS),20000000) -batches $(or $(BATCHES),1000) -memory $(or $(MEMORY),128)

demo: build ## the whole thing on one machine
	bin/lakeload demo

clean: ## removes what make has built; the tools stay in $(TOOLS)
	rm -rf bin lakeload
	find . -name '*.test' -o -name '*.prof' | grep -v '^./.git/' | xargs -r rm -f
