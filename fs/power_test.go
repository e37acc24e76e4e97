package fs_test

import (
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"chatfs/fs"
	"chatfs/index"
	"chatfs/internal/transfer"
)

// A promise is what one name may lead to after a loss of power: what fsync, or
// close in durable mode, acknowledged last, or any whole content that it had
// since.
type promise struct{ may []string }

// promises are those of all names.
type promises struct {
	mu    sync.Mutex
	names map[string]*promise
}

func (p *promises) of(name string) *promise {
	if p.names[name] == nil {
		p.names[name] = &promise{may: []string{absent}}
	}
	return p.names[name]
}

// begins notes that a name will lead to content, or is absent, at some moment
// from now on.
func (p *promises) begins(name, content string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := p.of(name)
	n.may = append(n.may, content)
}

// durable notes that a name's last content outlives the power from now on.
func (p *promises) durable(names ...string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, name := range names {
		n := p.of(name)
		n.may = n.may[len(n.may)-1:]
	}
}

// cut is what is promised at this moment.
func (p *promises) cut() map[string][]string {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := make(map[string][]string)
	for name, n := range p.names {
		c[name] = slices.Clone(n.may)
	}
	return c
}

func (p *promises) forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	clear(p.names)
}

// settle takes what was found for what is.
func (p *promises) settle(name, found string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.of(name).may = []string{found}
}

// powerWriter works with names of its own until the mount is gone.
type powerWriter struct {
	f       *fixture
	p       *promises
	id      int
	random  *rand.Rand
	durable bool // close promises it
	open    *os.File
}

func (w *powerWriter) step() error {
	name := fmt.Sprintf("w%d-%d", w.id, w.random.IntN(6))
	content := string(pattern(w.random.IntN(1<<30), w.random.IntN(20_000)))
	switch w.random.IntN(8) {
	case 0:
		return w.remove(name)
	case 1, 2:
		return w.replace(name, content)
	case 3:
		return w.leaveOpen(fmt.Sprintf("open%d", w.id), content)
	}
	return w.write(name, content)
}

// write rewrites a file in place, perhaps with fsync.
func (w *powerWriter) write(name, content string) error {
	w.p.begins(name, "") // O_CREAT and O_TRUNC
	w.p.begins(name, content)
	file, err := os.Create(w.f.path(name))
	if err != nil {
		return err
	}
	_, err = file.WriteString(content)
	synced := false
	if err == nil && w.random.IntN(2) == 0 {
		err = file.Sync()
		synced = err == nil
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return err
	}
	if synced || w.durable {
		w.p.durable(name)
	}
	return nil
}

// replace writes a temporary name, with fsync, and renames it over the other.
func (w *powerWriter) replace(name, content string) error {
	tmp := name + ".tmp"
	if err := w.write(tmp, content); err != nil {
		return err
	}
	w.p.begins(name, content)
	w.p.begins(tmp, absent)
	if err := os.Rename(w.f.path(tmp), w.f.path(name)); err != nil {
		return err
	}
	return w.syncDir(tmp, name)
}

// leaveOpen writes a file that it does not close before the next, perhaps with
// fsync, and more after that: without a commit none of it is the file's.
func (w *powerWriter) leaveOpen(name, content string) error {
	if err := w.close(); err != nil {
		return err
	}
	w.p.begins(name, "")
	file, err := os.Create(w.f.path(name))
	if err != nil {
		return err
	}
	w.open = file
	w.p.begins(name, content)
	if _, err := file.WriteString(content); err != nil || w.random.IntN(2) == 0 {
		return err
	}
	if err := file.Sync(); err != nil {
		return err
	}
	w.p.durable(name)
	w.p.begins(name, content+content)
	_, err = file.WriteString(content)
	return err
}

// close closes what was left open.
func (w *powerWriter) close() error {
	file := w.open
	w.open = nil
	if file == nil {
		return nil
	}
	return file.Close()
}

func (w *powerWriter) remove(name string) error {
	w.p.begins(name, absent)
	if err := os.Remove(w.f.path(name)); err != nil && !errors.Is(err, iofs.ErrNotExist) {
		return err
	}
	return w.syncDir(name)
}

// syncDir makes changes of names durable, perhaps.
func (w *powerWriter) syncDir(names ...string) error {
	if w.random.IntN(2) == 0 {
		return nil
	}
	dir, err := os.Open(w.f.Dir)
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := dir.Sync(); err != nil {
		return err
	}
	w.p.durable(names...)
	return nil
}

