# Harmony Fleet. `make help` lists the targets.
SHELL := /bin/bash
.DEFAULT_GOAL := help

# Podman's client library compiles with just these tags, everywhere the same.
PODMAN_TAGS := remote containers_image_openpgp exclude_graphdriver_btrfs
TAGS        := $(PODMAN_TAGS)
VERSION     ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS     := -s -w -X fleet.nationtech.io/eventlog/version.Version=$(VERSION)
MODULES     := agent callout crds deploy eventlog operator projections
KUBE        := v1.37.2
KUBE_LDFLAGS := -s -w \
	-X k8s.io/component-base/version.gitVersion=$(KUBE) \
	-X k8s.io/component-base/version.gitMajor=1 \
	-X k8s.io/component-base/version.gitMinor=37
# All that make compiles, the linter's packages and the generators too, is compiled
# in the same way, so that it shares one build cache. The race detector alone wants C.
export GOFLAGS := $(strip -trimpath $(filter-out -trimpath,$(GOFLAGS)))
export CGO_ENABLED := 0
# Tests and binaries are compiled alike, so that neither compiles the other's
# half of the world again. RACE=-race wants a C compiler, and minutes once. Tests
# are linked without what a debugger wants, in half the time; lint vets them.
RACE        ?=
# A program under the race detector sleeps for a second as it ends, where nobody says otherwise: tests run
# hundreds of them.
GO_TEST      = $(if $(RACE),GORACE=atexit_sleep_ms=10 )CGO_ENABLED=$(if $(RACE),1,0) go test -trimpath -vet=off -ldflags=-w $(RACE)
TESTFLAGS   ?=
BENCH       ?= .

# All that a program may be made of: what it embeds (charts, scripts, units) too.
GO_SOURCES := $(shell git ls-files $(MODULES) go.work go.work.sum 2>/dev/null | grep -v -e '^deploy/kubeapi/' -e '^deploy/coredns/' -e '^deploy/grafana/promtest/' -e '/testdata/' -e '_test\.go$$')
BINARIES   := fleet-operator fleet-agent fleet-callout fleetctl fleet-dev fleet-hello

##@ Use
.PHONY: demo
demo: build ## Run the main job from end to end on real parts, with passwords and with identities, and print the evidence
	@tools/demo.sh

.PHONY: up
up: build ## Start a fleet on this machine (FLAGS="--devices 3 --engine auto --auth oidc"); Ctrl-C ends it
	@bin/fleet-dev up $(FLAGS)

##@ Build
.PHONY: build
build: $(addprefix bin/,$(BINARIES)) bin/kubeapi bin/kubectl-fleet bin/kubectl_complete-fleet ## Put the binaries into bin/

# One build makes all: it keeps every core busy and links beside compiling. What the
# API server is made of is downloaded meanwhile.
COMMANDS := ./operator/cmd/fleet-operator ./agent/cmd/fleet-agent ./agent/cmd/fleet-hello \
	./callout/cmd/fleet-callout ./deploy/cmd/fleetctl ./deploy/cmd/fleet-dev
$(addprefix bin/,$(BINARIES)) &: $(GO_SOURCES)
	@echo "build $(BINARIES) (3 to 8 minutes on 2 cores the first time, seconds after)"
	@mkdir -p bin
	@[ -e bin/kubeapi ] || ( cd deploy/kubeapi && GOWORK=off go list -deps . >/dev/null 2>&1 ) & \
	tools/beat.sh "still compiling the fleet's binaries" \
	go build -trimpath -tags "$(TAGS)" -ldflags "$(LDFLAGS)" -o bin/ $(COMMANDS)
	@touch $(addprefix bin/,$(BINARIES))

# What agents, packages and images are made for.
PLATFORMS     ?= linux/amd64,linux/arm/v7,linux/arm64
COMMA         := ,
ARCHITECTURES  = $(foreach p,$(subst $(COMMA), ,$(PLATFORMS)),$(word 2,$(subst /, ,$(p))))

# What fleetctl enroll puts on devices, found beside it by these names.
.PHONY: agents
agents: $(addprefix bin/fleet-agent-linux-,$(ARCHITECTURES)) ## Put the agent for each platform into bin/, where fleetctl enroll finds it (PLATFORMS=linux/arm64)

