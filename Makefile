# cchost: everything that is built, installed, tested and measured starts here.
#
#   make run      installs what is missing, builds, starts the control plane
#   make test     installs what is missing, builds, passes the tests
#   make          builds ./cchost        make asan    the same under ASan and UBSan, and its tests
#   make check    static analysis        make bench   figures, beside their references
#   make crash    kills, pauses and write errors under load, the data checked after each
#   make soak     everything at once for SOAK_SECONDS: is all that is held flat?
#   make install  PREFIX=/usr/local DESTDIR=    make deb   a Debian package of it    make container   an image of that
#
# Sources are found by folder, so a new file needs no line here. Objects go to
# build/$(V)/; V is release or asan.

V       ?= release
O       := build/$(V)
PREFIX  ?= /usr/local
SHELL   := /bin/bash
.DEFAULT_GOAL := all
MAKEFLAGS += --no-builtin-rules

# ---------------------------------------------------------------- what must be installed
# BUILD_PKGS also holds what runs: bubblewrap-free sandboxing needs no package, `nat` needs pasta, schedules need
# tzdata, ssh on local machines needs sshd: the program alone, its service is not to start for our sake.
BUILD_PKGS := gcc libc6-dev make pkg-config libuv1-dev libluajit-5.1-dev liblmdb-dev libmbedtls-dev \
              libjansson-dev libarchive-dev libcurl4-openssl-dev node-llhttp libseccomp-dev lua-check libvirt-dev libxml2-dev libpng-dev libedit-dev
RUN_PKGS   := passt tzdata openssh-server libedit2
TEST_PKGS  := libcmocka-dev nodejs node-ws curl git procps iproute2 openssh-client openssl testssl.sh python3 python3-aiosmtpd \
              python3-prometheus-client python3-protobuf protobuf-compiler busybox-static original-awk bsdutils
# dockerd for the tests of the provider docker; podman speaks the same. Neither's service is to start for our sake.
DOCKER_PKGS := docker.io iptables uidmap iputils-ping debootstrap podman runc
# Hetzner's own command line, which its double is checked with.
HETZNER_PKGS := hcloud-cli
# What the package of cchost needs in its container: as above.
CONTAINER_BASE := libuv1,libluajit-5.1-2,liblmdb0,libmbedtls14,libmbedx509-1,libmbedcrypto7,libjansson4,libcurl4,ca-certificates,libedit2,openssh-client,tzdata
# Nix's evaluator, for the files of providers/image/nixos: no store, no daemon, nothing is built.
NIX_PKGS   := nix-bin
# What setup.sh would install: in the tests nothing can be downloaded.
IMAGE_BASE  := ca-certificates,curl,git,less,locales-all,mosh,openssh-client,procps,tmux,nodejs
# promtool, which reads the figures; its service is not to start for our sake.
PROM_PKGS  := prometheus
# Chromium needs a font to show a text in.
BROWSER_PKGS := chromium-headless-shell fonts-dejavu-core
CHECK_PKGS := clang-tidy clang-format cppcheck shellcheck
BENCH_PKGS := wrk
# Real backends for tests/contract: what each provider needs (apt starts none of these daemons).
LIBVIRT_PKGS := libvirt-daemon libvirt-daemon-driver-qemu libvirt-clients qemu-system-x86 qemu-utils genisoimage busybox-static \
              cpio e2fsprogs lvm2 thin-provisioning-tools
OVS_PKGS   := openvswitch-switch nftables ethtool iproute2
GUEST_PKGS := qemu-system-x86 busybox-static cpio e2fsprogs
GUEST_KERNEL := bash -c '. tests/lib/guest.sh; kernel >/dev/null' || true # what needs it says what it lacks

# $(call need,packages): installs those that dpkg does not know as installed.
define need
@missing=; for p in $(1); do \
  dpkg-query -W -f='$${db:Status-Status}' $$p 2>/dev/null | grep -qx installed || missing="$$missing $$p"; done; \
if [ -n "$$missing" ]; then \
  cmd="apt-get -o DPkg::Lock::Timeout=200 install -y --no-install-recommends$$missing"; \
  if [ "$$(id -u)" = 0 ]; then as=; elif sudo -n true 2>/dev/null; then as="sudo -n"; \
  else echo "These Debian packages are missing. As root, run:"; echo "  apt-get update && $$cmd"; exit 1; fi; \
  echo "installing:$$missing"; \
  { $$as apt-get -qq -o DPkg::Lock::Timeout=200 update && $$as env DEBIAN_FRONTEND=noninteractive $$cmd; } >build/install.log 2>&1 || \
    { tail -n 20 build/install.log; exit 1; }; \
