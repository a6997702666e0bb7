# backend-exporters: `make` lists what there is to do.

GO         ?= go
VERSION    := $(shell cat VERSION)
REVISION   := $(shell tools/stamp.sh revision)
LDFLAGS    := $(shell VERSION='$(VERSION)' REVISION='$(REVISION)' tools/stamp.sh)

MODULES   := common $(patsubst %/go.mod,%,$(wildcard exporters/*/go.mod)) dashboards e2e
EXPORTERS := $(patsubst exporters/%/main.go,%,$(wildcard exporters/*/main.go))
BINARIES  := $(EXPORTERS:%=bin/%-exporter)

GOLANGCI_LINT_VERSION := v2.15.0
GOVULNCHECK_VERSION   := v1.9.0
TOOLS                 := $(CURDIR)/.cache/tools
export PATH           := $(TOOLS):$(CURDIR)/.cache/debian/usr/bin:$(PATH)

.DEFAULT_GOAL := help
.PHONY: chart dashboards pictures help build containers deb demo demo-check release test unit standalone lint vulncheck docs check-docs rules bench bench-postgres bench-redis bench-smtp bench-targets scale schemas soak clean servers FORCE

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: $(BINARIES) ## Build the exporters into bin/

bin/%-exporter: FORCE
	cd exporters/$* && CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $(CURDIR)/$@ .

# ONLY: a pattern of what is built, such as '*.linux-amd64' or '*.deb'; DIRTY: build although not all is committed.
release: ## Build archives for all platforms, Debian packages, bills of materials and checksums into dist/
	tools/ensure.sh nfpm
	cd e2e && $(GO) run ./cmd/release -root $(CURDIR) $(if $(ONLY),-only '$(ONLY)') $(if $(DIRTY),-dirty)

deb: ONLY := *.deb
deb: DIRTY := yes
deb: release ## The part of release that makes the Debian packages, for amd64 and arm64, of what is here

containers: build ## Build an image of each exporter, with docker or buildah, from what is in bin/
	SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct) tools/containers.sh $(VERSION) $(REVISION) $(EXPORTERS)

DEMO := postgres-demo redis chroma mailhog prometheus

demo: build ## Start a server of each kind, the exporters and Prometheus, and print where to look; Ctrl-C ends all
	tools/ensure.sh $(DEMO)
	cd e2e && $(GO) run ./cmd/demo --bin $(CURDIR)/bin --rules '$(CURDIR)/alerts/*.yml'

demo-check: build ## The demo without a person: stop and start each server, and see it in Prometheus
	tools/ensure.sh $(DEMO)
	cd e2e && $(GO) run ./cmd/demo --check --bin $(CURDIR)/bin --rules '$(CURDIR)/alerts/*.yml'

pictures: build ## Draw the dashboards, with what the demo does, into docs/pictures
	tools/ensure.sh $(DEMO) picture
	cd e2e && $(GO) run ./cmd/demo --bin $(CURDIR)/bin --rules '$(CURDIR)/alerts/*.yml' --pictures $(CURDIR)/docs/pictures \
		--dashboards '$(CURDIR)/dashboards/*.json' --drawer $(CURDIR)/.cache/picture/render.mjs

test: servers build lint standalone check-docs rules unit vulncheck ## Install what is missing and run all tests

servers: ## Install the servers that the tests run against
	tools/ensure.sh

unit: servers build ## Run the tests of all modules with the race detector
	GO=$(GO) tools/tests.sh $(MODULES)

standalone: ## Build each module on its own, without the workspace
	@for m in $(MODULES); do echo "GOWORK=off go build ./$$m/..."; (cd $$m && GOWORK=off $(GO) build ./... && GOWORK=off $(GO) vet ./...) || exit 1; done

lint: $(TOOLS)/golangci-lint ## gofmt, vet, staticcheck and the other linters
	@for m in $(MODULES); do echo "golangci-lint ./$$m/..."; (cd $$m && golangci-lint run --allow-parallel-runners ./...) || exit 1; done

