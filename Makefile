# Holdstill. `make help` lists what there is.
SHELL := /bin/bash
export CGO_ENABLED := 0
GO ?= go
BIN := bin/holdstill
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null)
LDFLAGS := -s -w -X github.com/holdstill/holdstill/internal/cli.Version=$(VERSION)
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
# The servers that the tests want beside the system's own: all, or those that HOLDSTILL_MATRIX names (with commas).
comma := ,
MATRIX ?= $(filter-out mariadb-10.11,$(if $(HOLDSTILL_MATRIX),$(subst $(comma), ,$(HOLDSTILL_MATRIX)),mariadb-11.8 mysql-9.7 mysql-5.7))

.PHONY: help build demo test unit faults lint bench bench-repository bench-pitr bench-tables servers stores install clean test-vm

help: ## what there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | column -t -s "$$(printf '\t')"

build: ## one static binary, bin/holdstill
	$(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $(BIN) ./cmd/holdstill

demo: ## the whole scenario on three local servers, for real (root; Debian 12); KEEP=1 leaves it running
	@scripts/prereqs.sh demo
	@$(MAKE) --no-print-directory build
	@$(BIN) demo $(if $(KEEP),--keep)

servers: ## fetch the servers of the test matrix beside the system
	@for s in $(MATRIX); do scripts/fetch-server.sh $$s || exit 1; done

stores: ## fetch the object stores of the tests beside the system
	@scripts/fetch-stores.sh

test: ## everything, on real servers and file systems (root; Debian 12)
	@scripts/prereqs.sh test
	@$(MAKE) --no-print-directory servers
	@scripts/fetch-agent.sh
	@$(MAKE) --no-print-directory stores
	$(GO) vet ./... && $(GO) vet -tags fault ./...
	$(GO) test -p 1 -timeout 60m $(TESTFLAGS) ./...

unit: ## the tests that need neither root nor a server
	$(GO) test ./internal/undo ./internal/catalog ./internal/config ./internal/plan ./internal/database/optionfile ./internal/retain ./test/house
	$(GO) test -run "Fuzz|Maps|Joined|Encoded" ./internal/extent

lint: ## gofmt, vet, staticcheck, shell syntax, the rules of the house
	@test -z "$$(gofmt -l cmd internal test)" || { gofmt -l cmd internal test; echo "gofmt would change these"; exit 1; }
	$(GO) vet ./...
	$(GO) vet -tags "fault vm" ./...
	$(GO) run $(STATICCHECK) ./...
	@for f in scripts/*.sh internal/lab/*.sh .ci/run; do bash -n $$f || exit 1; done
	$(GO) test ./test/house

faults: ## the fault campaign (root); N=1500 faults drawn from SEED=7, or ONLY=one of them
	@scripts/prereqs.sh test
	@$(MAKE) --no-print-directory servers MATRIX=mysql-9.7
	$(GO) run ./test/faults $(if $(N),-n $(N)) $(if $(SEED),-seed $(SEED)) $(if $(ONLY),-only '$(ONLY)') $(FAULTFLAGS)

bench: ## the benchmarks, side by side with what one would use instead (root)
	@scripts/prereqs.sh test
	@$(MAKE) --no-print-directory build
	$(GO) run ./test/bench $(BENCHFLAGS)

bench-repository: ## ships 3 GB to a repository, beside restic, kopia and tar (root); BENCHFLAGS="-ship-mb 300" for a short one
	@scripts/prereqs.sh test
	@scripts/fetch-peers.sh
	@$(MAKE) --no-print-directory build
	$(GO) run ./test/bench -only repository $(BENCHFLAGS)

bench-pitr: ## replays binary logs, beside mysqlbinlog | mysql; and the lag of the archive (root)
	@scripts/prereqs.sh test
	@$(MAKE) --no-print-directory servers MATRIX=mysql-9.7
	@$(MAKE) --no-print-directory build
	$(GO) run ./test/bench -only pitr $(BENCHFLAGS)
	$(GO) test -run - -bench Archive -benchtime 1x ./internal/archive

bench-tables: ## restores one table of 1 GB from its files, beside loading its dump; dumps a point beside mydumper; the first row that a point gives (root); BENCHFLAGS="-table-mb 200 -dump-mb 200" for a short one
	@scripts/prereqs.sh test
	@scripts/fetch-peers.sh
	@$(MAKE) --no-print-directory servers MATRIX=mysql-9.7
	@$(MAKE) --no-print-directory build
	$(GO) run ./test/bench -only tables,dump,query $(BENCHFLAGS)

test-vm: ## a virtual machine that loses its power in mid-backup, or that its host freezes (root; Debian 12; no KVM needed)
	@scripts/prereqs.sh vm
	@scripts/vm-image.sh
	$(GO) test -tags vm -count=1 -timeout 60m -v $(TESTFLAGS) ./test/vm

install: build ## into /usr/local, with manual, completion and the systemd units; DESTDIR=DIR: below DIR
	install -D -m 0755 $(BIN) $(DESTDIR)/usr/local/sbin/holdstill
	$(BIN) man $(DESTDIR)/usr/local/share/man/man1
	install -d $(DESTDIR)/usr/share/bash-completion/completions
	$(BIN) completion bash > $(DESTDIR)/usr/share/bash-completion/completions/holdstill
	install -d $(DESTDIR)/usr/local/lib/systemd/system
	install -m 0644 packaging/systemd/*.service $(DESTDIR)/usr/local/lib/systemd/system
	@if [ -z "$(DESTDIR)" ] && [ -d /run/systemd/system ]; then systemctl daemon-reload; fi
	@echo "installed. To take back, at every boot, what a run left that the machine did not survive (docs/operations.md):"
	@echo "    systemctl enable holdstill-recover.service"
	@echo "to follow the binary logs of an instance (docs/binlog.md):"
	@echo "    systemctl enable --now holdstill-binlog@INSTANCE.service"

clean: ## remove what was built
	rm -rf bin