fi
endef

# $(call no_service,package,units,why): before a package is installed for its programs: a host that runs none of its services
# is not to run one afterwards.
define no_service
@if ! dpkg-query -W -f='$${db:Status-Status}' $(1) 2>/dev/null | grep -qx installed && [ -d /etc/systemd/system ]; then \
  if [ "$$(id -u)" = 0 ]; then as=; elif sudo -n true 2>/dev/null; then as="sudo -n"; else exit 0; fi; \
  for u in $(2); do [ -e /etc/systemd/system/$$u ] || $$as ln -s /dev/null /etc/systemd/system/$$u; done; \
  echo "$(firstword $(2)) is masked, as only the programs of $(1) are needed (to have the service: systemctl unmask $(2))"; \
fi
endef

# $(call debian,NAME,packages,for what): a Debian with these packages, as NAME.tar, made once.
define debian
@[ -f $(1).tar ] || [ "$$(id -u)" != 0 ] || { \
  echo "making a base for $(3): $(1).tar"; d=$$(mktemp -d); \
  debootstrap --variant=minbase --include=$(2) bookworm $$d/root >$(1).log 2>&1 && \
    rm -rf $$d/root/var/cache/apt $$d/root/var/lib/apt/lists && tar -C $$d/root -cf $(1).tar.new . && \
    mv $(1).tar.new $(1).tar || tail -n 5 $(1).log; rm -rf $$d; }
endef

# The unit's checks, the package and what is said of it, completion and manual in their own programs: none of these has a service
# that starts for our sake.
SERVICE_PKGS := systemd dpkg-dev lintian zsh man-db groff-base

.PHONY: deps-build deps-run deps-test deps-check deps-bench deps-docker deps-guest deps-hetzner deps-libvirt deps-ovs deps-browser
deps-build: ; @mkdir -p build
	$(call need,$(BUILD_PKGS))
	@command -v npm >/dev/null || $(MAKE) --no-print-directory deps-npm
deps-run: deps-build
	$(call no_service,openssh-server,ssh.service ssh.socket)
	$(call need,$(RUN_PKGS))
deps-test: deps-run
	$(call no_service,prometheus,prometheus.service)
	$(call need,$(TEST_PKGS) $(PROM_PKGS))
# What checks our requests by others' rules (tests/lib/kit.js). It is not of this project; where it stands beside it, it is
# set up, once. What cannot be is told by the tests that need it.
# Its newer parts, which npm may take, need a newer Node than Debian's.
PRISM_PINS := {"@stoplight/prism-http-server":"5.12.2","@stoplight/prism-http":"5.12.0"}
KIT := $(wildcard ../shared/conformance/setup)
.PHONY: deps-kit deps-npm
deps-npm: ; $(call need,nodejs npm)
deps-kit: deps-test
ifneq ($(KIT),)
	@home=$${CONFORMANCE_HOME:-$$HOME/.cache/conformance}; \
	[ -d "$$home/eov/node_modules/express-openapi-validator" ] && [ -d "$$home/npm/node_modules/stripe" ] && \
	  [ -d "$$home/prism/node_modules/@stoplight" ] && exit 0; \
	echo "installing: the conformance kit, into $$home"; mkdir -p "$$home/prism"; \
	[ -e "$$home/prism/package.json" ] || echo '{"private":true,"overrides":$(PRISM_PINS)}' >"$$home/prism/package.json"; \
	npm_config_legacy_peer_deps=true flock "$$home" $(KIT) --light >build/kit.log 2>&1 </dev/null || tail -n 20 build/kit.log
endif
deps-browser: deps-kit
	$(call need,$(BROWSER_PKGS))
	@$(MAKE) --no-print-directory tests/browser/node_modules/.package-lock.json tests/openapi/node_modules/.package-lock.json \
	  web/node_modules/.package-lock.json
deps-hetzner: deps-kit
	$(call need,$(HETZNER_PKGS) $(NIX_PKGS))
deps-docker: deps-kit
	$(call no_service,docker.io,docker.service docker.socket)
	$(call no_service,podman,podman.service podman.socket)
	$(call need,$(DOCKER_PKGS))
	$(call debian,build/image-base,$(IMAGE_BASE),the image claude-instance)
	$(call debian,build/container-base,$(CONTAINER_BASE),the container of cchost)
