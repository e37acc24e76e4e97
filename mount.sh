#!/usr/bin/env bash
# From a bare Debian with Go to a mounted directory:
#
#   ./mount.sh [FLAGS OF chatfs mount] DIR
#
# Installs fuse3 if it is missing, builds the command, makes DIR if it does
# not exist, and becomes "chatfs mount" with all arguments.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

export HOME=${HOME:-$(getent passwd "$EUID" | cut -d: -f6)}

say() { echo "mount.sh: $*" >&2; }
die() { say "$*"; exit 1; }

find_go() {
	local go
	for go in "$(command -v go || true)" /usr/local/go/bin/go /usr/lib/go/bin/go "$HOME/go/bin/go" "$HOME/sdk/go/bin/go"; do
		if [[ -n $go && -x $go ]]; then
			echo "$go"
			return
		fi
	done
	die "Go is missing: install it from https://go.dev/dl/ (it is looked for in PATH and /usr/local/go/bin)"
}

# as_root runs a command as root, through sudo for others.
as_root() {
	if [[ $EUID -eq 0 ]]; then
		"$@"
	else
		sudo "$@"
	fi
}

install_fuse() {
	command -v fusermount3 >/dev/null && return
	local how="install Debian's package fuse3 (apt-get install fuse3), then run this again"
	command -v apt-get >/dev/null || die "fusermount3 is missing and there is no apt-get: $how"
	if [[ $EUID -ne 0 ]]; then
		command -v sudo >/dev/null || die "fusermount3 is missing and there is no sudo: as root, $how"
		say "fuse3 is missing: installing it with sudo, which may ask for your password"
	else
		say "fuse3 is missing: installing it"
	fi
	as_root env DEBIAN_FRONTEND=noninteractive apt-get update -qq >&2 || say "apt-get update failed; trying with the lists that are there"
	as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends fuse3 >&2 ||
		die "apt-get could not install fuse3: $how"
	command -v fusermount3 >/dev/null || die "fuse3 is installed and fusermount3 still missing: is /usr/bin in PATH?"
}

check_device() {
	if [[ ! -e /dev/fuse ]]; then
		as_root modprobe fuse 2>/dev/null || true
		[[ -e /dev/fuse ]] || die "this machine has no /dev/fuse: load the kernel's module with sudo modprobe fuse (a container needs --device /dev/fuse --cap-add SYS_ADMIN)"
	fi
	[[ -r /dev/fuse && -w /dev/fuse ]] ||
		die "this user may not open /dev/fuse: run sudo chmod 666 /dev/fuse, or run this as root"
}

# check_mtab makes the link that Debian's installer makes and small containers
# lack. Without it fusermount3, which users mount by, can't unmount.
check_mtab() {
	[[ $EUID -ne 0 && ! -e /etc/mtab ]] || return 0
	say "/etc/mtab is missing, without which fusermount3 can't unmount: making it with sudo"
	as_root ln -s /proc/self/mounts /etc/mtab ||
		die "could not make it: as root, run ln -s /proc/self/mounts /etc/mtab, then run this again"
}

# check_machine refuses what go-fuse does not build for.
check_machine() {
	local arch
	arch=$("$1" env GOARCH)
	case $arch in
	386 | arm | mips | mipsle) die "chatfs needs a 64-bit machine; this Go builds for $arch" ;;
	esac
}

build() {
	local go=$1 bin=$2
	mkdir -p "$(dirname "$bin")"
	say "building chatfs"
	local stamp=auto # a checkout of another user's has no version to stamp
	git -C "$here" rev-parse HEAD >/dev/null 2>&1 || stamp=false
	(cd "$here" && "$go" build -buildvcs=$stamp -o "$bin" .) || die "the build failed"
}

if [[ $# -eq 0 ]]; then
	echo "usage: ./mount.sh [FLAGS] DIR   (./mount.sh --help lists the flags)" >&2
	exit 2
fi
help=
for arg; do
	[[ $arg == -h || $arg == --help ]] && help=1
done
go=$(find_go)
check_machine "$go"
bin=${XDG_CACHE_HOME:-$HOME/.cache}/chatfs-build/chatfs
if [[ -z $help ]]; then
	install_fuse
	check_device
	check_mtab
fi
build "$go" "$bin"
exec "$bin" mount --mkdir "$@"