// TestPowerLossOverTheWholeProfile takes the power from a disk while writers
// and uploads work, index, staging and cache all on it: of each file and
// directory only what was synced is left, and any part of the rest. What was
// acknowledged is there, all else is whole or absent, and everything can be
// uploaded.
func TestPowerLossOverTheWholeProfile(t *testing.T) {
	for _, mode := range []fs.CloseMode{fs.CloseQueued, fs.CloseDurable} {
		t.Run(string(mode), func(t *testing.T) { losePowerOften(t, mode) })
	}
}

func losePowerOften(t *testing.T, mode fs.CloseMode) {
	seed := uint64(time.Now().UnixNano())
	if n, err := strconv.ParseUint(os.Getenv("CHATFS_SEED"), 10, 64); err == nil {
		seed = n
	}
	t.Logf("CHATFS_SEED=%d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	losses := 5
	if os.Getenv("CHATFS_TEST_LONG") != "" {
		losses = 150
	}
	disk := newBadDisk(t)
	f := newFixture(t, func(c *fs.Config, x *transfer.Config) { c.Close = mode })
	f.log.Logger.SetOutput(io.Discard)
	f.on(disk.dir)
	p := &promises{names: make(map[string]*promise)}
	verified, replayed, dropped := 0, 0, 0
	for loss := range losses {
		after := time.Duration(random.IntN(150)) * time.Millisecond
		promised := f.workUntilPowerLoss(disk, p, random, after)
		f.boot, f.booted = fmt.Sprint("boot ", loss), time.Now()
		f.mount()
		r := f.index.Recovery()
		replayed, dropped = replayed+r.Records, dropped+r.Dropped
		p.forget() // what was acknowledged while the power was gone
		verified += f.checkPromises(p, promised)
		if t.Failed() {
			t.Logf("after loss %d: %v", loss+1, r)
			return
		}
	}
	f.drain()
	f.checkPromises(p, p.cut())
	f.forgetCache()
	f.checkPromises(p, p.cut())
	t.Logf("%d losses of power, %d names verified, %d records replayed, %d dropped", losses, verified, replayed, dropped)
	if replayed == 0 {
		t.Error("no replay was exercised")
	}
}

// workUntilPowerLoss gives what was promised when the power went.
func (f *fixture) workUntilPowerLoss(disk *diskHandle, p *promises, random *rand.Rand, after time.Duration) map[string][]string {
	f.t.Helper()
	over := make(chan struct{})
	var writers sync.WaitGroup
	for id := range 3 {
		w := &powerWriter{f: f, p: p, id: id, random: rand.New(rand.NewPCG(random.Uint64(), 1)), durable: f.durable()}
		writers.Go(func() {
			for {
				select {
				case <-over:
					if err := w.close(); err != nil {
						f.t.Error(err)
					}
					return
				default:
				}
				if err := w.step(); err != nil {
					f.t.Error(err)
					return
				}
			}
		})
	}
	timer := time.NewTimer(after)
	<-timer.C
	promised := p.cut()
	disk.tell("lose %d", random.Uint64())
	begun := p.cut() // what begins later never was
	close(over)
	writers.Wait()
	f.unmount()
	disk.tell("swap")
	for name, may := range begun {
		if old := promised[name]; old != nil {
			promised[name] = slices.Concat(old, may)
		} else {
			promised[name] = append(may, absent)
		}
	}
	return promised
}

func (f *fixture) durable() bool {
	var c fs.Config
	var x transfer.Config
	f.Adjust(&c, &x)
	return c.Close == fs.CloseDurable
}

// checkPromises compares all names with what was promised, and takes what it
// finds for what is.
func (f *fixture) checkPromises(p *promises, promised map[string][]string) int {
	f.t.Helper()
	for name, may := range promised {
		got := absent
		b, err := os.ReadFile(f.path(name))
		if err == nil {
			got = string(b)
		} else if !errors.Is(err, iofs.ErrNotExist) {
			f.t.Errorf("%s: %v", name, err)
			continue
		}
		if !slices.Contains(may, got) {
			f.t.Errorf("%s has %d bytes, %.10q…, and may be any of %s", name, len(got), got, sketch(may))
		}
		p.settle(name, got)
	}
	for _, problem := range f.index.Check() {
		f.t.Errorf("check: %v", problem)
	}
	list, err := f.index.ReadDir(index.Root, "", 0)
	must(f.t, err)
	for _, d := range list {
		if promised[d.Name] == nil {
			f.t.Errorf("%s is there, and nobody made it", d.Name)
		}
	}
	return len(promised)
}
