#!/usr/bin/env bash
# From a bare Debian with Go to a passed test run:
#
#   ./test.sh [--long]
#
# Installs what the tests need and the machine lacks, checks formatting, runs
# go vet, staticcheck and all tests under the race detector, and then those
# that mount on one processor, where a deadlock between the tree and who uses
# it shows. Root has the last, and the end-to-end tests once more, run by an
# ordinary user. What only root can test is told at the end, in a line each.
# --long runs the random tests for longer.
#
# All that the tests make is below one directory in TMPDIR. A mount, process or
# file that they leave there fails the run; all of it is gone at its end,
# however that comes: Ctrl-C, or the bound of time that ends what hangs.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
export HOME=${HOME:-$(getent passwd "$EUID" | cut -d: -f6)}

say() { echo "test.sh: $*"; }
die() { echo "test.sh: $*" >&2; exit 1; }

# What the tests run, and the package that has it.
needs=(
	fusermount3:fuse3 rsync:rsync getfattr:attr getfacl:acl curl:curl git:git
	sqlite3:sqlite3 vim.tiny:vim-tiny nano:nano zip:zip unzip:unzip tar:tar
	cpio:cpio gcc:gcc # the race detector is C
	gio:libglib2.0-bin update-mime-database:shared-mime-info python3:python3
	setpriv:util-linux unshare:util-linux script:bsdutils ps:procps mount:mount
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

# enclose makes the one directory of this run. It is short, as paths of sockets
# have a bound, and open, as tests act as other users.
enclose() {
	work=$(readlink -f "$(mktemp -d "${TMPDIR:-/tmp}/chatfs-XXXXXX")")
	trap tidy EXIT
	trap 'exit 129' HUP
	trap 'exit 130' INT
	trap 'exit 143' TERM
	export TMPDIR=$work/t CHATFS_TEST_UNTESTED=$work/untested
	mkdir "$TMPDIR" "$work/bin" "$work/home"
	: >"$CHATFS_TEST_UNTESTED"
	chmod 755 "$work" "$work/bin"
	chmod 1777 "$TMPDIR"
	chmod 666 "$CHATFS_TEST_UNTESTED"
}

# ours lists the processes of this run: those that have its TMPDIR. Those of a
# pipe that looks for them must not, so it is a subshell's that keeps it back.
ours() (
	export -n TMPDIR
	grep -lzxF "TMPDIR=$TMPDIR" /proc/[0-9]*/environ 2>/dev/null | cut -d/ -f3 || true
)

# mounted lists the mounts of this run, in the namespaces of its processes too:
# the connection's number and the place.
mounted() (
	export -n TMPDIR
	for pid in self $(ours); do
		cat "/proc/$pid/mountinfo" 2>/dev/null || true # it may have ended
	done | awk -v below="$TMPDIR/" 'index($5, below) == 1 {sub(".*:", "", $3); print $3, $5}' | sort -u -r -k 2
)

# left tells what there is of this run.
left() {
	local pid mounts
	mounts=$(mounted)
	[[ -z $mounts ]] || sed 's/^[0-9]* /mount /' <<<"$mounts"
	for pid in $(ours); do
		echo "process $pid $(tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null || true)"
	done
	[[ -n $mounts ]] || find "$TMPDIR" -mindepth 1 -printf 'file %p\n' | head -n 20
}

# expect_nothing fails the run where something of it is left. What was told to
# end has a while for it.
expect_nothing() {
	local what end=$((SECONDS + 60))
	while what=$(left); [[ -n $what ]]; do
		((SECONDS < end)) || die "the tests left behind"$'\n'"$what"
		sleep 0.2
	done
}

# abort has the kernel give up the connections of the run's mounts: who waits
# for one that hangs can't be ended else.
abort() {
	local ids
	ids=$(mounted | cut -d' ' -f1)
	[[ -n $ids ]] || return 0
	as_root unshare -m sh -c 'dir=/sys/fs/fuse/connections
mountpoint -q $dir || mount -t fusectl none $dir
for id; do [ ! -e $dir/$id ] || echo 1 >$dir/$id/abort; done' sh $ids
}

# tidy is the end of the run, however it comes: nothing of it stays.
tidy() {
	local status=$? pid id dir
	trap - EXIT
	trap '' HUP INT TERM
	set +e # nothing that fails here may keep the rest
	abort
	for _ in {1..50}; do
		pid=$(ours)
		[[ -n $pid ]] || break
		kill -KILL $pid 2>/dev/null
		sleep 0.1
	done
	mounted | while read -r id dir; do
		if [[ $EUID -eq 0 ]]; then umount -l "$dir"; else fusermount3 -u -z "$dir"; fi
	done
	chmod -R u+rwX "$work" 2>/dev/null # directories that a test made unwritable
	rm -rf --one-file-system "$work"
	exit "$status"
}

# run does one step, with the signals as a terminal has them whoever called this
# script. What has not ended at the bound of the whole run never will.
run() {
	local job
	set -m
	env --default-signal=HUP,INT,QUIT,TERM,PIPE "$@" </dev/null &
	job=$!
	set +m
	while [[ -n $(jobs -r) ]]; do
		((SECONDS < bound)) || die "not at its end after $((bound / 60)) minutes; these hang:"$'\n'"$(left)"
		sleep 0.3
	done
	wait "$job"
}

# as_user is the script by which root has an ordinary user run tests, in a mount
# namespace of its own: where /dev/fuse is open to all, as Debian has it outside
# of containers, and Go can be read, which may be in root's home.
as_user='
mkdir -p "$HOME"/{go,mod}
mount --bind "$GOROOT" "$HOME/go"
mount --bind "$GOMODCACHE" "$HOME/mod"
if [[ $(stat -c %a /dev/fuse) != 666 ]]; then
	mkdir "$HOME/dev"
	mount -t tmpfs none "$HOME/dev"
	mknod -m 666 "$HOME/dev/fuse" c 10 229
	mount --bind "$HOME/dev/fuse" /dev/fuse
fi
export GOROOT=$HOME/go GOMODCACHE=$HOME/mod PATH=$HOME/go/bin:$PATH
user() { (cd "$HOME/chatfs/$1"; shift; setpriv --reuid 65534 --regid 65534 --clear-groups "$@"); }
echo "test.sh: the end-to-end tests as an ordinary user"
user e2e e2e.test -test.timeout "$timeout" -test.parallel 4
echo "test.sh: the mounted tree on one processor as an ordinary user, without prefetch and passthrough"
user fs env GOMAXPROCS=1 CHATFS_TEST_PLAIN=1 fs.test -test.timeout "$timeout"
! grep -F " $TMPDIR/" /proc/self/mountinfo # what is left mounted'

# test_as_user does for root what an ordinary user has done by then.
test_as_user() {
	mkdir "$work/home/chatfs"
	tar --exclude=.git -cf - . | tar -C "$work/home/chatfs" -xf -
	"$go" build -race -o "$work/bin/chatfs" .
	"$go" test -race -c -o "$work/bin/e2e.test" ./e2e
	"$go" test -c -o "$work/bin/fs.test" ./fs
	chown -R 65534:65534 "$work/home"
	run env HOME="$work/home" USER=nobody GOROOT="$("$go" env GOROOT)" GOMODCACHE="$("$go" env GOMODCACHE)" \
		GOFLAGS=-buildvcs=false GOPROXY=off GOTOOLCHAIN=local PATH="$work/bin:$PATH" CHATFS_TEST_COMMAND="$work/bin/chatfs" \
		timeout="$timeout" unshare -m bash -euo pipefail -c "$as_user"
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
# Nothing that goes on runs into these.
timeout=$([[ -n $long ]] && echo 3h || echo 40m)
bound=$((SECONDS + ($([[ -n $long ]] && echo 12 || echo 2) * 3600)))
# A checkout of another user's has no version to stamp.
git rev-parse HEAD >/dev/null 2>&1 || export GOFLAGS="${GOFLAGS:-} -buildvcs=false"
enclose

say "formatting"
check_format
say "go vet"
run "$go" vet ./...
say "staticcheck"
run "$go" tool staticcheck ./...
say "go test -race"
run "$go" test -race -timeout "$timeout" -parallel 4 ./...
if [[ $EUID -eq 0 ]]; then
	test_as_user
else
	say "the mounted tree on one processor, without prefetch and passthrough"
	run env GOMAXPROCS=1 CHATFS_TEST_PLAIN=1 "$go" test -count=1 -timeout "$timeout" ./fs/...
fi
expect_nothing
sort -u "$CHATFS_TEST_UNTESTED" | sed 's/^/test.sh: not tested: /'
say "passed in $((SECONDS - started)) s"