bin/fleet-agent-linux-%: $(GO_SOURCES)
	@echo "build $@ (minutes the first time)"
	@mkdir -p bin
	@GOOS=linux GOARCH=$* GOARM=7 go build -trimpath -tags "$(TAGS)" -ldflags "$(LDFLAGS)" -o $@ ./agent/cmd/fleet-agent

# Each agent is linked again, so that its version is the packages' own.
MAINTAINER ?= Harmony Fleet maintainers <maintainers@fleet.invalid>
.PHONY: packages
packages: ## Put the agent's deb and rpm for each architecture into dist/packages/ (MAINTAINER="Jane Doe <jane@example.org>")
	@$(MAKE) --no-print-directory -B agents
	@go run -trimpath -tags "$(TAGS)" ./deploy/packages/write -version "$(VERSION)" -date "$$(git log -1 --format=%ct)" \
	-maintainer "$(MAINTAINER)" $(foreach a,$(ARCHITECTURES),$(a)=bin/fleet-agent-linux-$(a))

# Container images, from scratch and without a container engine.
IMAGES_REPOSITORY ?= localhost
PUSH              ?=
.PHONY: images
images: ## Put images of the programs, SBOMs and archives into dist/images/ (IMAGES_REPOSITORY=registry.example/fleet PLATFORMS=linux/amd64 PUSH=1)
	@echo "images for $(PLATFORMS) (some 5 minutes a platform on 2 cores the first time)"
	@tools/beat.sh "still making the images" go run -trimpath -tags "$(TAGS)" ./deploy/images/build --tags "$(TAGS)" --ldflags "$(LDFLAGS)" \
	--version "$(VERSION)" --repository "$(IMAGES_REPOSITORY)" --platforms "$(PLATFORMS)" $(if $(PUSH),--push) $(IMAGES_FLAGS)

# kubectl finds plugins, and what completes them, by their names: `kubectl fleet`
# is fleetctl.
bin/kubectl-fleet bin/kubectl_complete-fleet: bin/fleetctl
	@ln -sf fleetctl $@

# Kubernetes' API server compiles in a module of its own. It takes long once.
KUBEAPI_SOURCES := $(shell git ls-files deploy/kubeapi 2>/dev/null | grep -v -e '^deploy/kubeapi/kubenode/' -e '^deploy/kubeapi/pause/')
bin/kubeapi: $(KUBEAPI_SOURCES)
	@echo "build $@ (4 to 12 minutes on 2 cores the first time, seconds after)"
	@mkdir -p bin
	@cd deploy/kubeapi && GOWORK=off ../../tools/beat.sh "still compiling Kubernetes' API server" \
	go build -trimpath -ldflags "$(KUBE_LDFLAGS)" -o ../../bin/kubeapi .

# What a whole Kubernetes node for tests takes, beside Debian's containerd. kubenode is
# of kubeapi's module, so that the two share what they are compiled of.
NODE_SOURCES := $(shell git ls-files deploy/kubeapi/go.mod deploy/kubeapi/kubenode deploy/kubeapi/pause 2>/dev/null)
bin/kubenode bin/pause &: $(NODE_SOURCES)
	@echo "build bin/kubenode bin/pause (4 to 30 minutes on 2 cores the first time, half a minute after)"
	@mkdir -p bin
	@cd deploy/kubeapi && GOWORK=off ../../tools/beat.sh "still compiling Kubernetes' programs" \
	go build -trimpath -ldflags "$(KUBE_LDFLAGS)" -o ../../bin/ ./kubenode ./pause
	@touch bin/kubenode bin/pause

bin/coredns: $(shell git ls-files deploy/coredns 2>/dev/null)
	@echo "build $@ (1 to 3 minutes on 2 cores the first time, seconds after)"
	@mkdir -p bin
	@cd deploy/coredns && GOWORK=off ../../tools/beat.sh "still compiling CoreDNS" \
	go build -trimpath -ldflags "-s -w" -o ../../bin/coredns .

# The version is the one that the tests' own servers have.
bin/nats-server: deploy/go.mod
	@echo "build $@"
	@mkdir -p bin
	@go build -trimpath -ldflags "-s -w" -o $@ github.com/nats-io/nats-server/v2

# What finds faults of accessibility in the dashboard's pages.
bin/axe.min.js: tools/axe.sh
	@echo "fetch $@"
	@mkdir -p bin
	@tools/axe.sh $@