deps-service: deps-test
	$(call need,$(SERVICE_PKGS))
deps-check: deps-test
	$(call need,$(CHECK_PKGS))
deps-bench: deps-test
	$(call need,$(BENCH_PKGS))
deps-libvirt: deps-test
	$(call need,$(LIBVIRT_PKGS))
	@$(GUEST_KERNEL)
deps-ovs: deps-test
	$(call need,$(OVS_PKGS))
deps-guest: deps-test
	$(call need,$(GUEST_PKGS))
	@$(GUEST_KERNEL)

# ---------------------------------------------------------------- flags
WARN    := -Wall -Wextra -Wshadow -Wconversion -Wno-sign-conversion -Wmissing-prototypes -Wstrict-prototypes \
           -Wformat=2 -Wimplicit-fallthrough -Werror=format-security $(if $(CI),-Werror)
HARDEN  := -ffunction-sections -fdata-sections -fstack-protector-strong -fstack-clash-protection -fcf-protection=full -fno-delete-null-pointer-checks \
           -fno-strict-overflow -fno-strict-aliasing -ftrivial-auto-var-init=zero
INC     := -I. -isystem /usr/include/luajit-2.1 -isystem /usr/share/include/llhttp
INC     += -isystem /usr/include/libxml2
DEFS    := -D_GNU_SOURCE -DLLHTTP_STRICT_MODE=1
CFLAGS_release := -O2 -g -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3
CFLAGS_asan    := -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
CFLAGS  := -std=c11 -fPIE -fexceptions -pthread $(WARN) $(HARDEN) $(CFLAGS_$(V)) $(DEFS) $(INC) $(EXTRA_CFLAGS)
LDFLAGS_asan := -fsanitize=address,undefined
LDFLAGS := -pie -Wl,-z,relro,-z,now,-z,noexecstack -pthread $(LDFLAGS_$(V))
LIBS    := -luv -lluajit-5.1 -llmdb -lmbedtls -lmbedx509 -lmbedcrypto -ljansson -ldl -lm

# ---------------------------------------------------------------- sources
# AGENT_SRC and LAUNCH_SRC are programs of their own: small, static, carried inside cchost.
AGENT_MAIN  := $(wildcard host/agent/*.c)
LAUNCH_MAIN := $(wildcard providers/local/launch/*.c)
MAIN        := host/main.c
LIB_SRC := $(filter-out $(MAIN),$(wildcard host/*.c)) $(wildcard host/sys/*.c host/script/*.c host/http/*.c host/observe/*.c store/*.c \
           providers/*.c providers/*/*.c)
LIB_OBJ := $(LIB_SRC:%.c=$(O)/%.o) $(O)/llhttp/api.o $(O)/llhttp/http.o $(O)/llhttp/llhttp.o
# The agent shares host/sys, host/http, host/observe and host/script with the host, through the same library: the linker
# takes what is called, and nothing in it may need LMDB, curl or TLS. Its Lua is lua/agent/, and what that requires.
AGENT_OBJ := $(AGENT_MAIN:%.c=$(O)/%.o)
AGENT_LUA := $(shell find lua/agent -name '*.lua' | LC_ALL=C sort) $(addprefix lua/,errors.lua query.lua router.lua utf8.lua)
LUA_SRC := $(shell find lua policies -name '*.lua' -not -path 'lua/meta/*' -not -path 'lua/agent/*' -not -path 'policies/tests/*' 2>/dev/null | LC_ALL=C sort)
# A shipped policy whose file was taken away is carried as git has it: "a file that is not there is the shipped one".
LUA_SRC += $(addprefix $(O)/shipped/,$(shell git ls-files --deleted -- ':(glob)policies/*.lua' 2>/dev/null))
# What stands on machines, whoever made them: setup.sh and the texts that it puts down, as one tar.
IMAGE_SRC := providers/image/setup.sh $(wildcard providers/image/nixos/parts/*)
SCRIPT_SRC := $(filter-out $(IMAGE_SRC),$(wildcard lua/scripts/*.sh providers/*/*.sh)) build/image.tar
WEB_SRC := $(shell find web -name node_modules -prune -o -type f -not -name '*.md' -print 2>/dev/null | LC_ALL=C sort)
# luacheck's parser and flow analysis, for lua/policy/lint.lua: what it needs of the package, and nothing else.
LUACHECK_SRC := $(addprefix /usr/share/lua/5.1/luacheck/,$(addsuffix .lua,check_state decoder lexer parser unicode \
           unicode_printability_boundaries utils $(addprefix stages/,parse unwrap_parens linearize resolve_locals \
           detect_unused_locals detect_unreachable_code)))

