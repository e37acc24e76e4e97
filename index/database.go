package index

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"syscall"
	"time"

	bolt "go.etcd.io/bbolt"
)

// A database is bbolt, with a guard before it. A page that was damaged since
// the file was looked at has bbolt panic, and one that the disk does not give,
// or that the file ends before, faults in the map: both become *ErrDamaged.
type database struct {
	*bolt.DB
	path     string
	f        *os.File // that DB has open
	handed   bool     // f, to bbolt
	halfHead bool     // one of the two heads could not be read

	mu     sync.Mutex
	broken error // set once
}

// openBolt opens the database once its file was looked at. bbolt gets the very
// file that was, so nobody can come in between.
func openBolt(path string, o Options) (*database, error) {
	f, err := lockFile(path)
	if err != nil {
		return nil, err
	}
	d := &database{path: path, f: f}
	if d.halfHead, err = examineFirst(f, path, o); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	err = d.guard(func() (err error) {
		d.DB, err = bolt.Open(path, 0o600, &bolt.Options{
			OpenFile:        d.open,
			FreelistType:    bolt.FreelistMapType,
			InitialMmapSize: mapBytes,
			NoStatistics:    true,
		})
		return err
	})
	if err != nil {
		f.Close() // bbolt has, as a rule
		return nil, fmt.Errorf("open the index: %w", err)
	}
	d.AllocSize, d.NoSync, d.NoGrowSync = growBytes, o.hooks.noSync, o.hooks.noSync
	if err := d.guard(func() error { return prepare(d.DB, path, o.migrations) }); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

// lockFile opens the database's file, made if need be, for this process alone.
func lockFile(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the index: %w", err)
	}
	for until := time.Now().Add(lockWait); ; time.Sleep(lockWait / 10) {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		switch {
		case err == nil:
			return f, nil
		case err != syscall.EWOULDBLOCK && err != syscall.EINTR:
			return nil, errors.Join(fmt.Errorf("lock the index: %w", err), f.Close())
		case time.Now().After(until):
			return nil, errors.Join(fmt.Errorf("%s: %w", path, ErrLocked), f.Close())
		}
	}
}

// examineFirst looks at the file before bbolt maps it.
func examineFirst(f *os.File, path string, o Options) (halfHead bool, err error) {
	fi, err := f.Stat()
	if err != nil || fi.Size() == 0 {
		return false, err // a new one
	}
	p, err := examine(f, path)
	if err != nil {
		return false, err
	}
	if p.size <= verifyAlways || lostPower(filepath.Dir(path), o.BootID) {
		err = p.verifyAll()
	}
	return p.halfHead, err
}

// open gives bbolt its file first; for a copy of the database it opens the
// file again.
func (d *database) open(path string, flag int, mode os.FileMode) (*os.File, error) {
	if d.handed {
		return os.OpenFile(path, flag, mode)
	}
	d.handed = true
	return d.f, nil
}

// guard runs fn, which reads or writes the database.
func (d *database) guard(fn func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			if !isDamage(p) {
				panic(p)
			}
			err = &ErrDamaged{File: d.path, What: fmt.Sprint(p)}
			d.mu.Lock()
			defer d.mu.Unlock()
			if d.broken == nil {
				d.broken = err
			}
		}
	}()
	return fn()
}

// isDamage tells a panic of bbolt's, or a fault of the map, from one of ours.
// It is called by the function that recovers.
func isDamage(p any) bool {
	if _, ok := p.(interface{ Addr() uintptr }); ok { // see debug.SetPanicOnFault
		return true
	}
	pcs := make([]uintptr, 64)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(3, pcs)])
	for {
		f, more := frames.Next()
		if !strings.HasPrefix(f.Function, "runtime.") {
			return strings.HasPrefix(f.Function, "go.etcd.io/bbolt")
		}
		if !more {
			return false
		}
	}
}

// damage is what guard has met, nil if nothing.
func (d *database) damage() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.broken
}

// verify reads the whole file. No commit may be under way.
func (d *database) verify() error {
	p, err := examine(d.f, d.path)
	if err == nil {
		err = p.verifyAll()
	}
	return err
}

// Close lets go of the file. A database that panicked may hold its own locks
// for ever: its map is left to the process's end.
func (d *database) Close() error {
	if d.damage() != nil {
		return errors.Join(syscall.Flock(int(d.f.Fd()), syscall.LOCK_UN), d.f.Close()) // the map would keep it locked
	}
	return d.DB.Close()
}