##@ Test
# The longest packages begin first, so that none of them is alone in the end.
LONGEST := ./operator ./deploy/fleetctl ./deploy/dev ./projections/buckets ./deploy/e2e/identity
.PHONY: test
# The compiler is done before the first test begins: some have a second to answer in.
test: bin/kubeapi bin/fleet-hello ## Run the tests of all modules (those on Podman where it is there; RACE=-race as CI does)
	@echo "compile the tests (4 to 12 minutes on 2 cores the first time, seconds after)"
	@CGO_ENABLED=$(if $(RACE),1,0) tools/beat.sh "still compiling the tests" \
	go list -trimpath $(RACE) -tags "$(TAGS)" -test -deps -export work >/dev/null
	$(GO_TEST) -p 2 -timeout 30m -shuffle=on -tags "$(TAGS)" $(TESTFLAGS) $(LONGEST) work
	cd deploy/kubeapi && GOWORK=off CGO_ENABLED=0 go test -trimpath -timeout 10m -shuffle=on $(TESTFLAGS) ./...
	cd deploy/grafana/promtest && GOWORK=off CGO_ENABLED=0 go test -trimpath -timeout 10m -shuffle=on $(TESTFLAGS) ./...

# Devices are 32-bit machines too. What is pure runs as on one of them here, and
# what runs on a device is built for it, and begins there.
.PHONY: test32
test32: ## Run the tests of the pure packages with 32-bit integers, and vet the agent for 32-bit ARM
	tools/test32.sh "$(TAGS)"
	GOARCH=arm GOARM=7 CGO_ENABLED=0 go vet -tags "$(TAGS)" ./agent/cmd/fleet-agent

.PHONY: test-arm
test-arm: ## Run the agent of 32-bit and of 64-bit ARM under qemu-user
	tools/testarm.sh "$(TAGS)"

# Packages that have tests of this kind, the longest first. What stands beside them is run by test
# already.
E2E_PACKAGES = deploy/e2e/recovery/ $(sort $(dir $(shell grep -rl --include='*_test.go' '^//go:build e2e$$' deploy/e2e)))

.PHONY: e2e
e2e: build bin/nats-server bin/axe.min.js ## Run the end-to-end tests: kill -9, lost logs, wiped clusters, real Podman, real systemd devices
	$(GO_TEST) -count=1 -p 2 -timeout 40m -tags "$(TAGS) e2e" $(TESTFLAGS) $(addprefix ./,$(E2E_PACKAGES))

# Its build takes long once, so it is not of e2e.
.PHONY: e2e-cluster
e2e-cluster: build bin/kubenode bin/pause bin/coredns bin/nats-server ## Run the server side as pods of a real Kubernetes node (as root on Debian; needs containerd)
	$(GO_TEST) -count=1 -p 1 -timeout 30m -tags "$(TAGS) e2ecluster" $(TESTFLAGS) ./deploy/e2e/clustertest ./deploy/e2e/cluster

.PHONY: bench
bench: bin/kubeapi ## Print each benchmark beside the bare alternative, and the ratio
	$(GO_TEST) -run '^$$' -bench '$(BENCH)' -benchtime 1x -timeout 30m -tags "$(TAGS)" ./projections/... ./operator/... ./callout/...

##@ Guard
.PHONY: lint
lint: ## Vet, format and lint, with the rule of who may import whom
	tools/lint.sh "$(TAGS)"

.PHONY: generate
generate: ## Make the CRDs, the clients, the reference of fleetctl, Grafana's files and the chart's again
	crds/hack/generate.sh
	tools/clidoc.sh "$(TAGS)"
	tools/grafana.sh
	tools/chart.sh

.PHONY: record
record: bin/kubeapi ## Record the series of a rollout of 200 agents, for the tests of the dashboards (4 minutes)
	go run -trimpath -tags "$(TAGS)" ./deploy/grafana/record

.PHONY: verify
verify: ## Fail where generated files or go.mod files are not what the sources say
	tools/verify.sh "$(TAGS)"

##@ Help
.PHONY: help
help: ## List the targets
	@awk 'BEGIN {FS = ":.*##"; print "Usage: make <target>"} \
	  /^##@/ {printf "\n%s\n", substr($$0, 5)} \
	  /^[a-zA-Z0-9_-]+:.*##/ {printf "  %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: clean
clean: ## Remove bin/, dist/ and the local fleet's data
	rm -rf bin dist .fleet
