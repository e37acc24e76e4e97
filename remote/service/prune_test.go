package service_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"chatfs/internal/fusetest"
	"chatfs/remote/service"
)

// expiring is a service that forgets after an hour, and looks all the time.
func expiring(c *clock) func(*service.Config) {
	return func(conf *service.Config) {
		conf.ExpireAfter, conf.PruneEvery, conf.Lifetime, conf.Now = time.Hour, time.Millisecond, true, c.Now
	}
}

// onDisk are the files that hold contents or thumbnails.
func onDisk(t testing.TB, data string) (paths []string) {
	t.Helper()
	for _, kind := range []string{"files", "thumbs"} {
		must(t, filepath.WalkDir(filepath.Join(data, kind), func(path string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				paths = append(paths, path)
			}
			return err
		}))
	}
	return paths
}

// wantLeft waits until so many files and records are left.
func (s *served) wantLeft(files int, records map[string]int) {
	s.t.Helper()
	fusetest.Eventually(s.t, "the pruning", func() error {
		got, err := s.Records()
		must(s.t, err)
		if paths := onDisk(s.t, s.Dir); len(paths) != files || !maps.Equal(got, records) {
			return fmt.Errorf("%d files and %v are left, want %d and %v", len(paths), got, files, records)
		}
		return nil
	})
}

// TestExpiredIsPruned has bytes, thumbnails and records leave the disk once
// they have expired, and no others.
func TestExpiredIsPruned(t *testing.T) {
	clock := newClock(time.Now())
	s := serve(t, expiring(clock))
	app := s.token
	s.token = s.user("ann")
	s.askToken(`{"grant_type":"password","username":"ann","password":"pw","ttl":60}`)
	large := strings.Repeat("x", 100_000)
	kept, keptLarge := s.put("a", "kept"), s.put("b", large)
	s.want(200, s.do("PUT", "/users/ann/chatfiles/lifetime", `{"lifetime":"forever","chatfile_ids":["`+kept.UUID+`","`+keptLarge.UUID+`"]}`), nil)
	gone := []entity{s.put("c", "small"), s.put("d", large), s.put("e.png", string(photo(t)))}
	s.get(gone[2], "thumbnail", "true")
	for range 300 { // more than one transaction removes
		s.put("f", "many")
	}
	s.want(200, s.do("POST", "/messages/users", `{"to":["bob"],"type":"txt","body":{"msg":"words"}}`), nil)
	s.wantLeft(4, map[string]int{"files": 305, "small": 302, "users": 1, "tokens": 3, "messages": 1})

	clock.add(time.Hour + 2*time.Minute)
	s.wantLeft(1, map[string]int{"files": 2, "small": 1, "users": 1, "tokens": 2, "messages": 1})
	for _, e := range gone {
		s.wantError(404, "file_expired", s.do("GET", "/chatfiles/"+e.UUID, "", "share-secret", e.secret()))
		var answer struct{ Data map[string]string }
		s.want(200, s.do("PUT", "/users/ann/chatfiles/lifetime", `{"lifetime":"refresh","chatfile_ids":["`+e.UUID+`"]}`), &answer)
		if answer.Data[e.UUID] != "failed" {
			t.Errorf("more time for what is gone: %v", answer.Data)
		}
	}
	never, err := uuid.NewUUID()
	must(t, err)
	clock.add(-time.Until(clock.Now())) // to the true time, at which it is young
	s.wantError(404, "entity_not_found", s.do("GET", "/chatfiles/"+never.String(), ""))
	if s.get(kept) != "kept" || s.get(keptLarge) != large {
		t.Error("what lasts for ever differs")
	}
	clock.add(3*24*time.Hour - 30*time.Minute) // of the hour that has the message, at least 30 minutes are told
	s.token = app
	s.wantLeft(1, map[string]int{"files": 2, "small": 1, "users": 1, "tokens": 2, "messages": 1})
	clock.add(90 * time.Minute)
	s.wantLeft(1, map[string]int{"files": 2, "small": 1, "users": 1, "tokens": 2, "messages": 0})
}

// TestDownloadUnderPruningIsWhole begins to take a file, which expires and
// leaves the disk before the rest is taken.
func TestDownloadUnderPruningIsWhole(t *testing.T) {
	clock := newClock(time.Now())
	s := serve(t, expiring(clock), func(c *service.Config) { c.MaxSize = 64 << 20 })
	content := bytes.Repeat([]byte("0123456789abcdef"), 2<<20) // more than any buffer on the way holds
	uuid, err := post(s.Base(), s.token, content)
	must(t, err)
	resp := s.do("GET", "/chatfiles/"+uuid, "")
	defer resp.Body.Close()
	head := make([]byte, 1000)
	_, err = io.ReadFull(resp.Body, head)
	must(t, err)
	clock.add(2 * time.Hour)
	s.wantLeft(0, map[string]int{"files": 0, "small": 0, "users": 0, "tokens": 1, "messages": 0})
	rest, err := io.ReadAll(resp.Body)
	if err != nil || !bytes.Equal(append(head, rest...), content) {
		t.Errorf("%d bytes came of %d: %v", len(head)+len(rest), len(content), err)
	}
	s.wantError(404, "file_expired", s.do("GET", "/chatfiles/"+uuid, ""))
}

