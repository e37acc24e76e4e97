package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// A workload is a step of a round. Steps come in the table's order and use
// what earlier ones copied in, or copy it in unmeasured.
type workload struct {
	name    string
	help    string
	service bool // only where there is one
	slow    bool // of interest with --latency
	do      func(*run) error
}

func (w *workload) label() string { return w.name }

var workloads = []*workload{
	{"small", "cp -r of 500 files of 4 KiB, and their uploads", false, true, func(r *run) error { return r.copyIn(small, "small") }},
	{"large", "cp of 20 files of 9.5 MiB, and their uploads", false, true, func(r *run) error { return r.copyIn(large, "large") }},
	{"cold", "read the large files one after the other, none of them on the disk", true, true, cold},
	{"first", "first byte of large files in random order, none of them on the disk", true, true, first},
	{"chain", "read 1,000 files of 4 KiB one after the other, none of them on the disk", true, true, chain},
	{"warm", "read the large files from the disk, and once more", false, false, warm},
	{"random", "read 4 KiB at random places of the large files, from the disk", false, false, random},
	{"rsync", "rsync -a of 1,000 files in 50 folders, and again, and after a remount", false, false, rsync},
	{"list", "ls -lR after a remount, and again", false, false, list},
	{"names", "create, rename and unlink 2,000 files", false, false, changeNames},
}

// A set is files that are copied in.
type set struct {
	name    string
	folders int
	files   int // in each
	size    int
}

var (
	small = set{"small", 1, 500, 4 << 10}
	large = set{"large", 1, 20, 9728 << 10}
	many  = set{"many", 1, 1000, 4 << 10}
	tree  = set{"tree", 50, 20, 4 << 10}
)

func (s set) count() float64 { return float64(s.folders * s.files) }

func (s set) mib() float64 { return s.count() * float64(s.size) / (1 << 20) }

// makeSource writes the sets, of random bytes, so that no two are equal.
func makeSource(dir string) error {
	var seed [32]byte
	random := rand.NewChaCha8(seed)
	for _, s := range []set{small, large, many, tree} {
		buf := make([]byte, s.size)
		for i := range s.folders {
			folder := filepath.Join(dir, s.name)
			if s.folders > 1 {
				folder = filepath.Join(folder, fmt.Sprintf("folder-%02d", i))
			}
			if err := os.MkdirAll(folder, 0o755); err != nil {
				return err
			}
			for j := range s.files {
				random.Read(buf)
				if err := os.WriteFile(filepath.Join(folder, fmt.Sprintf("file-%04d.bin", j)), buf, 0o644); err != nil {
					return err
				}
			}
		}
	}
	unix.Sync() // its writing back shall not fall into what is measured
	return nil
}

// seconds times f.
func seconds(f func() error) (float64, error) {
	began := time.Now()
	err := f()
	return time.Since(began).Seconds(), err
}

// copyIn copies a set in with cp, and waits until it is at the service.
func (r *run) copyIn(s set, metric string) error {
	amount := s.count()
	if metric == "large" {
		amount = s.mib()
	}
	took, err := seconds(func() error { _, err := r.command("cp", "-r", filepath.Join(r.src, s.name), r.in()); return err })
	if err != nil {
		return err
	}
	more, err := seconds(r.m.settle)
	if err != nil {
		return err
	}
	r.made[s.name] = true
	r.record(metric+" written", amount/took)
	if r.t.service {
		r.record(metric+" uploaded", amount/(took+more))
	}
	return nil
}

// need copies a set in unless that was done.
func (r *run) need(s set) error {
	if r.made[s.name] {
		return nil
	}
	record := r.record
	r.record = func(string, float64) {}
	defer func() { r.record = record }()
	return r.copyIn(s, s.name)
}

// files lists a set's files within the target, by name.
func (r *run) files(s set) (list []string) {
	for j := range s.files {
		list = append(list, r.in(s.name, fmt.Sprintf("file-%04d.bin", j)))
	}
	return list
}

