package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// An openFile is one that its writer leaves open: a log that is appended to,
// and at its other end blocks that are written again and again.
type openFile struct {
	acked []byte    // what write(2) has taken
	at    int       // where a write is under way
	doubt []byte    // its bytes, or nil
	since time.Time // of the last write that was taken
}

// headSize is what of an open file is written in place, in bytes; the log
// follows.
const (
	headSize  = 16 << 10
	blockSize = 512
)

// An opener works on one open file at a time.
type opener struct {
	m      *manifest
	dir    string
	writer int
	random *rand.Rand
	file   *os.File
	name   string
}

func (m *manifest) opener(dir string, writer int, random *rand.Rand) *opener {
	return &opener{m: m, dir: dir, writer: writer, random: random}
}

// work ends with the mount.
func (o *opener) work() {
	for o.step() == nil {
	}
	if o.file != nil {
		_ = o.file.Close() // the mount is gone
	}
}

func (o *opener) step() error {
	if o.file == nil {
		return o.open()
	}
	switch o.random.IntN(16) {
	case 0:
		file := o.file
		o.file = nil
		return file.Close()
	case 1:
		return o.file.Sync()
	}
	size := 1 + o.random.IntN(3000)
	at := len(o.m.of(o.name).acked)
	if o.random.IntN(3) == 0 {
		size, at = blockSize, blockSize*o.random.IntN(headSize/blockSize)
	}
	return o.write(at, bytes.Repeat([]byte{byte(1 + o.random.IntN(255))}, size))
}

// open opens one of the writer's files, and gives a new one its head.
func (o *opener) open() (err error) {
	o.name = fmt.Sprintf("open%d-%d", o.writer, o.random.IntN(3))
	if o.file, err = os.OpenFile(filepath.Join(o.dir, o.name), os.O_RDWR|os.O_CREATE, 0o644); err != nil {
		return err
	}
	if acked := len(o.m.of(o.name).acked); acked < headSize {
		return o.write(acked, make([]byte, headSize-acked))
	}
	return nil
}

func (m *manifest) of(name string) *openFile {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.open[name] == nil {
		m.open[name] = &openFile{}
	}
	return m.open[name]
}

func (o *opener) write(at int, b []byte) error {
	f := o.m.of(o.name)
	f.at, f.doubt = at, b
	began := time.Now()
	if _, err := o.file.WriteAt(b, int64(at)); err != nil {
		return err
	}
	f.acked = laid(f.acked, at, b)
	f.doubt, f.since = nil, began
	return nil
}

// laid is content with b at an offset in it, or at its end.
func laid(content []byte, at int, b []byte) []byte {
	all := append(bytes.Clone(content), make([]byte, max(0, at+len(b)-len(content)))...)
	copy(all[at:], b)
	return all
}

// verifyOpen wants of each file that was open all that write(2) took, perhaps
// with a part of what was under way, under a time that is not older.
func (m *manifest) verifyOpen(t *testing.T, dir string) int {
	t.Helper()
	for name, f := range m.open {
		path := filepath.Join(dir, name)
		got, err := os.ReadFile(path)
		info, serr := os.Stat(path)
		if len(f.acked) == 0 && errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err := errors.Join(err, serr); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		done := 0 // bytes of the write under way
		for done < len(f.doubt) && f.at+done < len(got) && got[f.at+done] == f.doubt[done] {
			done++
		}
		if !bytes.Equal(got, laid(f.acked, f.at, f.doubt[:done])) {
			t.Errorf("%s: %d bytes that are not the %d acknowledged with %d of %d at %d",
				name, len(got), len(f.acked), done, len(f.doubt), f.at)
		}
		if info.ModTime().Before(f.since.Add(-time.Second)) { // a disk's clock is coarser
			t.Errorf("%s: mtime is %v, and it was written at %v", name, info.ModTime(), f.since)
		}
		f.acked, f.doubt = got, nil
	}
	return len(m.open)
}