.PHONY: all run test asan check bench install clean fuzz format deps-fuzz
all: deps-build
	@$(MAKE) --no-print-directory -j$$(nproc) cchost-build
.PHONY: cchost-build
cchost-build: $(if $(filter release,$(V)),cchost,$(O)/cchost) $(O)/cchost-spawner
cchost: build/release/cchost
	@ln -f $< $@ 2>/dev/null || cp $< $@
	@ln -sf cchost ccc

$(O)/cchost: $(O)/host/main.o $(O)/libcchost.a $(O)/carried.o
	@echo "  LINK $@"; $(CC) $(LDFLAGS) -o $@ $^ $(LIBS)
$(O)/libcchost.a: $(LIB_OBJ)
	@rm -f $@; $(AR) rcs $@ $^

# The agent and the launcher run where none of our libraries are, so they are static. Sanitizers
# cannot be: under asan the agent is an ordinary program, the launcher stays as it is.
ifeq ($(V),asan)
AGENT_LINK := $(LDFLAGS) -luv -lluajit-5.1 -larchive -ljansson -lmbedcrypto -lutil -ldl -lm
else
AGENT_LINK := -static-pie -s -Wl,-z,relro,-z,now -pthread -Wl,--gc-sections -l:libuv_a.a -l:libluajit-5.1.a -l:libarchive.a -l:libjansson.a -l:libmbedcrypto.a -ldl -lrt -lutil -lm
endif
$(O)/agent/carried.S: $(AGENT_LUA) host/script/carry.sh Makefile
	@mkdir -p $(@D)
	@bash host/script/carry.sh $(AGENT_LUA) > $@
$(O)/cchost-agent: $(AGENT_OBJ) $(O)/agent/carried.o $(O)/libcchost.a
	@echo "  LINK $@"; $(CC) -o $@ $^ $(AGENT_LINK) 2> >(grep -vE "statically linked applications requires|in function .(uv__|uv_|lj_cf_ffi_load)" >&2)
# What the host holds against the agent that it carries, before it gives it to anybody.
$(O)/cchost-agent.sha256: $(O)/cchost-agent
	@sha256sum <$< | cut -c1-64 >$@
