# SPDX-License-Identifier: MIT
# Functions for suites that boot a Debian kernel under QEMU. Needs REPRISE_BUILD and REPRISE_ROOT.
# What is downloaded stays in the build folder's guest/, and is used again without a network.

guest=$REPRISE_BUILD/guest
mkdir -p "$guest"

# An apt of its own for another architecture, so that the system's lists stay as they are.
guest_apt() { # ARCH TOOL ARGUMENTS...
	guest_arch=$1 guest_tool=$2
	shift 2
	guest_state=$guest/apt-$guest_arch
	mkdir -p "$guest_state/lists/partial" "$guest_state/cache/archives/partial"
	guest_list=/etc/apt/sources.list
	[ -s /etc/apt/sources.list.d/debian.sources ] && guest_list=/etc/apt/sources.list.d/debian.sources
	timeout 180 "$guest_tool" -q -o Dir::State::lists="$guest_state/lists" \
		-o Dir::Cache="$guest_state/cache" -o Dir::State::status=/dev/null \
		-o APT::Architecture="$guest_arch" -o APT::Architectures="$guest_arch" \
		-o Dir::Etc::SourceList="$guest_list" -o Dir::Etc::SourceParts=/dev/null \
		-o Acquire::Languages=none -o APT::Update::Post-Invoke-Success= \
		-o APT::Update::Error-Mode=any -o Acquire::Retries=3 -o Acquire::http::Timeout=30 -o APT::Sandbox::User=root "$@"
}

guest_download() { # ARCH PACKAGE
	(cd "$guest/unpack-$1" && guest_apt "$1" apt-get download "$2")
}

# Three times, for a network that hiccups; each is bounded.
guest_try() { # WHAT COMMAND...
	guest_what=$1
	shift
	for guest_pause in 5 20 0; do
		"$@" >"$guest/apt.log" 2>&1 && return 0
		sleep $guest_pause
	done
	echo "the $guest_what failed:" >&2
	tail -5 "$guest/apt.log" >&2
	return 1
}

# The path of the newest kernel image whose package's name matches a pattern, on stdout.
guest_kernel() { # ARCH NAME PATTERN
	guest_image=$guest/vmlinuz-$2-$1
	if [ ! -s "$guest_image" ]; then
		guest_try "update for $1" guest_apt "$1" apt-get update || return 1
		guest_package=$(guest_apt "$1" apt-cache pkgnames linux-image- | grep -E "^linux-image-$3\$" |
			sort -V | tail -1)
		[ -n "$guest_package" ] || { echo "no package linux-image-$3 for $1" >&2; return 1; }
		rm -rf "$guest/unpack-$1"
		mkdir -p "$guest/unpack-$1"
		guest_try "download of $guest_package" guest_download "$1" "$guest_package" || return 1
		dpkg-deb -x "$guest/unpack-$1"/*.deb "$guest/unpack-$1/root" || return 1
		mv "$guest/unpack-$1"/root/boot/vmlinuz-* "$guest_image" || return 1
		rm -rf "$guest/unpack-$1"
		echo "$guest_package" >"$guest_image.package"
	fi
	echo "$guest_image"
}

# A static build of the test programs for another processor.
guest_programs() { # ARCH COMPILER FOLDER
	mkdir -p "$3"
	for guest_program in "call-rules main.c rows.c rows_child.c rows_set.c outcome.c world.c" \
		"call-random random.c outcome.c world.c" "call-guest-init guest_init.c"; do
		set -- "$1" "$2" "$3"
		guest_name=${guest_program%% *}
		for guest_file in ${guest_program#* }; do
			set -- "$@" "$REPRISE_ROOT/tests/call/$guest_file"
		done
		guest_cpu=$1 guest_cc=$2 guest_to=$3
		shift 3
		"$guest_cc" -std=gnu17 -D_GNU_SOURCE -O2 -static -I"$REPRISE_ROOT/include" \
			-I"$REPRISE_ROOT/src" "$@" "$REPRISE_ROOT"/src/call/*.c \
			"$REPRISE_ROOT/src/call/arch/$guest_cpu/clone_extended.S" \
			-o "$guest_to/$guest_name" || return 1
		set -- "$guest_cpu" "$guest_cc" "$guest_to"
	done
}

# An initramfs of a folder.
guest_initramfs() { # FOLDER FILE
	(cd "$1" && find . | cpio --quiet -o -H newc) | gzip -1 >"$2"
}

# Boots, with a limit, and prints what the guest says.
guest_boot() { # LIMIT QEMU ARGUMENTS...
	guest_limit=$1
	shift
	timeout -k 5 "$guest_limit" "$@" -nodefaults -display none -no-reboot -serial stdio </dev/null
	guest_status=$?
	[ $guest_status = 124 ] && echo "FAIL the guest was still running after $guest_limit s"
	return $guest_status
}

# Adds up the counts in a log of the guest; every program must have said one.
guest_count() { # LOG PROGRAMS
	awk -v want="$2" '
		/^[0-9]+ passed, [0-9]+ failed/ { p += $1; f += $3; said++ }
		/^FAIL/ { print }
		END {
			if (said != want) {
				print "FAIL " said + 0 " of " want " programs in the guest came to an end"
				f++
			}
			print p + 0 " passed, " f + 0 " failed, 0 skipped"
			exit f > 0
		}' "$1"
}
