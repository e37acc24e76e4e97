package service

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
	"golang.org/x/sys/unix"

	"chatfs/internal/entity"
)

// Buckets of the metadata.
var (
	bucketFiles  = []byte("files")  // uuid → fileRecord
	bucketSmall  = []byte("small")  // uuid → content, of files of at most smallSize
	bucketUsers  = []byte("users")  // name → userRecord
	bucketTokens = []byte("tokens") // SHA-256 of the token → tokenRecord

	bucketMessages = []byte("messages") // time in ms, id → messageRecord
)

type fileRecord struct {
	Size    int64     `json:"size"`
	Secret  string    `json:"secret,omitempty"`
	Expires time.Time `json:"expires,omitzero"`
	Name    string    `json:"name"`

	ThumbWidth  int `json:"thumb_width,omitempty"` // pixels; 0 is thumbEdge
	ThumbHeight int `json:"thumb_height,omitempty"`
}

type userRecord struct {
	UUID    entity.UUID `json:"uuid"`
	Hash    []byte      `json:"hash"`
	Created int64       `json:"created"` // ms
}

type tokenRecord struct {
	User    string    `json:"user"` // "" is the app itself
	Expires time.Time `json:"expires"`
}

// kinds of contents that are files are folders, and there a folder for the
// first two digits of their uuids.
var kinds = []string{"files", "thumbs"}

// store is the disk's part: large contents as files, the rest in bbolt.
type store struct {
	db    *bbolt.DB
	dir   string
	freed func(bytes int64) // told of files that were removed
}

