package transfer_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"chatfs/index"
	"chatfs/internal/entity"
	"chatfs/internal/fusetest"
	"chatfs/internal/transfer"
	"chatfs/remote"
	"chatfs/remote/service"
)

// everyFault strikes one request in twenty of each kind, all at once: half of
// all requests meet one, and two of three downloads. The plan's limit alone is
// left out, as it is final.
const everyFault = "throttle=5%,unavailable=5%,error=5%,html=5%,reset=5%,stall=5%,cut=5%,hang=5%,length=5%,expire=5%,redirect=5%,latency=5ms@5%," +
	"page=5%,gzip=5%,flip=5%,swap=5%,longer=5%"

// TestEveryFaultAtOnce uploads files and reads them back through them: 2,000
// with CHATFS_TEST_LONG, else a few. Nothing is lost, nothing is doubled in
// the index, no credential goes astray, and tokens are asked for rarely.
func TestEveryFaultAtOnce(t *testing.T) {
	fusetest.Guard(t)
	files, seed := 120, uint64(time.Now().UnixNano())
	if os.Getenv("CHATFS_TEST_LONG") != "" {
		files = 2000
	}
	t.Logf("seed %d", seed)
	faults, err := service.ParseFaults(everyFault, seed)
	must(t, err)
	served, err := service.Start(service.Config{Dir: filepath.Join(t.TempDir(), "service"), Org: "org", App: "app", Faults: faults, Log: quiet()})
	must(t, err)
	defer shutDown(t, served)
	id, secret := served.Credentials()
	client, err := remote.New(remote.Config{Base: served.Base(), ClientID: id, ClientSecret: secret, MaxRPS: -1, Log: quiet(),
		FirstPause: time.Millisecond, MaxTries: 8, AnswerTimeout: time.Second, ProgressTimeout: time.Second})
	must(t, err)
	defer client.Close()
	q := newQueue(t, client, func(c *transfer.Config) { c.Uploads = 32 })
	began := time.Now()
	contents, distinct := q.writeMany(files, seed)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	must(t, q.x.Drain(ctx, nil))
	uploaded := time.Since(began)
	q.wantOneEntityEach(distinct)
	must(t, os.RemoveAll(filepath.Join(q.dir, "cache", "entities")))
	repeats := q.readAll(contents)
	c := served.Counts()
	t.Logf("%d files, %d distinct, up in %s, read back by %s with %d repeats of a read", files, distinct, uploaded.Round(time.Millisecond), time.Since(began).Round(time.Millisecond), repeats)
	t.Logf("requests %d, uploads answered %d, downloads begun %d, tokens %d; faults %v", c.Requests, c.Uploads, c.Downloads, c.Tokens, c.Faults)
	// Three that are refused are replaced at once, then one each 30 s; half of
	// the requests for one meet a fault themselves.
	if most := 3*(4+int(time.Since(began)/(30*time.Second))) + 5; c.Tokens > most {
		t.Errorf("%d tokens were asked for, want at most %d", c.Tokens, most)
	}
	if c.Leaks > 0 {
		t.Errorf("%d requests carried credentials to another host", c.Leaks)
	}
	if kinds := strings.Count(everyFault, "="); len(c.Faults) < kinds {
		t.Errorf("%d of %d kinds of fault struck", len(c.Faults), kinds)
	}
}

// writeMany queues files of different sizes, one in ten equal to another.
func (q *queue) writeMany(files int, seed uint64) (contents map[string]string, distinct int) {
	r := rand.New(rand.NewPCG(seed, 1))
	contents = make(map[string]string)
	unlike := make(map[string]bool)
	for i := range files {
		name := fmt.Sprint(i)
		content := strings.Repeat(fmt.Sprintf("%d/%d,", seed, i), 1+r.IntN(4000))
		if i%8 == 0 { // of several blocks
			content = strings.Repeat(content, 10)
		}
		if i%10 == 9 {
			content = contents[fmt.Sprint(i-1-r.IntN(9))]
		}
		contents[name], unlike[content] = content, true
		q.write(name, content)
	}
	return contents, len(unlike)
}

// wantOneEntityEach compares the index's entities with the distinct contents.
func (q *queue) wantOneEntityEach(distinct int) {
	q.t.Helper()
	n := 0
	for after := (entity.UUID{}); ; {
		list, err := q.ix.Entities(after, 500)
		must(q.t, err)
		if len(list) == 0 {
			break
		}
		n += len(list)
		after = list[len(list)-1].UUID
	}
	if n != distinct {
		q.t.Errorf("%d entities for %d distinct contents", n, distinct)
	}
	queue, err := q.ix.Queue()
	must(q.t, err)
	if len(queue) > 0 {
		q.t.Errorf("%d files are queued still", len(queue))
	}
}

// readAll reads each file by way of the service, 16 at once, and compares. A
// read that fails is repeated, as a person would; the repeats are counted.
func (q *queue) readAll(contents map[string]string) (repeats int64) {
	var again atomic.Int64
	var all sync.WaitGroup
	names := make(chan string)
	for range 16 {
		all.Go(func() {
			for name := range names {
				got, err := q.read(name)
				for try := 0; err != nil && try < 5; try++ {
					again.Add(1)
					got, err = q.read(name)
				}
				if err != nil || got != contents[name] {
					q.t.Errorf("%s: %d bytes of %d, %v", name, len(got), len(contents[name]), err)
				}
			}
		})
	}
	for name := range contents {
		names <- name
	}
	close(names)
	all.Wait()
	return again.Load()
}

// read reads a whole file.
func (q *queue) read(name string) (string, error) {
	d, err := q.ix.Lookup(index.Root, name)
	if err != nil {
		return "", err
	}
	e, err := q.ix.Entity(d.Inode.UUID)
	if err != nil {
		return "", err
	}
	r, err := q.x.Open(context.Background(), e)
	if err != nil {
		return "", err
	}
	defer r.Close()
	if err := r.WaitWhole(context.Background()); err != nil {
		return "", err
	}
	b := make([]byte, e.Size)
	n, err := r.ReadAt(context.Background(), b, 0)
	if n < len(b) {
		return "", errors.Join(err, errors.New("a short read"))
	}
	return string(b), nil
}