vulncheck: $(TOOLS)/govulncheck ## Look for known vulnerabilities in what is linked in
	tools/vulncheck.sh $(MODULES)

docs: build ## Derive docs/metrics-*.md and docs/reference-*.md from the code
	@for e in $(EXPORTERS); do for page in metrics reference; do \
		bin/$$e-exporter docs $$page > docs/$$page-$$e.md || exit 1; done; done

check-docs: docs ## Fail when the derived documentation is not what is committed
	@changed=$$(git status --porcelain -- docs/metrics-*.md docs/reference-*.md) && [ -z "$$changed" ] || \
		{ git --no-pager diff -- docs/metrics-*.md docs/reference-*.md; echo "run make docs and commit: $$changed" >&2; exit 1; }

dashboards: ## Write dashboards/*.json from their Go code
	cd dashboards && $(GO) run .

chart: ## Write what the Helm chart and the Kubernetes manifests take from other files
	tools/ensure.sh kubernetes
	cd e2e && $(GO) run ./kubernetes/cmd/derive --root $(CURDIR)

schemas: ## Write the schemas of Kubernetes that the manifests are checked against
	cd e2e && $(GO) run ./kubernetes/cmd/schemas kubernetes/testdata/schemas

rules: servers ## Check the alert rules, run their unit tests, and check the example for Alertmanager
	promtool check rules alerts/*.yml
	promtool test rules alerts/tests/*.yml
	amtool check-config deploy/alertmanager/alertmanager.yml

bench: bench-postgres bench-redis bench-smtp ## Measure what a scrape costs, beside other projects' exporters

bench-postgres: build ## The part of bench beside postgres_exporter and client_golang's registry
	tools/ensure.sh postgres-demo peer
	cd e2e && $(GO) run ./cmd/bench --exporter $(CURDIR)/bin/postgres-exporter
	cd common && $(GO) test -run '^$$' -bench . -benchmem ./collect/

bench-redis: build ## The part of bench beside redis_exporter
	tools/ensure.sh redis redis-peer
	cd e2e && $(GO) run ./cmd/bench-redis --exporter $(CURDIR)/bin/redis-exporter

bench-smtp: build ## The part of bench beside blackbox_exporter, and a page of a thousand mail servers
	tools/ensure.sh postfix smtp-peer
	cd e2e && $(GO) run ./cmd/bench-smtp --exporter $(CURDIR)/bin/smtp-exporter

bench-targets: build ## A thousand targets of each kind, a tenth of them dead, beside other projects' exporters: an hour and a half
	tools/ensure.sh postgres-demo peer redis redis-peer smtp-peer
	cd e2e && $(GO) run ./cmd/bench-targets --bin $(CURDIR)/bin

scale: build ## Scrape a server of 50,000 tables, 20,000 statements and 1,000 databases
	tools/ensure.sh postgres-demo
	cd e2e && SCALE=large $(GO) test -count=1 -timeout 30m -v -run 'TestScale$$' ./postgres

DURATION ?= 30m
SEED     ?= 0

soak: build ## Run all exporters while faults come and go, for DURATION (30m) and by SEED, and judge every page
	tools/ensure.sh postgres-demo redis chroma mailpit
	cd e2e && $(GO) run ./cmd/soak --bin $(CURDIR)/bin --duration $(DURATION) --seed $(SEED) --report $(CURDIR)/.cache/soak.md

clean: ## Remove what was built and downloaded
	rm -rf bin dist .cache

$(TOOLS)/golangci-lint:
	GOBIN=$(TOOLS) GOWORK=off $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_LINT_VERSION)

$(TOOLS)/govulncheck:
	GOBIN=$(TOOLS) GOWORK=off $(GO) install golang.org/x/vuln/cmd/govulncheck@$(GOVULNCHECK_VERSION)
