# SPDX-License-Identifier: MIT
# A plain front for meson and ninja. BUILD is the build folder.

BUILD ?= build
PREFIX ?= /usr/local
DESTDIR ?=
PYTHON ?= /usr/bin/python3

.PHONY: all demo check check-full bench install fmt clean \
	kernel kernel-check kernel-check-debug kernel-series deps

all: $(BUILD)/build.ninja
	@ninja -C $(BUILD) --quiet

$(BUILD)/build.ninja: | deps
	@meson setup $(BUILD) --prefix $(PREFIX) >$(BUILD).log 2>&1 || { cat $(BUILD).log; exit 1; }
	@mv $(BUILD).log $(BUILD)/setup.log

deps:
	@tools/deps build

demo: all
	@tools/deps test
	@tests/demo/run $(BUILD)

check: all
	@tools/deps test kernel
	@$(PYTHON) tests/run.py --build $(BUILD)

check-full: all
	@tools/deps test kernel
	@$(PYTHON) tests/run.py --build $(BUILD) --full

bench: all
	@tools/deps test
	@$(PYTHON) bench/run.py --build $(BUILD)

install: all
	@meson configure $(BUILD) --prefix $(PREFIX) >/dev/null
	@DESTDIR=$(DESTDIR) meson install -C $(BUILD) --quiet

kernel:
	@tools/deps build kernel
	@kernel/build

kernel-check: all kernel
	@kernel/check

kernel-check-debug: all
	@tools/deps build kernel
	@kernel/check --debug

kernel-series:
	@tools/deps build kernel
	@kernel/series

fmt:
	@git ls-files -co --exclude-standard '*.c' '*.h' | grep -v '^kernel/src/' | xargs clang-format -i

clean:
	@rm -rf $(BUILD)
