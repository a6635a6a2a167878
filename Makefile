# make run     build and run a server for trying out: http://127.0.0.1:8008, open to sign up, data in ./data
# make cluster run Consul, Postgres, three nodes and a load balancer on this machine: http://127.0.0.1:8008
# make test    everything that must hold: format, vet, lint, all tests under the race detector, rooms shared with Synapse
# make faults  breaks a cluster in every way, each alone and several times, and holds it to the bounds of a quiet machine
# make forks   cuts three servers apart and joins them again, in rooms of every version, over many generated conflicts
# make queues  kills servers while they send to each other, many times
# make ghosts  a bridge with many users in many rooms, while the server is killed and the bridge is away
# make interop rooms shared with Synapse, the reference homeserver, which is installed into a chroot first (as root, on Debian)
# make desktop nheko, a desktop client from Debian, on a screen that nobody sees; PICTURES is a folder for pictures of it
# make lint    golangci-lint alone, installed first if need be
# make bench   measures the real server over HTTP
# make microbench  the benchmarks of single packages
# make proto   generate messages/*.pb.go from messages/*.proto
# make build   build/matrixon

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
COMMIT ?= $(shell git rev-parse --short=12 HEAD 2>/dev/null)
LDFLAGS := -X main.version=$(VERSION) -X main.commit=$(COMMIT)

.PHONY: build run cluster test faults forks queues ghosts interop desktop lint bench microbench proto

build:
	go build -trimpath -ldflags '$(LDFLAGS)' -o build/matrixon ./cmd/matrixon

run: build
	mkdir -p data
	build/matrixon serve --set registration.open=true

# CLUSTER is passed on to cmd/matrixon-cluster: make cluster CLUSTER='--nodes 5'
CLUSTER ?=
cluster: build
	go build -trimpath -o build/matrixon-cluster ./cmd/matrixon-cluster
	build/matrixon-cluster --set registration.open=true $(CLUSTER)

test:
	scripts/test.sh

# ROUNDS is how often; FAULT chooses one by its name, as in FAULT='a node is drained'; CLUSTER_TEST_SEED repeats a run that went
# wrong. Each takes about ten seconds.
ROUNDS ?= 3
FAULT ?=
faults:
	go test ./tests/cluster -count 1 -parallel 1 -v -timeout 2h -args -rounds $(ROUNDS) -fault '$(FAULT)' -back-within 5s -held-within 500ms -revoked-within 1s

# SEED is the first of so many SEEDS; a run that went wrong names its own.
SEED ?= 1
SEEDS ?= 50
forks:
	go test ./tests/federation -run 'TestServersCutApart$$' -count 1 -v -timeout 2h -args -seed $(SEED) -seeds $(SEEDS)

KILLS ?= 50
queues:
	go test ./tests/federation -run 'TestKilledServersLoseNothing$$' -count 1 -v -timeout 2h -args -rounds $(KILLS)

# GHOSTS is how many users the bridge has, in how many ROOMS.
GHOSTS ?= 10000
ROOMS ?= 500
ghosts:
	go test ./tests/appservice -run 'TestManyGhosts$$' -count 1 -v -timeout 1h -args -ghosts $(GHOSTS) -rooms $(ROOMS)

interop:
	go test -tags interop -count 1 -p 1 -v ./tests/federation ./tests/js -run TestSynapse

PICTURES ?=
desktop:
	DESKTOP_PICTURES='$(PICTURES)' go test -tags desktop -count 1 -v -run 'TestNheko$$' ./tests/js

lint:
	scripts/lint.sh

# LOAD is passed on to cmd/matrixon-load: make bench LOAD='--duration 30s send', or LOAD='--nodes 3 send spread' for a cluster
LOAD ?=
bench: build
	go build -trimpath -o build/matrixon-load ./cmd/matrixon-load
	build/matrixon-load $(LOAD)

# BENCH chooses by name, as go test -bench does; PKG by package.
BENCH ?= .
PKG ?= ./...
microbench:
	go test -run '^$$' -bench '$(BENCH)' -benchmem $(PKG)

proto:
	scripts/proto.sh
