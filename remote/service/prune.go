package service

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"go.etcd.io/bbolt"

	"chatfs/internal/entity"
)

const (
	// pruneEvery is the pause between two prunings.
	pruneEvery = time.Hour
	// pruneGrace is how long after its end a record stays: requests that found
	// it alive are answered, and an entity's uuid, which tells the time of its
	// upload to the second, is sure to tell of its end; see Service.unknown.
	pruneGrace = time.Minute
	// scanBatch records are looked at in one reading transaction, which keeps
	// pages from being used anew while it lasts.
	scanBatch = 1000
	// pruneBatch records at most are removed in one writing transaction, for
	// which uploads wait.
	pruneBatch = 100
)

// pruneNowAndThen removes what has expired, at start and every Config.PruneEvery,
// until Shutdown.
func (s *Service) pruneNowAndThen() {
	s.warn(s.removeStrays())
	tick := time.NewTicker(s.PruneEvery)
	defer tick.Stop()
	for {
		s.warn(s.prune())
		select {
		case <-tick.C:
		case <-s.ctx.Done():
			return
		}
	}
}

func (s *Service) warn(err error) {
	if err != nil {
		s.Log.WithError(err).Warn("what has expired could not be removed; it is tried again")
	}
}

// prune removes the files, tokens and messages that nobody is given any more.
func (s *Service) prune() error {
	now := s.Now().Add(-pruneGrace)
	files, err := s.store.prune(s.ctx, bucketFiles, func(_, v []byte) bool { return ended[fileRecord](v, now) })
	_, terr := s.store.prune(s.ctx, bucketTokens, func(_, v []byte) bool { return ended[tokenRecord](v, now) })
	// The history's last address for a message's hour is given 3 days after its
	// beginning.
	old := now.Add(-historyDays*24*time.Hour - addressLife)
	_, merr := s.store.prune(s.ctx, bucketMessages, func(k, _ []byte) bool {
		return len(k) >= 8 && time.UnixMilli(int64(binary.BigEndian.Uint64(k))).Truncate(time.Hour).Before(old)
	})
	if files > 0 {
		s.Log.Infof("%d expired files removed", files)
	}
	return errors.Join(err, terr, merr)
}

// ended tells whether a record, of a kind that expires, has done so by now.
// What can't be read stays.
func ended[R interface{ end() time.Time }](v []byte, now time.Time) bool {
	var record R
	return json.Unmarshal(v, &record) == nil && !record.end().IsZero() && now.After(record.end())
}

func (r fileRecord) end() time.Time  { return r.Expires }
func (r tokenRecord) end() time.Time { return r.Expires }

// prune removes the records of a bucket that are dead, and then the bytes of
// those that are entities: a crash between the two leaves bytes that nobody
// can ask for, which the next start removes, and never a record without bytes.
// Who has the bytes open keeps them.
func (s *store) prune(ctx context.Context, bucket []byte, dead func(k, v []byte) bool) (n int, err error) {
	for from := []byte{}; from != nil && err == nil && ctx.Err() == nil; {
		var doomed, removed [][]byte
		if doomed, from, err = s.scan(bucket, from, dead); err != nil || len(doomed) == 0 {
			continue
		}
		removed, err = s.remove(bucket, doomed, dead)
		n += len(removed)
		if err == nil && bytes.Equal(bucket, bucketFiles) {
			err = s.removeBytes(removed)
		}
	}
	return n, err
}

// scan looks for dead records from a key on, and tells the key to go on from;
// nil at the end.
func (s *store) scan(bucket, from []byte, dead func(k, v []byte) bool) (doomed [][]byte, next []byte, err error) {
	err = s.db.View(func(tx *bbolt.Tx) error {
		c := tx.Bucket(bucket).Cursor()
		looked := 0
		for k, v := c.Seek(from); k != nil; k, v = c.Next() {
			if looked == scanBatch || len(doomed) == pruneBatch {
				next = bytes.Clone(k)
				break
			}
			looked++
			if dead(k, v) {
				doomed = append(doomed, bytes.Clone(k))
			}
		}
		return nil
	})
	return doomed, next, err
}

// remove removes those records that are still dead: a file may have got more
// time since they were looked at.
func (s *store) remove(bucket []byte, keys [][]byte, dead func(k, v []byte) bool) (removed [][]byte, err error) {
	var freed int64
	err = s.db.Update(func(tx *bbolt.Tx) error {
		b := tx.Bucket(bucket)
		for _, k := range keys {
			v := b.Get(k)
			if v == nil || !dead(k, v) {
				continue
			}
			removed = append(removed, k)
			if bytes.Equal(bucket, bucketFiles) {
				freed += sizeIn(v)
			}
			if err := b.Delete(k); err != nil {
				return err
			}
			if !bytes.Equal(bucket, bucketFiles) {
				continue
			}
			if err := tx.Bucket(bucketSmall).Delete(k); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil && freed > 0 {
		s.freed(freed)
	}
	return removed, err
}

// removeBytes removes the files of entities that have no record any more.
func (s *store) removeBytes(keys [][]byte) error {
	var errs []error
	for _, k := range keys {
		for _, kind := range kinds {
			errs = append(errs, removeIfThere(s.path(kind, entity.UUID(k))))
		}
	}
	return errors.Join(errs...)
}

func removeIfThere(path string) error {
	if err := os.Remove(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// removeStrays removes the files without a record that a kill left: of an
// upload before its record was written, or of an entity whose record was
// removed. Only what would have expired goes: where the database was lost, the
// bytes are all that is left.
func (s *Service) removeStrays() error {
	var errs []error
	for _, kind := range kinds {
		folders, err := os.ReadDir(filepath.Join(s.store.dir, kind))
		errs = append(errs, err)
		for _, d := range folders {
			if s.ctx.Err() != nil {
				return nil
			}
			errs = append(errs, s.removeStraysOf(filepath.Join(s.store.dir, kind, d.Name())))
		}
	}
	return errors.Join(errs...)
}

func (s *Service) removeStraysOf(dir string) error {
	names, err := os.ReadDir(dir)
	errs := []error{err}
	for _, d := range names {
		u, err := entity.ParseUUID(d.Name())
		if err != nil || s.unknown(u) != errExpired {
			continue
		}
		if found, err := s.store.has(bucketFiles, u[:]); !found && err == nil {
			errs = append(errs, removeIfThere(filepath.Join(dir, d.Name())))
		}
	}
	return errors.Join(errs...)
}