func readAll(paths []string) error {
	buf := make([]byte, 128<<10)
	for _, p := range paths {
		f, err := os.Open(p)
		if err != nil {
			return err
		}
		_, err = io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{f}, buf)
		f.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

func cold(r *run) error {
	err := errors.Join(r.need(large), r.m.remount(true))
	if err != nil {
		return err
	}
	took, err := seconds(func() error { return readAll(r.files(large)) })
	r.record("cold read", large.mib()/took)
	return err
}

// firstBytes is how many files first opens.
const firstBytes = 7

func first(r *run) error {
	err := errors.Join(r.need(large), r.m.remount(true))
	if err != nil {
		return err
	}
	files := r.files(large)
	rand.Shuffle(len(files), func(i, j int) { files[i], files[j] = files[j], files[i] })
	var took []float64
	for _, p := range files[:firstBytes] {
		t, err := firstByte(p)
		if err != nil {
			return err
		}
		took = append(took, t*1000)
	}
	r.record("first byte", median(took))
	return nil
}

// firstByte times the first byte of a file, and reads the rest of it, so that
// its download is over when the next one begins.
func firstByte(path string) (took float64, err error) {
	var f *os.File
	took, err = seconds(func() error {
		if f, err = os.Open(path); err != nil {
			return err
		}
		_, err = io.ReadFull(f, make([]byte, 1))
		return err
	})
	if f == nil {
		return took, err
	}
	defer f.Close()
	if err == nil {
		_, err = io.Copy(io.Discard, f)
	}
	return took, err
}

func chain(r *run) error {
	err := errors.Join(r.need(many), r.m.remount(true))
	if err != nil {
		return err
	}
	took, err := seconds(func() error { return readAll(r.files(many)) })
	r.record("cold chain", many.count()/took)
	return err
}

// fetched has the large files on the disk and nothing of them in memory.
func (r *run) fetched() error {
	err := r.need(large)
	if err == nil {
		err = readAll(r.files(large))
	}
	return errors.Join(err, r.dropPages())
}

func warm(r *run) error {
	if err := r.fetched(); err != nil {
		return err
	}
	for _, metric := range []string{"warm read", "hot read"} {
		took, err := seconds(func() error { return readAll(r.files(large)) })
		if err != nil {
			return err
		}
		r.record(metric, large.mib()/took)
	}
	return nil
}

// dropPages writes the target's data and the large files back and drops them
// from memory, and only them: other programs keep theirs, and to open others of
// the target's files might set it to work.
func (r *run) dropPages() error {
	paths := r.files(large)
	for _, dir := range r.m.data() {
		err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
			if err == nil && e.Type().IsRegular() {
				paths = append(paths, path)
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	for _, path := range paths {
		if err := dropFile(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

func dropFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	_ = unix.Fdatasync(int(f.Fd())) // a mount may refuse; its bytes are on the disk by now
	return unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
}

// randomReads is how many places random reads.
const randomReads = 4000

func random(r *run) error {
	if err := r.fetched(); err != nil {
		return err
	}
	var open []*os.File
	defer func() {
		for _, f := range open {
			f.Close()
		}
	}()
	for _, p := range r.files(large) {
		f, err := os.Open(p)
		if err != nil {
			return err
		}
		if err := unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_RANDOM); err != nil {
			return err
		}
		open = append(open, f)
	}
	places := rand.New(rand.NewPCG(1, 2)) // the same for all targets
	buf := make([]byte, 4<<10)
	took, err := seconds(func() error {
		for range randomReads {
			if _, err := open[places.IntN(len(open))].ReadAt(buf, int64(places.IntN(large.size/len(buf)))*int64(len(buf))); err != nil {
				return err
			}
		}
		return nil
	})
	r.record("random reads", randomReads/took)
	return err
}

func rsync(r *run) error {
	touched := 0
	copyTree := func() error {
		out, err := r.command("rsync", "-a", "--itemize-changes", filepath.Join(r.src, tree.name)+"/", r.in(tree.name))
		touched = strings.Count(out, "\n")
		return err
	}
	took, err := seconds(copyTree)
	if err != nil {
		return err
	}
	r.made[tree.name] = true
	r.record("rsync", took)
	if err := copyTree(); err != nil {
		return err
	}
	r.record("rsync again", float64(touched))
	if err := errors.Join(r.m.settle(), r.m.remount(false)); err != nil {
		return err
	}
	err = copyTree()
	r.record("rsync remounted", float64(touched))
	return err
}

func list(r *run) error {
	err := errors.Join(r.need(tree), r.need(small), r.need(many), r.m.remount(false))
	if err != nil {
		return err
	}
	for _, metric := range []string{"listing remounted", "listing again"} {
		var out string
		took, err := seconds(func() (err error) { out, err = r.command("ls", "-lR", r.in()); return err })
		if err != nil {
			return err
		}
		r.record(metric, float64(strings.Count(out, "\n"))/took)
	}
	return nil
}

// nameCount is how many files changeNames makes.
const nameCount = 2000

func changeNames(r *run) error {
	dir := r.in("names")
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	name := func(kind string, i int) string { return filepath.Join(dir, fmt.Sprintf("%s-%04d", kind, i)) }
	for _, op := range []struct {
		metric string
		do     func(i int) error
	}{
		{"create", func(i int) error {
			f, err := os.Create(name("old", i))
			if err == nil {
				err = f.Close()
			}
			return err
		}},
		{"rename", func(i int) error { return os.Rename(name("old", i), name("new", i)) }},
		{"unlink", func(i int) error { return unix.Unlink(name("new", i)) }},
	} {
		took, err := seconds(func() error {
			for i := range nameCount {
				if err := op.do(i); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		r.record(op.metric, nameCount/took)
	}
	return nil
}

func median(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(v))
	if n := len(s); n%2 == 0 {
		return (s[n/2-1] + s[n/2]) / 2
	}
	return s[len(s)/2]
}
