package fs_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestOneFileUnderAllOperations does random operations on one file and on an
// array of bytes at once: reads and writes, by call and by mapping,
// truncations, holes, copies, closings; and compares all that is read. In
// between, uploads run, the directory is mounted anew and the cache is lost.
func TestOneFileUnderAllOperations(t *testing.T) {
	rounds, each, sizes := 20, 500, 3
	if long() {
		rounds, each, sizes = 200, 1000, 4
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	f := newFixture(t)
	model := filepath.Join(t.TempDir(), "model")
	f.write("f", nil)
	must(t, os.WriteFile(model, nil, 0o600))
	for round := range rounds {
		job := fsxJob{File: f.path("f"), Model: model, Seed: r.Uint64(), Ops: each, Most: 1 << (14 + 2*(round%sizes))}
		if out, err := job.start().CombinedOutput(); err != nil {
			t.Fatalf("round %d, %+v: %v\n%s", round, job, err, out)
		}
		switch round % 4 {
		case 0:
			f.remount()
		case 1:
			f.drain()
		case 2:
			f.drain()
			f.forgetCache()
		}
		want, err := os.ReadFile(model)
		must(t, err)
		f.wantContent("f", want)
	}
	must(t, os.Remove(f.path("f")))
	f.remount()
	if left := f.staged(); len(left) != 0 {
		t.Errorf("staged files left: %v", left)
	}
	t.Logf("%d operations", rounds*each)
}

// An fsxJob is what a process of its own does: one that serves the mount
// would wait for itself where it faults a page of a mapping in.
type fsxJob struct {
	File, Model string
	Seed        uint64
	Ops         int
	Most        int64 // bytes
}

func (j fsxJob) start() *exec.Cmd {
	b, _ := json.Marshal(j) // strings and numbers cannot fail
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "CHATFS_TEST_FSX="+string(b))
	return cmd
}

func runFsx(job string) error {
	var j fsxJob
	if err := json.Unmarshal([]byte(job), &j); err != nil {
		return err
	}
	want, err := os.ReadFile(j.Model)
	if err != nil {
		return err
	}
	x := &fsx{job: j, r: rand.New(rand.NewPCG(j.Seed, 1)), want: want, noise: make([]byte, 2<<20)}
	_, _ = rand.NewChaCha8([32]byte(binary.LittleEndian.AppendUint64(make([]byte, 24), j.Seed))).Read(x.noise) // never fails
	if err := x.run(); err != nil {
		return fmt.Errorf("%w; the last operations:\n%s", err, strings.Join(x.log[max(0, len(x.log)-25):], "\n"))
	}
	return os.WriteFile(j.Model, x.want, 0o600)
}

// fsx is the file and its model.
type fsx struct {
	job  fsxJob
	r    *rand.Rand
	file *os.File
	fd   int
	want []byte
	// noise is what is written: to make each write's anew takes long under
	// the race detector.
	noise []byte
	log   []string
}

func (x *fsx) run() error {
	if err := x.open(os.O_RDWR); err != nil {
		return err
	}
	ops := []func() error{x.read, x.read, x.write, x.write, x.write, x.append, x.mapRead, x.mapWrite, x.mapWrite, x.truncate, x.truncate,
		x.allocate, x.punch, x.zero, x.copyRange, x.reopen, x.sync, x.seek}
	for range x.job.Ops {
		if err := ops[x.r.IntN(len(ops))](); err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Fstat(x.fd, &st); err != nil || st.Size != int64(len(x.want)) {
			return fmt.Errorf("fstat: %d bytes (%w), want %d", st.Size, err, len(x.want))
		}
	}
	return x.file.Close()
}

func (x *fsx) open(flags int) (err error) {
	x.file, err = os.OpenFile(x.job.File, flags, 0)
	if err == nil {
		x.fd = int(x.file.Fd())
	}
	return err
}

func (x *fsx) did(format string, args ...any) { x.log = append(x.log, fmt.Sprintf(format, args...)) }

// span picks an offset and a length with end at most limit.
func (x *fsx) span(limit int64) (off, n int64) {
	if limit <= 0 {
		return 0, 0
	}
	off = x.r.Int64N(limit)
	return off, 1 + x.r.Int64N(min(limit-off, 1+limit/4))
}

func (x *fsx) size() int64 { return int64(len(x.want)) }

// grow makes the model at least n bytes long.
func (x *fsx) grow(n int64) {
	if n > x.size() {
		x.want = append(x.want, make([]byte, n-x.size())...)
	}
}

// bytes are cut from a piece of noise at a random place.
func (x *fsx) bytes(n int64) []byte {
	from := x.r.Int64N(int64(len(x.noise)) - n + 1)
	return bytes.Clone(x.noise[from : from+n])
}

func (x *fsx) compare(what string, got []byte, off int64) error {
	want := x.want[off : off+int64(len(got))]
	if bytes.Equal(got, want) {
		return nil
	}
	i := common(got, want)
	return fmt.Errorf("%s: differs at %d: %#x, want %#x", what, off+int64(i), got[i], want[i])
}

func (x *fsx) read() error {
	off, n := x.span(x.size())
	x.did("read %d+%d of %d", off, n, x.size())
	b := make([]byte, n)
	got, err := unix.Pread(x.fd, b, off)
	if err != nil || int64(got) != n {
		return fmt.Errorf("read gives %d: %w", got, err)
	}
	return x.compare("read", b, off)
}

func (x *fsx) write() error {
	off, n := x.span(x.job.Most)
	x.did("write %d+%d of %d", off, n, x.size())
	b := x.bytes(n)
	if got, err := unix.Pwrite(x.fd, b, off); err != nil || int64(got) != n {
		return fmt.Errorf("write gives %d: %w", got, err)
	}
	x.grow(off + n)
	copy(x.want[off:], b)
	return nil
}