func openStore(dir string) (*store, error) {
	for _, d := range kinds {
		if err := makeDir(filepath.Join(dir, d)); err != nil {
			return nil, err
		}
	}
	db, err := bbolt.Open(filepath.Join(dir, "service.db"), 0o600, &bbolt.Options{Timeout: 100 * time.Millisecond, NoFreelistSync: true, FreelistType: bbolt.FreelistMapType})
	if errors.Is(err, berrors.ErrTimeout) {
		return nil, fmt.Errorf("%s: %w", dir, ErrInUse)
	}
	if err != nil {
		return nil, err
	}
	if err := checkTemp(dir); err != nil {
		db.Close()
		return nil, err
	}
	// Batches wait for company; with few clients more than a moment is lost.
	db.MaxBatchDelay = time.Millisecond
	s := &store{db, dir, func(int64) {}}
	err = db.Update(func(tx *bbolt.Tx) error {
		for _, b := range [][]byte{bucketFiles, bucketSmall, bucketUsers, bucketTokens, bucketMessages} {
			if _, err := tx.CreateBucketIfNotExists(b); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		err = syncDir(dir) // the database's name, where it is new
	}
	if err != nil {
		db.Close()
		return nil, err
	}
	return s, nil
}

// makeDir makes a directory, 0700, with those that lead to it. The names of
// the new ones outlive a loss of power, or what is synced in them would not.
func makeDir(dir string) error {
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	parent := filepath.Dir(dir)
	if parent != dir {
		if err := makeDir(parent); err != nil {
			return err
		}
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if err := syncDir(parent); err != nil && !errors.Is(err, fs.ErrPermission) { // which we may write, not read
		return err
	}
	return nil
}

func (s *store) close() error { return s.db.Close() }

func (s *store) path(kind string, u entity.UUID) string {
	return filepath.Join(s.dir, kind, u.String()[:2], u.String())
}

// keep gives a temporary file its name, and makes both outlive a loss of
// power, before the record that promises it. The name comes first, so that
// one commit of the disk's journal takes both.
func (s *store) keep(tmp *os.File, kind string, u entity.UUID) error {
	path := s.path(kind, u)
	dir := filepath.Dir(path)
	err := os.Mkdir(dir, 0o700)
	if err == nil {
		err = syncDir(filepath.Dir(dir))
	}
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	err = unix.Linkat(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", tmp.Fd()), unix.AT_FDCWD, path, unix.AT_SYMLINK_FOLLOW)
	if err != nil {
		return err
	}
	if err := tmp.Sync(); err != nil {
		return err
	}
	return syncDir(dir)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// checkTemp refuses a disk that knows no files without a name, where every
// upload would fail.
func checkTemp(dir string) error {
	tmp, err := (&store{dir: dir}).temp()
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EISDIR) || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("the disk of %s can't hold files without a name (O_TMPFILE), as ext4, XFS, Btrfs and tmpfs can: choose a directory there", dir)
	}
	if err != nil {
		return nil // a full disk, say: the upload meets it
	}
	return tmp.Close()
}

// temp is a file without a name: nothing is left of it, whenever the process
// dies.
func (s *store) temp() (*os.File, error) {
	fd, err := unix.Open(s.dir, unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("new file in %s: %w", s.dir, err)
	}
	return os.NewFile(uintptr(fd), "upload"), nil
}

func (s *store) put(bucket, key []byte, record any) error {
	b, err := json.Marshal(record)
	if err != nil {
		return err
	}
	return s.db.Batch(func(tx *bbolt.Tx) error { return tx.Bucket(bucket).Put(key, b) })
}

// putFile writes an entity's record, with the content of a small one.
func (s *store) putFile(u entity.UUID, record fileRecord, small []byte) error {
	b, err := json.Marshal(record)
	if err != nil {
		return err
	}
	return s.db.Batch(func(tx *bbolt.Tx) error {
		if small != nil {
			if err := tx.Bucket(bucketSmall).Put(u[:], small); err != nil {
				return err
			}
		}
		return tx.Bucket(bucketFiles).Put(u[:], b)
	})
}

// errNoRecord says that there is none to change.
var errNoRecord = errors.New("no record")

// changeFile changes an entity's record, in one transaction, so that it can't
// bring back one that is removed at the same time.
func (s *store) changeFile(u entity.UUID, change func(*fileRecord) error) error {
	return s.db.Batch(func(tx *bbolt.Tx) error {
		var record fileRecord
		b := tx.Bucket(bucketFiles)
		v := b.Get(u[:])
		if v == nil {
			return errNoRecord
		}
		if err := json.Unmarshal(v, &record); err != nil {
			return err
		}
		if err := change(&record); err != nil {
			return err
		}
		v, err := json.Marshal(record)
		if err != nil {
			return err
		}
		return b.Put(u[:], v)
	})
}

// small reads a small content; nil where there is none, as it is a file.
func (s *store) small(u entity.UUID) (content []byte, err error) {
	err = s.db.View(func(tx *bbolt.Tx) error {
		if b := tx.Bucket(bucketSmall).Get(u[:]); b != nil {
			content = append(make([]byte, 0, len(b)), b...)
		}
		return nil
	})
	return content, err
}

// errTaken says that there is a record already.
var errTaken = errors.New("taken")

// claim writes a record where there is none yet.
func (s *store) claim(bucket, key []byte, record any) error {
	b, err := json.Marshal(record)
	if err != nil {
		return err
	}
	return s.db.Update(func(tx *bbolt.Tx) error {
		if tx.Bucket(bucket).Get(key) != nil {
			return errTaken
		}
		return tx.Bucket(bucket).Put(key, b)
	})
}

// has tells whether there is a record.
func (s *store) has(bucket, key []byte) (found bool, err error) {
	err = s.db.View(func(tx *bbolt.Tx) error {
		found = tx.Bucket(bucket).Get(key) != nil
		return nil
	})
	return found, err
}

// get reads a record and tells whether it is there.
func (s *store) get(bucket, key []byte, record any) (bool, error) {
	found := false
	err := s.db.View(func(tx *bbolt.Tx) error {
		b := tx.Bucket(bucket).Get(key)
		if found = b != nil; found {
			return json.Unmarshal(b, record)
		}
		return nil
	})
	return found, err
}
