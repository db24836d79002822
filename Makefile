# Everything a contributor runs. Tools are pinned here and built by the go
# command; nothing has to be installed besides Go.

STATICCHECK := go run honnef.co/go/tools/cmd/staticcheck@v0.8.2
GOVULNCHECK := go run golang.org/x/vuln/cmd/govulncheck@v1.9.0

# What `make fuzz` runs for each target.
FUZZTIME ?= 20s

.DEFAULT_GOAL := help

.PHONY: help
help: ## print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: dev
dev: ## three providers and a story on this machine
	go run ./cmd/hubbub dev

.PHONY: build
build: ## build bin/hubbub
	CGO_ENABLED=0 go build -trimpath -o bin/hubbub ./cmd/hubbub

.PHONY: test
test: ## all tests
	go test ./...

.PHONY: race
race: ## all tests with the race detector (needs a C compiler)
	go test -race ./...

# How many seeds `make sim` plays.
SEEDS ?= 500

.PHONY: sim
sim: ## providers in one process under seeded faults: SEEDS=500 runs
	go test -count=1 ./internal/simnet -run TestSeeds -seeds $(SEEDS)

.PHONY: sim-bugs
sim-bugs: ## plant each bug of a list: the simulator has to find it
	go test -count=1 -tags plantedbugs ./internal/simnet -run Planted -v -timeout 30m

.PHONY: check
check: fmt-check vet lint staticcheck generated vuln ## everything that needs no running code

.PHONY: fmt-check
fmt-check: ## gofmt
	@bad=$$(gofmt -l $$(git ls-files -co --exclude-standard '*.go')); \
	if [ -n "$$bad" ]; then echo "not formatted, run: gofmt -w" $$bad; exit 1; fi

.PHONY: vet
vet: ## go vet
	go vet ./...

.PHONY: lint
lint: ## the rules of this repository (internal/lint)
	go test -count=1 ./internal/lint

.PHONY: staticcheck
staticcheck: ## staticcheck
	$(STATICCHECK) ./...

.PHONY: generate
generate: ## rewrite generated files
	go generate ./...

.PHONY: generated
generated: ## generated files are what their sources say
	@./.ci/generated

.PHONY: vuln
vuln: ## known vulnerabilities in what we call (skipped if the database cannot be reached)
	@out=$$($(GOVULNCHECK) ./... 2>&1); rc=$$?; \
	if [ $$rc -eq 0 ]; then echo "govulncheck: nothing found"; \
	elif echo "$$out" | grep -q '^Vulnerability #'; then echo "$$out"; exit 1; \
	else echo "govulncheck: SKIPPED, it could not run:"; echo "$$out" | tail -n 3; fi

.PHONY: kill
kill: ## kill real providers at every place where they may die, and read all logs
	HUBBUB_KILL=1 go test -count=1 -v -timeout 10m ./internal/killtest

.PHONY: crash
crash: ## cut the power at every call under the database, and fail every write and sync
	cd internal/store/drivers && HUBBUB_CRASH=1 go test -count=1 -v -timeout 20m ./crash

.PHONY: interop
interop: ## MLS groups of this library and ts-mls, and the gRPC mock client (needs node and npm)
	cd interop/tsmls && npm ci --silent
	HUBBUB_INTEROP=1 go test -count=1 ./interop
	cd interop/mlsgrpc && go vet ./... && go test ./...
	cd interop/xmpp && go vet ./... && go test ./...

.PHONY: bench
bench: ## posts from provider to provider: latency and throughput
	go run ./cmd/hubbub bench post

# Flags for `make bench-xmpp`, for example ARGS='-messages 5000 -json xmpp.json'.
ARGS ?=

.PHONY: bench-xmpp
bench-xmpp: ## the same works with Prosody and ejabberd (Debian packages, interop/xmpp)
	cd interop/xmpp && go run . $(ARGS)

.PHONY: bench-go
bench-go: ## Go benchmarks of every package
	go test -run '^$$' -bench . -benchmem ./...

.PHONY: bench-drivers
bench-drivers: ## SQLite drivers on our own write path (docs/benchmarks.md)
	cd internal/store/drivers && go test -p 1 -run '^$$' -bench . -count 3 ./...

.PHONY: fuzz
fuzz: ## each fuzz target for FUZZTIME (20s)
	@set -e; for dir in $$(git ls-files '*_test.go' | xargs grep -l '^func Fuzz' | xargs -n1 dirname | sort -u); do \
		for target in $$(grep -ho '^func Fuzz[A-Za-z0-9_]*' $$dir/*_test.go | cut -d' ' -f2 | sort -u); do \
			echo "$$dir $$target"; go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) ./$$dir; \
		done; \
	done