// append writes by way of a second descriptor.
func (x *fsx) append() error {
	b := x.bytes(x.r.Int64N(min(1000, max(1, x.job.Most-x.size()))))
	x.did("append %d to %d", len(b), x.size())
	file, err := os.OpenFile(x.job.File, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	_, err = file.Write(b)
	x.want = append(x.want, b...)
	return errors.Join(err, file.Close())
}

// mapRead reads a mapping; behind the file's end its last page is zero.
func (x *fsx) mapRead() error {
	if x.size() == 0 {
		return nil
	}
	x.did("mapread of %d", x.size())
	page := int64(os.Getpagesize())
	m, err := unix.Mmap(x.fd, 0, int((x.size()+page-1)/page*page), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return err
	}
	err = x.compare("mapread", m[:x.size()], 0)
	if err == nil && len(bytes.Trim(m[x.size():], "\x00")) != 0 {
		err = fmt.Errorf("mapread: what is behind the end at %d is not zero", x.size())
	}
	return errors.Join(err, unix.Munmap(m))
}

func (x *fsx) mapWrite() error {
	off, n := x.span(x.size())
	if n == 0 {
		return nil
	}
	x.did("mapwrite %d+%d of %d", off, n, x.size())
	m, err := unix.Mmap(x.fd, 0, int(x.size()), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return err
	}
	copy(x.want[off:], x.bytes(n))
	copy(m[off:off+n], x.want[off:])
	if x.seldom() {
		err = unix.Msync(m, unix.MS_SYNC)
	}
	return errors.Join(err, unix.Munmap(m))
}

func (x *fsx) truncate() error {
	size := x.r.Int64N(x.job.Most)
	x.did("truncate %d to %d", x.size(), size)
	x.grow(size)
	x.want = x.want[:size]
	if x.r.IntN(2) == 0 {
		return unix.Truncate(x.job.File, size)
	}
	return unix.Ftruncate(x.fd, size)
}

func (x *fsx) fallocate(what string, mode uint32, off, n int64) (bool, error) {
	x.did("%s %#x %d+%d of %d", what, mode, off, n, x.size())
	err := unix.Fallocate(x.fd, mode, off, n)
	if errors.Is(err, unix.EOPNOTSUPP) { // the disk that staging is on cannot
		return false, nil
	}
	return err == nil, err
}

func (x *fsx) allocate() error {
	off, n := x.span(x.job.Most)
	mode := uint32(x.r.IntN(2)) * unix.FALLOC_FL_KEEP_SIZE
	ok, err := x.fallocate("allocate", mode, off, n)
	if ok && mode == 0 {
		x.grow(off + n)
	}
	return err
}

func (x *fsx) punch() error {
	off, n := x.span(x.job.Most)
	ok, err := x.fallocate("punch", unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, off, n)
	if ok {
		x.clear(off, off+n)
	}
	return err
}

func (x *fsx) zero() error {
	off, n := x.span(x.job.Most)
	mode := unix.FALLOC_FL_ZERO_RANGE | uint32(x.r.IntN(2))*unix.FALLOC_FL_KEEP_SIZE
	ok, err := x.fallocate("zero", mode, off, n)
	if ok && mode == unix.FALLOC_FL_ZERO_RANGE {
		x.grow(off + n)
	}
	if ok {
		x.clear(off, off+n)
	}
	return err
}

func (x *fsx) clear(from, to int64) {
	if from < x.size() {
		clear(x.want[from:min(to, x.size())])
	}
}

// copyRange copies within the file, to where it does not overlap.
func (x *fsx) copyRange() error {
	from, n := x.span(x.size())
	to := x.r.Int64N(x.job.Most)
	if n = min(n, x.job.Most-to); n <= 0 || from < to+n && to < from+n {
		return nil
	}
	x.did("copy %d+%d to %d of %d", from, n, to, x.size())
	for done := int64(0); done < n; {
		in, out := from+done, to+done
		got, err := unix.CopyFileRange(x.fd, &in, x.fd, &out, int(n-done), 0)
		if err != nil || got == 0 {
			return fmt.Errorf("copy_file_range gives %d: %w", got, err)
		}
		done += int64(got)
	}
	x.grow(to + n)
	copy(x.want[to:to+n], x.want[from:from+n])
	return nil
}

// reopen commits, and may let an upload take what was written.
func (x *fsx) reopen() error {
	x.did("reopen")
	if err := x.file.Close(); err != nil {
		return err
	}
	return x.open(os.O_RDWR)
}

// seldom is for what waits for the disk.
func (x *fsx) seldom() bool { return x.r.IntN(16) == 0 }

func (x *fsx) sync() error {
	if !x.seldom() {
		return nil
	}
	x.did("fsync")
	return unix.Fsync(x.fd)
}

// seek wants holes to be zero, and the end to be one.
func (x *fsx) seek() error {
	off, n := x.span(x.size())
	if n == 0 {
		return nil
	}
	x.did("seek from %d of %d", off, x.size())
	data, err := unix.Seek(x.fd, off, unix.SEEK_DATA)
	if errors.Is(err, unix.ENXIO) {
		data = x.size()
	} else if err != nil {
		return err
	}
	if hole := x.want[off:data]; len(bytes.Trim(hole, "\x00")) != 0 {
		return fmt.Errorf("SEEK_DATA from %d skips data up to %d", off, data)
	}
	hole, err := unix.Seek(x.fd, off, unix.SEEK_HOLE)
	if err != nil || hole < off || hole > x.size() {
		return fmt.Errorf("SEEK_HOLE from %d of %d gives %d: %w", off, x.size(), hole, err)
	}
	return nil
}