// TestRequestsMeetThePruning asks for files and thumbnails while they expire:
// each answer is the whole of it, or that it has expired.
func TestRequestsMeetThePruning(t *testing.T) {
	clock := newClock(time.Now())
	s := serve(t, expiring(clock))
	picture := string(photo(t))
	thumb := s.get(s.put("a.png", picture), "thumbnail", "true")
	contents := []string{"small", strings.Repeat("large", 10_000), picture}
	for range 10 {
		var entities []entity
		for i := range 12 {
			entities = append(entities, s.put("a", contents[i%3]))
		}
		var readers sync.WaitGroup
		begun := make(chan bool)
		for r := range 4 {
			readers.Go(func() {
				for i := 0; ; i++ {
					k := (i*5 + r) % len(entities)
					want, header := contents[k%3], []string{"share-secret", entities[k].secret()}
					if k%3 == 2 && i%2 == 0 {
						want, header = thumb, append(header, "thumbnail", "true")
					}
					over, err := s.wholeOrExpired(entities[k].UUID, want, header...)
					if err != nil {
						t.Error(err)
					}
					if i == 0 {
						begun <- true
					}
					if over || err != nil {
						return
					}
				}
			})
		}
		for range 4 {
			<-begun
		}
		clock.add(2 * time.Hour)
		readers.Wait()
	}
	s.wantLeft(0, map[string]int{"files": 0, "small": 0, "users": 0, "tokens": 1, "messages": 0})
}

// wholeOrExpired asks for a content, and tells whether it has expired.
func (s *served) wholeOrExpired(uuid, want string, header ...string) (expired bool, err error) {
	req, err := http.NewRequest("GET", s.Base()+"/chatfiles/"+uuid, nil)
	if err != nil {
		return false, err
	}
	req.Header.Set("Authorization", "Bearer "+s.token)
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := s.http.Do(req)
	if err != nil {
		return false, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	switch {
	case err != nil:
		return false, err
	case resp.StatusCode == 404 && bytes.Contains(b, []byte("file_expired")):
		return true, nil
	case resp.StatusCode != 200 || string(b) != want:
		return false, fmt.Errorf("%s with %d bytes, want %d", resp.Status, len(b), len(want))
	}
	return false, nil
}

// TestStraysGoOnceExpired: files without a record stay for the time that they
// would have had, as it may be the database that is lost.
func TestStraysGoOnceExpired(t *testing.T) {
	fusetest.Guard(t)
	clock := newClock(time.Now())
	dir := filepath.Join(t.TempDir(), "data")
	content := bytes.Repeat([]byte("x"), 40_000) // a file of its own
	s := startIn(t, dir, expiring(clock))
	_, err := post(s.Base(), s.token, content)
	must(t, err)
	s.stop()
	uploaded := onDisk(t, dir)
	foreign := filepath.Join(dir, "files", "00", "notes.txt")
	must(t, errors.Join(os.MkdirAll(filepath.Dir(foreign), 0o700), os.WriteFile(foreign, content, 0o600)))
	must(t, os.Remove(filepath.Join(dir, "service.db")))
	for _, step := range []struct {
		ahead time.Duration
		left  []string
	}{
		{0, append([]string{foreign}, uploaded...)},
		{2 * time.Hour, []string{foreign}},
	} {
		clock.add(step.ahead)
		s = startIn(t, dir, expiring(clock))
		must(t, s.RemoveStrays())
		if left := onDisk(t, dir); !slices.Equal(slices.Sorted(slices.Values(left)), slices.Sorted(slices.Values(step.left))) {
			t.Errorf("%s later %v are left, want %v", step.ahead, left, step.left)
		}
		s.stop()
	}
}

// TestKilledPruning kills the service amid pruning. No record is without its
// bytes then, and the next start leaves no bytes of what has expired.
func TestKilledPruning(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	clock := newClock(time.Now())
	fusetest.Guard(t)
	dir := filepath.Join(t.TempDir(), "data")
	contents := [][]byte{[]byte("small"), bytes.Repeat([]byte("large"), 10_000)}
	between := 0
	for range 3 {
		s := startIn(t, dir, func(c *service.Config) { c.ExpireAfter = time.Hour })
		uploaded := make(map[string][]byte)
		for i := range 200 {
			uuid, err := post(s.Base(), s.token, contents[i%2])
			must(t, err)
			uploaded[uuid] = contents[i%2]
		}
		s.stop()
		_, kill := startProcess(t, dir, "CHATFS_TEST_AHEAD=2h")
		left, end := random.IntN(100), time.Now().Add(fusetest.Patience)
		for len(onDisk(t, dir)) > left { // a pause would miss it
			if time.Now().After(end) {
				t.Fatal("nothing is pruned")
			}
		}
		kill()

		s = startIn(t, dir, func(c *service.Config) { c.ExpireAfter = time.Hour })
		there := 0
		for uuid, want := range uploaded {
			switch got, err := download(s.Base(), s.token, uuid); {
			case err == nil && bytes.Equal(got, want):
				there++
			case err == nil || err.Error() != "status 404":
				t.Errorf("%s: %d bytes, want %d: %v", uuid, len(got), len(want), err)
			}
		}
		if there > 0 {
			between++
		}
		records, err := s.Records()
		must(t, err)
		s.stop()
		clock.add(2 * time.Hour)
		s = startIn(t, dir, expiring(clock))
		s.wantLeft(0, map[string]int{"files": 0, "small": 0, "users": 0, "tokens": records["tokens"] + 1, "messages": 0})
		s.stop()
		clock.add(-2 * time.Hour)
	}
	t.Logf("3 kills, %d of them amid the pruning", between)
}
