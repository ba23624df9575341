# A thin face over CMake presets and .ci; nothing is decided here.
.PHONY: build run test fuzz bench format clean

build:
	.ci/install.sh
	cmake --preset release
	ninja -C build/release

# RUN_ARGS are given to the server, for example RUN_ARGS=--log.level=debug
run: build
	@exec .ci/serve.sh $(RUN_ARGS)

test:
	.ci/install.sh
	.ci/peers.sh
	@exec .ci/test.sh

# Needs clang-14 and libclang-rt-14-dev. FUZZ_SECONDS=60 for each target.
fuzz:
	.ci/install.sh
	FUZZ_SECONDS=$(or $(FUZZ_SECONDS),60) .ci/fuzz.sh

bench:
	.ci/install.sh
	cmake --preset release
	ninja -C build/release benches
	@set -e; for program in build/release/bench/bench_*; do \
		if [ -f $$program ] && [ -x $$program ]; then echo "# $${program##*/}"; $$program; fi; done

# Needs clang-format-14.
format:
	git ls-files -co --exclude-standard '*.c' '*.h' '*.cc' | xargs clang-format-14 -i

clean:
	rm -rf build/dev build/asan build/tsan build/release build/clang build/fuzz build/run build/*.log build/*.xml
