# Front door. The build itself is in CMakeLists.txt; `make help` lists what there is.
JOBS ?= $(shell nproc)
SECONDS ?= 60
SEED ?= 1
export CMAKE_BUILD_PARALLEL_LEVEL = $(JOBS)
export CTEST_PARALLEL_LEVEL = $(JOBS)

build_preset = cmake --preset $(1) >build/$(1).log 2>&1 || { cat build/$(1).log; exit 1; }; \
	cmake --build build/$(1)
test_preset = ctest --preset $(1)

.PHONY: all demo demo-stop test check format dev asan tsan cov fuzz faults bench bench-ingest bench-live clean help packages dev-packages

all: packages ## build/keel, optimised
	@$(call build_preset,release)

demo: all ## a simulated marketplace: imported, asked, served with its screens, events arriving
	@tools/demo

demo-stop: ## end the server of the demo
	@tools/demo stop

test: packages ## build and run all tests, then again under AddressSanitizer and UBSan
	@$(call build_preset,dev)
	@$(call build_preset,asan)
	@$(call test_preset,dev)
	@$(call test_preset,asan)

check: dev-packages ## formatting, linters and the rules of the house
	@$(call build_preset,dev)
	@tools/check

format: dev-packages ## lay out the sources as .clang-format says
	@tools/format

dev asan tsan: packages ## one preset: build and test
	@$(call build_preset,$@)
	@$(call test_preset,$@)

cov: dev-packages ## test coverage, as build/cov/index.html
	@$(call build_preset,cov)
	@find build/cov -name '*.gcda' -delete
	@$(call test_preset,cov)
	@gcovr --root . --filter src/ --object-directory build/cov \
		--html-details build/cov/index.html --print-summary | tail -4

fuzz: dev-packages ## each fuzz target for SECONDS (default 60)
	@$(call build_preset,fuzz)
	@tools/fuzz $(SECONDS)

faults: packages ## every fault on purpose, 1,000 kills of a loaded server (SEED=n); then seeded bugs
	@$(call build_preset,dev)
	@tests/faults/run.py --seed $(SEED)
	@tests/mutations/run.py

bench: all ## benchmarks against the peers
	@bench/run

bench-live: all ## 500 live segments under 50,000 events/s, beside ClickHouse (two minutes)
	@bench/live

bench-ingest: all ## durable events a second over HTTP, beside bare HTTP (two minutes)
	@bench/ingest

clean: ## remove everything that was built
	rm -rf build

help: ## this list
	@sed -n 's/^\([a-z][a-z -]*\):[^#]*## /\1\t/p' Makefile | expand -t 20

packages:
	@tools/install-packages
	@mkdir -p build

dev-packages:
	@tools/install-packages --dev
	@mkdir -p build
