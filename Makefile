# A thin front of CMake: make deps | build | all | run | test | bench | install | clean
#   make run RUN='-p "Once upon a time" -n 40'     make test TEST='-R kernels'     make build PRESET=asan
# The targets and their options are in CMakeLists.txt, the presets in CMakePresets.json.
PRESET = release
BUILD = build/$(PRESET)
JOBS := $(shell nproc)
PREFIX = /usr/local

RUN = -p '<|user|>\nWho are you?<|end|>\n<|assistant|>\n' -n 96 --temp 0
BENCH = --shape llama-2-7b --quant Q4_K_M
TEST =

MAKEFLAGS += --no-print-directory
CONFIGURE = cmake --preset $(PRESET) -D CMAKE_INSTALL_PREFIX=$(PREFIX)
COMPILE = cmake --build $(BUILD) --parallel $(JOBS) >&2

.PHONY: build all deps run test bench install clean

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
	@ctest --preset $(PRESET) --parallel $(JOBS) $(TEST)

bench: build
	@$(BUILD)/hearth bench $(BENCH)

install: build
	@cmake --install $(BUILD)

clean:
	@rm -rf build
