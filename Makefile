# The tasks of this repository. `make demo` and `make test` need nothing but Go
# and, for the latter, the parts that .ci/parts.sh prepares in .cache/.

GOLANGCI_LINT := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
PLATFORMS     := linux/amd64 linux/arm64 darwin/amd64 darwin/arm64 windows/amd64 windows/arm64
FUZZTIME      ?= 10s

.PHONY: demo test build cross bench load fuzz lint release-check snapshot clean

## demo: see jit at work, with no account and no configuration
demo:
	@go run ./cmd/jit demo

## test: everything that must hold; ends with "N passed, N failed"
test:
	@.ci/test

## build: the binary, as it is released
build:
	CGO_ENABLED=0 go build -trimpath -o jit ./cmd/jit

## cross: the binary builds without cgo for every platform it is released for
cross:
	@set -e; for p in $(PLATFORMS); do echo "$$p"; \
		CGO_ENABLED=0 GOOS=$${p%/*} GOARCH=$${p#*/} go build -trimpath -o /dev/null ./cmd/jit; done

## bench: the figures with goals, each against its baseline; writes docs/performance.md
bench:
	@.ci/bench

## load: what one approval server bears: 1,000 open sessions, 200 decisions a second
load:
	@go test -tags load ./session/approval -run '^TestLoad$$' -count=1 -v -timeout 15m

## fuzz: every fuzz target for FUZZTIME
fuzz:
	@.ci/fuzz $(FUZZTIME)

## lint: golangci-lint with .golangci.yml
lint:
	@go run $(GOLANGCI_LINT) run ./...

## release-check: .goreleaser.yaml is valid (building the checker takes minutes)
release-check:
	@.ci/release check

## snapshot: everything a release makes but the container, into dist/
snapshot:
	@.ci/release snapshot

## clean: what the tasks above made
clean:
	rm -rf .cache dist jit
