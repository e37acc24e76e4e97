#!/usr/bin/env bash
# From a bare Debian with Go to a passed test run:
#
#   ./test.sh [--long]
#
# Installs what the tests need and the machine lacks, checks formatting, runs
# go vet, staticcheck and all tests under the race detector, and then those
# that mount on one processor, where a deadlock between the tree and who uses
# it shows. --long runs the random tests for longer.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
export HOME=${HOME:-$(getent passwd "$EUID" | cut -d: -f6)}

say() { echo "test.sh: $*"; }
die() { echo "test.sh: $*" >&2; exit 1; }

# What the tests run, and the package that has it.
needs=(
	fusermount3:fuse3 rsync:rsync getfattr:attr getfacl:acl curl:curl git:git
	sqlite3:sqlite3 vim.tiny:vim-tiny nano:nano zip:zip unzip:unzip tar:tar cpio:cpio
	gcc:gcc # the race detector is C
	gio:libglib2.0-bin python3:python3
	setpriv:util-linux unshare:util-linux script:bsdutils ps:procps
)

find_go() {
	local go
	for go in "$(command -v go || true)" /usr/local/go/bin/go /usr/lib/go/bin/go "$HOME/go/bin/go" "$HOME/sdk/go/bin/go"; do
		if [[ -n $go && -x $go ]]; then
			echo "$go"
			return
		fi
	done
	die "Go is missing: install it from https://go.dev/dl/"
}

as_root() {
	if [[ $EUID -eq 0 ]]; then
		"$@"
	else
		sudo "$@"
	fi
}

install_needs() {
	local need missing=()
	for need in "${needs[@]}"; do
		command -v "${need%%:*}" >/dev/null || missing+=("${need##*:}")
	done
	[[ -e /usr/include/stdio.h ]] || missing+=(libc6-dev)
	[[ ${#missing[@]} -eq 0 ]] && return
	say "installing ${missing[*]}"
	command -v apt-get >/dev/null || die "no apt-get here: install ${missing[*]} and run this again"
	as_root env DEBIAN_FRONTEND=noninteractive apt-get update -qq || say "apt-get update failed; trying with the lists that are there"
	as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null ||
		die "could not install ${missing[*]}"
}

check_format() {
	local bad
	bad=$(find . -name '*.go' -not -path './.git/*' -exec "$gofmt" -l {} +)
	[[ -z $bad ]] || die "not formatted (gofmt -w would do it): $bad"
}

long=
for arg; do
	case $arg in
	--long) long=1 ;;
	*) die "usage: ./test.sh [--long]" ;;
	esac
done

started=$SECONDS
install_needs
go=$(find_go)
gofmt=$(dirname "$(readlink -f "$go")")/gofmt
export PATH="$(dirname "$go"):$PATH"
[[ -z $long ]] || export CHATFS_TEST_LONG=1
timeout=$([[ -n $long ]] && echo 60m || echo 5m)

say "formatting"
check_format
say "go vet"
"$go" vet ./...
say "staticcheck"
"$go" tool staticcheck ./...
say "go test -race"
"$go" test -race -timeout "$timeout" -parallel 4 ./...
say "go test of the mounted tree, on one processor, without prefetch and passthrough"
GOMAXPROCS=1 CHATFS_TEST_PLAIN=1 "$go" test -count=1 -timeout "$timeout" ./fs/...
say "passed in $((SECONDS - started)) s"