$(O)/cchost-launch: $(LAUNCH_MAIN) $(wildcard providers/local/launch/*.h) host/sys/lease.h
	@mkdir -p $(@D)
	@echo "  LINK $@"; $(CC) -std=c11 -fPIE $(WARN) $(HARDEN) $(CFLAGS_release) $(DEFS) $(INC) -static-pie -Wl,-z,relro,-z,now -o $@ $(LAUNCH_MAIN) -l:libseccomp.a

SPAWNER_MAIN := $(wildcard providers/local/spawner/*.c)
$(O)/cchost-spawner: $(SPAWNER_MAIN) $(wildcard providers/local/spawner/*.h)
	@mkdir -p $(@D)
	@echo "  LINK $@"; $(CC) -std=c11 -fPIE $(WARN) $(HARDEN) $(CFLAGS_release) $(DEFS) $(INC) -static-pie -s -Wl,-z,relro,-z,now -o $@ $(SPAWNER_MAIN)

# What a package-lock.json names, beside it.
%/node_modules/.package-lock.json: %/package-lock.json %/.npmrc
	@mkdir -p build
	@echo "  NPM  $*"; cd $* && npm ci --prefer-offline >$(CURDIR)/build/npm.log 2>&1 || { tail -n 20 $(CURDIR)/build/npm.log; exit 1; }
	@touch $@
# The dashboard is the same in every build.
build/web/index.html: $(WEB_SRC) web/node_modules/.package-lock.json
	@echo "  WEB  build/web"; node web/build.mjs build/web

build/image.tar: $(IMAGE_SRC) Makefile
	@mkdir -p $(@D)
	@tar --sort=name --owner=0 --group=0 --numeric-owner --mtime=@0 --mode=u=rwX,go=rX --transform=s,^nixos/,, \
	  -C providers/image -cf $@ setup.sh nixos/parts

# Everything that the binary carries: Lua by module name, programs by file name, the dashboard (host/script/carried.h).
$(O)/carried.S: $(LUA_SRC) $(LUACHECK_SRC) $(SCRIPT_SRC) host/script/carry.sh Makefile $(O)/cchost-agent.sha256 $(O)/cchost-launch build/web/index.html
	@mkdir -p $(@D)
	@bash host/script/carry.sh $(O)/cchost-agent $(O)/cchost-agent.sha256 $(O)/cchost-launch $(LUA_SRC) $(LUACHECK_SRC) $(SCRIPT_SRC) \
	  $$(find build/web -type f | LC_ALL=C sort) > $@
	@git diff --name-only --diff-filter=M -- ':(glob)policies/*.lua' 2>/dev/null | sed 's/$$/ is edited: this build carries it as the shipped one/' >&2
$(O)/shipped/%.lua: FORCE
	@mkdir -p $(@D); git show ":./$*.lua" > $@.new; if cmp -s $@.new $@; then rm $@.new; else mv $@.new $@; fi
.PHONY: FORCE
$(O)/carried.o $(O)/agent/carried.o: %.o: %.S
	@$(CC) -fPIE -c -o $@ $<

$(O)/%.o: %.c
	@mkdir -p $(@D)
	@echo "  CC   $<"; $(CC) $(CFLAGS) -MMD -MP -c -o $@ $<
$(O)/llhttp/%.o: /usr/share/llhttp/%.c
	@mkdir -p $(@D)
	@$(CC) -std=c11 -fPIE -fexceptions -w $(HARDEN) $(CFLAGS_$(V)) $(DEFS) $(INC) -c -o $@ $<
-include $(shell find $(O) -name '*.d' 2>/dev/null)

# ---------------------------------------------------------------- the two commands
run: deps-run
	@$(MAKE) --no-print-directory all
	@exec ./cchost serve
test: deps-browser deps-service
	@$(MAKE) --no-print-directory all unit-build
	@V=$(V) tests/run

# ---------------------------------------------------------------- tests
UNIT := $(patsubst tests/unit/%.c,$(O)/unit/%,$(wildcard tests/unit/test_*.c))
.PHONY: unit-build
unit-build: all # not beside it: both write libcchost.a
	@$(MAKE) --no-print-directory -j$$(nproc) $(UNIT) $(O)/badio.so $(O)/killat.so $(O)/names.so $(O)/powercut $(O)/contract
POWERCUT_OBJ := $(patsubst %.c,$(O)/%.o,$(wildcard tests/powercut/*.c))
$(O)/powercut: $(POWERCUT_OBJ) $(O)/libcchost.a $(O)/carried.o
	@echo "  LINK $@"; $(CC) $(LDFLAGS) -o $@ $^ -lcmocka $(LIBS)
CONTRACT_OBJ := $(patsubst %.c,$(O)/%.o,$(wildcard tests/contract/*.c))
$(O)/contract: $(CONTRACT_OBJ) $(O)/libcchost.a $(O)/carried.o
	@echo "  LINK $@"; $(CC) $(LDFLAGS) -o $@ $^ -lcmocka $(LIBS)
# A bad disk, or a sudden end, for whoever loads it, never sanitized: it must not need what the program does not have.
$(O)/%.so: tests/lib/%.c
	@mkdir -p $(@D)
	@echo "  LINK $@"; $(CC) -std=c11 -O1 -g -fPIC -shared $(WARN) $(DEFS) -o $@ $< -ldl
$(O)/unit/%: $(O)/tests/unit/%.o $(O)/libcchost.a $(O)/carried.o
	@mkdir -p $(@D)
	@echo "  LINK $@"; $(CC) $(LDFLAGS) -o $@ $^ -lcmocka $(LIBS)
.SECONDARY:

# SUITES: those alone, of tests/run.
asan: deps-browser deps-service
	@$(MAKE) --no-print-directory V=asan all unit-build
	@V=asan tests/run $(SUITES)

# The drivers on their backends, real or a double, each in a network namespace of its own (BACKENDS: those that must not be skipped).
.PHONY: docker hetzner
hetzner: deps-hetzner
	@$(MAKE) --no-print-directory all unit-build
	@V=$(V) TEST_SECONDS=900 tests/run hetzner nixos
docker: deps-docker deps-service
	@$(MAKE) --no-print-directory all unit-build
	@V=$(V) TEST_SECONDS=900 tests/run docker

# The Debian package, installed, upgraded and purged in copies of this system that forget everything (needs root).
.PHONY: package
package: deps-service
	@$(MAKE) --no-print-directory all
	@V=$(V) TEST_SECONDS=600 tests/run package

# CRASH_KILLS=10000 make crash: the long run; a failure tells its CRASH_SEED.
.PHONY: crash
crash: deps-test
	@$(MAKE) --no-print-directory all $(O)/badio.so
	@V=$(V) TEST_SECONDS=86400 tests/run crash

# SOAK_SECONDS=3600 make soak: an hour of everything at once; is all that is held flat? (tests/soak/soak.test.js)
.PHONY: soak
soak: deps-test
	@$(MAKE) --no-print-directory all unit-build
	@V=$(V) TEST_SECONDS=86400 SOAK_SECONDS=$(or $(SOAK_SECONDS),60) tests/run soak

# GUEST_KILLS=20: a small emulated machine loses its power under load so often (tests/powercut/guest_kill.test.js); another holds
# machines to their limits by control groups of v2 (tests/service/guest).
.PHONY: powercut-guest
powercut-guest: deps-guest
	@$(MAKE) --no-print-directory all
	@V=$(V) TEST_SECONDS=86400 tests/run guest

.PHONY: libvirt
libvirt: deps-libvirt
	@$(MAKE) --no-print-directory all unit-build
	@V=$(V) TEST_SECONDS=1800 tests/run libvirt storage
.PHONY: network
network: deps-ovs deps-libvirt
	@$(MAKE) --no-print-directory all unit-build
	@V=$(V) TEST_SECONDS=1800 tests/run network networks

# All that testssl.sh can look for, over a minute; the suite tls looks for a part of it.
.PHONY: testssl
testssl: deps-test
	@$(MAKE) --no-print-directory all
	@CCHOST=$(CURDIR)/build/$(V)/cchost TESTSSL=full node --test-reporter=tap tests/tls/testssl.test.js

# The picture of the dashboard in README.md, docs/dashboard.png.
.PHONY: picture
picture: deps-browser
	@$(MAKE) --no-print-directory all
	@NODE_PATH=/usr/share/nodejs node tests/browser/picture.js

# ---------------------------------------------------------------- checks
C_ALL := $(shell git ls-files '*.c' '*.h' 2>/dev/null)
LUA_ALL := $(shell git ls-files '*.lua' 2>/dev/null)
.PHONY: check-format check-tidy check-cppcheck check-lua check-shell check-web
check: deps-check
	@$(MAKE) --no-print-directory -j$$(nproc) -k check-format check-cppcheck check-lua check-shell check-web check-tidy
	@echo "check: nothing found"
check-format:
	clang-format --dry-run --Werror $(C_ALL)
check-cppcheck:
	@mkdir -p build/cppcheck
	cppcheck --quiet --std=c11 --enable=warning,performance,portability --inline-suppr --error-exitcode=1 -j2 \
	  --cppcheck-build-dir=build/cppcheck --suppressions-list=.cppcheck --include=.cppcheck.h $(DEFS) -I. $(filter-out tests/%,$(filter %.c,$(C_ALL)))
check-lua:
	luacheck --quiet --codes $(filter-out policies/% examples/policies/%,$(LUA_ALL)) # those: cchost's own linter
check-shell:
	shellcheck lua/scripts/*.sh providers/image/*.sh providers/image/nixos/parts/claude-*
	shellcheck --severity=warning $(filter-out lua/scripts/% providers/image/%,$(shell git ls-files '*.sh' 'host/service/deb/p*' .ci/run tests/run tests/bench/run))
# Lock files name what is taken by its hash, and no address: from where is the matter of who builds.
check-web: web/node_modules/.package-lock.json
	! grep -n '"resolved"' $(shell git ls-files '*package-lock.json')
	cd web && node_modules/.bin/tsc --noEmit
check-tidy:
	@echo "clang-tidy, $(words $(filter-out tests/%,$(filter %.c,$(C_ALL)))) files"
	@printf '%s\n' $(filter-out tests/%,$(filter %.c,$(C_ALL))) | xargs -P$$(nproc) -n4 sh -c \
	  'clang-tidy --quiet "$$@" -- -std=c11 $(DEFS) $(INC) 2>build/tidy.err || exit 255' tidy
format: deps-check
	clang-format -i $(C_ALL)

# ---------------------------------------------------------------- figures, fuzzing, installation
bench: deps-bench deps-docker
	@$(MAKE) --no-print-directory all
	@tests/bench/run

FUZZ_SECONDS ?= 60
FUZZERS := $(patsubst tests/fuzz/%.c,%,$(wildcard tests/fuzz/fuzz_*.c))
fuzz: deps-fuzz
	@mkdir -p build/fuzz
	@for f in $(FUZZERS); do mkdir -p build/fuzz/$$f.new; \
	  clang -std=c11 -g -O1 -fsanitize=fuzzer,address,undefined $(DEFS) $(INC) -o build/fuzz/$$f tests/fuzz/$$f.c \
	    $$(sed -n 's/^ \* links: //p' tests/fuzz/$$f.c | sed 's#llhttp#/usr/share/llhttp/api.c /usr/share/llhttp/http.c /usr/share/llhttp/llhttp.c#') -Wno-everything || exit 1; \
	  build/fuzz/$$f -max_total_time=$(FUZZ_SECONDS) -print_final_stats=1 -artifact_prefix=build/fuzz/ build/fuzz/$$f.new tests/fuzz/corpus/$$f \
	    >build/fuzz/$$f.log 2>&1 || { tail -n 40 build/fuzz/$$f.log; exit 1; }; \
	  echo "$$f: $$(grep -E 'number_of_executed_units' build/fuzz/$$f.log)"; done
deps-fuzz: deps-build
	$(call need,clang libclang-rt-14-dev)

SHARE := $(DESTDIR)$(PREFIX)/share
.PHONY: install-files deb deps-service
install: all
	@$(MAKE) --no-print-directory install-files
install-files:
	install -d $(DESTDIR)$(PREFIX)/bin $(SHARE)/cchost/policies/tests $(SHARE)/cchost/examples/policies
	install -m 0755 cchost $(DESTDIR)$(PREFIX)/bin/cchost
	ln -sf cchost $(DESTDIR)$(PREFIX)/bin/ccc
	install -D -m 0755 $(O)/cchost-spawner $(DESTDIR)$(PREFIX)/lib/cchost/cchost-spawner
	install -m 0755 $(O)/cchost-launch $(DESTDIR)$(PREFIX)/lib/cchost/cchost-launch
	install -m 0644 $(wildcard examples/*.lua examples/*.js) $(SHARE)/cchost/examples
	install -m 0644 $(wildcard examples/policies/*.lua) $(SHARE)/cchost/examples/policies
	install -m 0644 $(wildcard policies/*.lua) policies/README.md $(SHARE)/cchost/policies
	install -m 0644 $(wildcard policies/tests/*.lua) $(SHARE)/cchost/policies/tests
	cp -R providers/image $(SHARE)/cchost/
	chmod -R u=rwX,go=rX $(SHARE)/cchost/image
	grep -rlZ '^#!' $(SHARE)/cchost/image | xargs -0 chmod 0755
	for page in $$(./cchost man); do install -d $(SHARE)/man/man$${page##*.} && ./cchost man $$page >$(SHARE)/man/man$${page##*.}/$$page || exit 1; done
	install -d $(SHARE)/bash-completion/completions $(SHARE)/zsh/vendor-completions
	./cchost completion bash >$(SHARE)/bash-completion/completions/cchost
	ln -sf cchost $(SHARE)/bash-completion/completions/ccc
	./cchost completion zsh >$(SHARE)/zsh/vendor-completions/_cchost

# build/cchost_VERSION_ARCH.deb: a Debian package, service and all (docs/service.md).
deb: deps-service
	@$(MAKE) --no-print-directory all
	@host/service/deb/build.sh build/cchost_$$(./cchost --version | cut -d' ' -f2)_$$(dpkg --print-architecture).deb

# An image of it, called cchost, by docker or what CONTAINER names (docs/service.md). BASE: another Debian 12.
CONTAINER ?= docker
.PHONY: container
container: deps-service
	@$(MAKE) --no-print-directory all
	@host/service/container/context.sh build/container
	$(CONTAINER) build -t cchost $(if $(BASE),--build-arg BASE=$(BASE)) -f build/container/Containerfile build/container

clean:
	rm -rf build cchost ccc

$(O)/bench_store: $(O)/tests/bench/bench_store.o $(O)/libcchost.a $(O)/carried.o
	@echo "  LINK $@"; $(CC) $(LDFLAGS) -o $@ $^ $(LIBS)
