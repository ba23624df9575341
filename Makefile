# A thin face over CMake presets and .ci; nothing is decided here.
.PHONY: build run test compare side-by-side fuzz fuzz-promql bench format clean test-k8s

build:
	.ci/install.sh
	cmake --preset release
	ninja -C build/release narthex

# RUN_ARGS are given to the server, for example RUN_ARGS=--log.level=debug
run: build
	@exec .ci/serve.sh $(RUN_ARGS)

test:
	.ci/install.sh
	.ci/peers.sh
	@exec .ci/test.sh

# Against a real etcd, kube-apiserver and kube-controller-manager: KUBEBUILDER_ASSETS=folder (docs/kubernetes.md). TESTS=file.py:test_name.
test-k8s:
	@if python3 tests/k8s/run.py --check; then \
		$(MAKE) --no-print-directory build && .ci/peers.sh && NARTHEX=$(CURDIR)/build/release/narthex PEERS=$(CURDIR)/build/peers \
			python3 tests/k8s/run.py $(TESTS); fi

# Needs clang-14 and libclang-rt-14-dev. FUZZ_SECONDS=60 for each target.
fuzz:
	.ci/install.sh
	FUZZ_SECONDS=$(or $(FUZZ_SECONDS),60) .ci/fuzz.sh

# Beside a Prometheus of the version that we follow, which Debian does not have: make compare PROMETHEUS=/path/to/prometheus
compare: build
	set -e; for program in api config scrape histograms promql promtool; do NARTHEX=$(CURDIR)/build/release/narthex PROMETHEUS=$(PROMETHEUS) \
		PYTHONDONTWRITEBYTECODE=1 python3 tests/compare/$$program.py; done

# Random PromQL beside Debian's Prometheus for FUZZ_SECONDS (3600); FUZZ_SEED=n repeats a run.
fuzz-promql: build
	.ci/peers.sh
	NARTHEX=$(CURDIR)/build/release/narthex PEERS=$(CURDIR)/build/peers PYTHONDONTWRITEBYTECODE=1 \
		python3 tests/e2e/fuzz_promql.py

# Real exporters scraped by Debian's Prometheus and by Narthex for SIDE_BY_SIDE_SECONDS (300), then compared.
side-by-side: build
	.ci/peers.sh
	NARTHEX=$(CURDIR)/build/release/narthex PEERS=$(CURDIR)/build/peers PYTHONDONTWRITEBYTECODE=1 \
		SIDE_BY_SIDE_SECONDS=$(or $(SIDE_BY_SIDE_SECONDS),300) python3 tests/e2e/test_side_by_side.py

# What single floors do, then Narthex beside its peers; lines `name value unit`, kept in build/release/bench.txt. Some
# twenty minutes; FULL=1 takes the sizes that docs promise (hours). BESIDE=disk runs one of the programs of BESIDE.
BESIDE ?= load query disk memory ingest churn kube
bench:
	.ci/install.sh
	.ci/peers.sh --all
	cmake --preset release
	ninja -C build/release narthex benches
	@{ for program in build/release/bench/bench_*; do \
		if [ -f $$program ] && [ -x $$program ]; then \
			echo "# $${program##*/}"; $$program || echo "# $${program##*/} failed"; fi; done; \
		for name in $(BESIDE); do \
			echo "# bench_$$name.py"; python3 bench/bench_$$name.py || echo "# bench_$$name.py failed"; done; \
	} 2>&1 | tee build/release/bench.txt
	@python3 bench/table.py build/release/bench.txt > build/release/bench.md
	@echo "# build/release/bench.md is the table"
	@! grep '^# .* failed$$' build/release/bench.txt

# Needs clang-format-14.
format:
	git ls-files -co --exclude-standard '*.c' '*.h' '*.cc' | xargs clang-format-14 -i

clean:
	rm -rf build/dev build/asan build/tsan build/release build/clang build/fuzz build/run build/*.log build/*.xml
