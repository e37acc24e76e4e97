package fs_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"chatfs/fs"
	"chatfs/index"
	"chatfs/internal/blob"
	"chatfs/internal/fusetest"
	"chatfs/internal/transfer"
	"chatfs/remote"
	"chatfs/remote/service"
)

func TestMain(m *testing.M) {
	syscall.Umask(0)
	if path := os.Getenv("CHATFS_TEST_MAP"); path != "" {
		if err := mapAndWrite(path); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	if os.Getenv("CHATFS_TEST_ACTOR") != "" {
		if err := act(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	if job := os.Getenv("CHATFS_TEST_FSX"); job != "" {
		if err := runFsx(job); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	if what := os.Getenv("CHATFS_TEST_SIGNALS"); what != "" {
		if err := doUnderSignals(what, os.Getenv("CHATFS_TEST_FILE")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	if kind := os.Getenv("CHATFS_TEST_LOCK"); kind != "" {
		os.Exit(lockAndExit(kind, os.Getenv("CHATFS_TEST_FILE")))
	}
	if dir := os.Getenv("CHATFS_TEST_DISK"); dir != "" {
		if err := serveDisk(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// long tells whether there is time for more than a change's own tests.
func long() bool { return os.Getenv("CHATFS_TEST_LONG") != "" }

// plain has the tests run without what only makes the tree faster.
var plain = os.Getenv("CHATFS_TEST_PLAIN") != ""

// A fixture is a service and a profile, mounted and remounted as a test
// likes: real HTTP, a real index, a real mount.
type fixture struct {
	t       testing.TB
	Dir     string // the mount point
	state   string
	cache   string
	service *service.Service
	client  *remote.Client
	faults  *service.Faults
	log     *logrus.Entry
	boot    string        // of the machine; "" is the real one's
	booted  time.Time     // when; zero is when it really was
	commits time.Duration // of the index, by themselves; zero is the usual

	index    *index.Index
	blobs    *blob.Store
	transfer *transfer.Transfer
	server   *fs.Server
	serving  atomic.Pointer[fs.Server]
	panics   atomic.Int32

	// Adjust changes the configuration of the next mount.
	Adjust func(*fs.Config, *transfer.Config)
}

func newFixture(t testing.TB, adjust ...func(*fs.Config, *transfer.Config)) *fixture {
	t.Helper()
	fusetest.Guard(t)
	base := t.TempDir()
	f := &fixture{t: t, Dir: filepath.Join(base, "mnt"), state: filepath.Join(base, "state"), cache: filepath.Join(base, "cache")}
	f.Adjust = func(c *fs.Config, x *transfer.Config) {
		for _, a := range adjust {
			a(c, x)
		}
	}
	must(t, os.Mkdir(f.Dir, 0o755))
	logger := logrus.New()
	logger.SetOutput(testWriter{t})
	logger.SetLevel(logrus.WarnLevel)
	f.log = logrus.NewEntry(logger)
	f.startService(base)
	f.mount()
	t.Cleanup(f.close)
	return f
}

type testWriter struct{ t testing.TB }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Log(strings.TrimSpace(string(p)))
	return len(p), nil
}

func (f *fixture) startService(base string) {
	f.t.Helper()
	var err error
	f.faults, err = service.ParseFaults("cut=0", 1) // none yet
	must(f.t, err)
	f.service, err = service.Start(service.Config{Dir: filepath.Join(base, "service"), Org: "org", App: "app", Faults: f.faults, Log: f.log})
	must(f.t, err)
	id, secret := f.service.Credentials()
	f.client, err = remote.New(remote.Config{Base: f.service.Base(), ClientID: id, ClientSecret: secret, MaxRPS: -1, Version: "test", Log: f.log})
	must(f.t, err)
}

func (f *fixture) mount() {
	f.t.Helper()
	var err error
	f.blobs, err = blob.Open(blob.Options{StateDir: f.state, CacheDir: f.cache, Booted: f.booted, Log: f.log})
	must(f.t, err)
	f.index, err = index.Open(f.state, index.Options{Log: f.log, SyncStaged: f.syncStaged, SumStaged: f.sumStaged, BootID: f.boot, CommitInterval: f.commits})
	must(f.t, err)
	xc := transfer.Config{Index: f.index, Blobs: f.blobs, Remote: f.client, Settle: 10 * time.Millisecond, Thumbs: true, Log: f.log,
		Changed: func(ino index.Ino) {
			if server := f.serving.Load(); server != nil {
				server.Changed(ino)
			}
		}}
	if !plain {
		xc.Prefetch = 64 << 20
	}
	fc := fs.Config{Index: f.index, Blobs: f.blobs, FsName: "chatfs", URL: f.client.URL, Log: f.log, Panicked: func(v any) {
		f.panics.Add(1)
		f.log.Errorf("panic: %v\n%s", v, debug.Stack())
	}}
	fc.Passthrough = !plain
	f.Adjust(&fc, &xc)
	f.transfer = transfer.New(xc)
	fc.Transfer = f.transfer
	must(f.t, f.transfer.Start())
	f.server, err = fs.Mount(f.Dir, fc)
	must(f.t, err)
	f.serving.Store(f.server)
}

func (f *fixture) sumStaged(id index.StagedID, size int64) (uint32, error) {
	return f.blobs.SumStaged(uint64(id), size)
}

func (f *fixture) syncStaged(ids []index.StagedID) error {
	raw := make([]uint64, len(ids))
	for i, id := range ids {
		raw[i] = uint64(id)
	}
	return f.blobs.SyncStaged(raw)
}

// unmount ends the mount and closes the profile; what is queued stays.
func (f *fixture) unmount() {
	f.t.Helper()
	if f.server == nil {
		return
	}
	fusetest.Eventually(f.t, "unmount", func() error { return f.server.Unmount() })
	f.server.Wait()
	f.closeProfile()
}

// closeProfile closes what the mount worked on, which has ended.
func (f *fixture) closeProfile() {
	f.t.Helper()
	f.server = nil
	must(f.t, f.transfer.Close())
	must(f.t, f.index.Close())
	must(f.t, f.blobs.Close())
	if n := f.panics.Load(); n > 0 {
		f.t.Errorf("%d operations panicked", n)
	}
}

func (f *fixture) close() {
	f.unmount()
	must(f.t, f.client.Close())
	must(f.t, f.service.Shutdown(context.Background()))
}

func (f *fixture) remount() {
	f.t.Helper()
	f.unmount()
	f.mount()
}

// forgetCache removes every cached content, so that the next read asks the
// service.
func (f *fixture) forgetCache() {
	f.t.Helper()
	f.unmount()
	must(f.t, os.RemoveAll(f.cache))
	f.mount()
}

// drain waits until everything is uploaded.
func (f *fixture) drain() {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), fusetest.Patience)
	defer cancel()
	must(f.t, f.transfer.Drain(ctx, nil))
}

// waitForSpares returns once all files that are made ahead are open.
func (f *fixture) waitForSpares() {
	fusetest.Eventually(f.t, "files made ahead", func() error {
		fds, err := os.ReadDir("/proc/self/fd")
		n := 0
		for _, fd := range fds {
			if to, err := os.Readlink("/proc/self/fd/" + fd.Name()); err == nil && strings.HasPrefix(to, filepath.Join(f.state, "staging")) {
				n++
			}
		}
		if n < blob.SpareCount {
			err = errors.Join(err, fmt.Errorf("%d", n))
		}
		return err
	})
}

// staged lists the staged files.
func (f *fixture) staged() []string {
	f.t.Helper()
	left, err := filepath.Glob(filepath.Join(f.state, "staging", "*"))
	must(f.t, err)
	return left
}

func (f *fixture) path(elem ...string) string {
	return filepath.Join(append([]string{f.Dir}, elem...)...)
}

func (f *fixture) write(name string, content []byte) {
	f.t.Helper()
	must(f.t, os.WriteFile(f.path(name), content, 0o644))
}

func (f *fixture) wantContent(name string, want []byte) {
	f.t.Helper()
	got, err := os.ReadFile(f.path(name))
	must(f.t, err)
	if string(got) != string(want) {
		f.t.Errorf("%s: %d bytes, want %d; equal up to %d", name, len(got), len(want), common(got, want))
	}
}

func common(a, b []byte) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	return min(len(a), len(b))
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantErrno(t testing.TB, what string, err error, want syscall.Errno) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: %v, want %v", what, err, want)
	}
}

// pattern is content that differs at each offset and for each seed.
func pattern(seed, size int) []byte {
	b := make([]byte, size)
	x := uint32(seed)*2654435761 + 1
	for i := range b {
		x ^= x << 13
		x ^= x >> 17
		x ^= x << 5
		b[i] = byte(x)
	}
	return b
}

func entries(t testing.TB, dir string) string {
	t.Helper()
	list, err := os.ReadDir(dir)
	must(t, err)
	var names []string
	for _, e := range list {
		names = append(names, e.Name())
	}
	return fmt.Sprint(names)
}
