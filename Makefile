# The short front of the build; meson and tools/ do the work. `make test` sets a Debian 12 machine up by itself.
BUILD ?= build
PREFIX ?= /usr/local
DESTDIR ?=
FUZZ_SECONDS ?= 20
SIM_SEEDS ?= 1000
export BUILD FUZZ_SECONDS SIM_SEEDS

all: $(BUILD)/build.ninja
	@ninja -C $(BUILD)

$(BUILD)/build.ninja:
	@meson setup $(BUILD)

setup:
	@tools/setup

# Every suite of tools/test; its last line is 'N passed, N failed'. SUITES="unit e2e" runs these alone.
test: setup
	@tools/test $(SUITES)

# The tests on real Kubernetes; builds it first where that was not done (8 minutes, once).
test-kube: setup
	@tools/test kube-setup kube

lint: all
	@tools/lint

sanitize:
	@tools/sanitize

fuzz:
	@tools/fuzz $(FUZZ_SECONDS)

# Worlds with random faults. SEEDS=1000000 searches so many with all cores (JOBS=1: with one) until one fails, with ALL=1 to the
# end, and names all that failed. SEED=17 prints the trace of that one alone, MUTANTS=1 also plants each bug of
# tests/sim/mutants and wants it found. Without any of them: as in `make test`.
sim: all
ifneq ($(SEED),)
	@$(BUILD)/tests/sim/sim --seed $(SEED) --seeds 1
else ifneq ($(MUTANTS),)
	@tests/sim/mutants/run --build $(BUILD) --seeds $(or $(SEEDS),200)
else ifneq ($(SEEDS),)
	@$(BUILD)/tests/sim/sim --seeds $(SEEDS) --jobs $(or $(JOBS),$(shell nproc)) $(if $(ALL),--all)
else
	@meson test -C $(BUILD) --no-rebuild --print-errorlogs --suite sim
endif

# A page is read by two Ray clusters; one is killed, a node is drained; no request may fail. RETRY=0 shows what clients would see
# if nothing were sent again.
demo: setup
	@$(MAKE) -s all
	@RETRY=$(RETRY) $(BUILD)/venv/bin/python tools/demo

# One app over two real Kubernetes clusters: docs/operate/kubernetes.md is walked through under traffic, and clusters fail. RAY=stand-in
# takes a minute.
demo-kube: setup
	@$(MAKE) -s all
	@tools/kube-setup
	@RAY=$(RAY) $(BUILD)/venv/bin/python tools/demo-kube

# Endpoints and units come and go under load, units on Ray are killed, disasters happen to Ray. make soak PHASES=churn MINUTES=5 runs one
# part, PHASES=search MINUTES=120 looks at ever new seeds and inputs (tools/soak --help).
soak: setup
	@$(MAKE) -s all
	@tools/soak $(if $(MINUTES),--minutes $(MINUTES)) $(PHASES)

# The whole machine from nothing, in a folder of its own: demo and test as a stranger meets them (root; 30 minutes or more).
fresh:
	@tools/fresh

# bench/run --list names them: make bench NAME=serve-noop
bench:
	@bench/run $(or $(NAME),--list)

# The container image, without a daemon and without root: build/image/astra.tar, an OCI layout that docker load takes, too.
# NAME=registry.example/astra:1 says how it is called.
image: all
	@tools/image $(if $(NAME),--name $(NAME))

# What deploy/kubernetes keeps of what the program and the chart say.
manifests: setup
	@$(MAKE) -s all
	@$(BUILD)/venv/bin/python tools/kube-manifests

install: all
	@meson configure $(BUILD) -Dprefix=$(abspath $(PREFIX))
	@ninja -C $(BUILD)
	@DESTDIR=$(DESTDIR) meson install -C $(BUILD) --no-rebuild --quiet

# What is made of the sources: the table of an app's fields, and the pictures.
docs: all pictures
	@$(BUILD)/tools/app-fields >docs/app-fields.md

pictures:
	@tools/pictures

fmt:
	@find src include tests examples bench -name '*.[ch]' -print0 | xargs -0 -r clang-format-14 -i

clean:
	rm -rf $(BUILD) build-asan build-tsan build-fuzz build-cov

.PHONY: all setup demo demo-kube test test-kube lint sanitize fuzz sim soak fresh bench image manifests install docs pictures fmt clean
