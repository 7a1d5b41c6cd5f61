# A thin front of CMake: make deps | build | all | run | test | test-slow | fuzz | bench | install | clean
#   make run RUN='-p "Once upon a time" -n 40'     make test TEST='-R kernels'     make build PRESET=asan     make fuzz SECONDS=60
# The targets and their options are in CMakeLists.txt, the presets in CMakePresets.json.
PRESET = release
BUILD = build/$(PRESET)
JOBS := $(shell nproc)
PREFIX = /usr/local

RUN = -p '<|user|>\nWho are you?<|end|>\n<|assistant|>\n' -n 96 --temp 0
BENCH = --shape llama-2-7b --quant Q4_K_M
TEST =
SECONDS = 60
FUZZ =

MAKEFLAGS += --no-print-directory
CONFIGURE = cmake --preset $(PRESET) -D CMAKE_INSTALL_PREFIX=$(PREFIX)
COMPILE = cmake --build $(BUILD) --parallel $(JOBS) >&2

.PHONY: build all deps run test test-slow fuzz bench install clean

build:
	@$(CONFIGURE) >/dev/null
	@$(COMPILE) --target hearth hearth_shared hearth_static manual

deps:
	@./bootstrap deps

run: build
	@$(BUILD)/hearth run $(RUN)

all:
	@$(CONFIGURE) -D HEARTH_TESTS=ON >/dev/null
	@$(COMPILE)

test: all
	@ctest --preset $(PRESET) --parallel $(JOBS) -LE slow $(TEST)

test-slow: all
	@ctest --preset $(PRESET) -L slow $(TEST)

# libFuzzer is clang's; the same targets are part of `make test` with a driver of our own.
fuzz:
	@command -v clang >/dev/null || { echo "make fuzz needs clang and its libFuzzer (Debian: clang, libclang-rt-dev)" >&2; exit 1; }
	@cmake --preset fuzz -D HEARTH_TESTS=ON >/dev/null
	@cmake --build build/fuzz --parallel $(JOBS) --target fuzzers >&2
	@sh tests/fuzz/run.sh build/fuzz $(SECONDS) $(FUZZ)

bench: build
	@$(BUILD)/hearth bench $(BENCH)

install: build
	@cmake --install $(BUILD)

clean:
	@rm -rf build
