package transfer

import (
	"context"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"chatfs/index"
	"chatfs/internal/blob"
	"chatfs/internal/entity"
	"chatfs/remote"
)

// Kinds of failure, as the service's client tells them.
var (
	ErrUnauthorized = remote.ErrUnauthorized
	ErrForbidden    = remote.ErrForbidden
	ErrNotFound     = remote.ErrNotFound
	ErrExpired      = remote.ErrExpired
	ErrTooLarge     = remote.ErrTooLarge
	ErrThrottled    = remote.ErrThrottled
	ErrPlanLimit    = remote.ErrPlanLimit
	ErrUnavailable  = remote.ErrUnavailable
	ErrMalformed    = remote.ErrMalformed
)

// Remote is what the service is asked for.
type Remote interface {
	Upload(context.Context, remote.UploadRequest) (entity.Entity, error)
	Download(context.Context, entity.UUID, entity.Secret, bool) (*remote.Body, error)
	Refresh(context.Context, []entity.UUID) ([]entity.UUID, error)
}

// Config is what a Transfer consists of. Index, Blobs and Remote are
// required.
type Config struct {
	Index  *index.Index
	Blobs  *blob.Store
	Remote Remote

	Uploads      int           // at once; 0 is 16
	Settle       time.Duration // rest of a content before its upload
	Unrestricted bool          // upload without share-secret
	// LocalOnly tells for how long a content under this name stays here before
	// it is sent: 0 for an ordinary name, or Forever.
	LocalOnly   func(name string) time.Duration
	Thumbs      bool          // ask for the thumbnails of pictures that were uploaded
	ThumbRetry  time.Duration // pause before one that was refused is asked for again, doubled each time; 0 is 30 s
	Prefetch    int64         // bytes fetched ahead of readers of whole directories; 0 is none
	ReadTimeout time.Duration // bound of a download without any progress; 0 is 30 s

	Retention time.Duration    // how long the service keeps an entity; 0 is for ever
	Keep      KeepMode         // what is done before it forgets; "" is KeepLocal
	History   time.Duration    // how long overwritten and deleted files stay known; 0 is for ever
	Now       func() time.Time // nil is time.Now

	// Changed is told, with no lock held, of a file whose content moved to
	// the service or failed to, or whose thumbnail came.
	Changed func(index.Ino)
	Log     *logrus.Entry
}

// Forever is how long content stays here whose name is nobody's business.
const Forever time.Duration = math.MaxInt64

// A State is what user.chatfs.state tells.
type State string

// The states of a file's content.
const (
	StateEmpty     State = "empty"
	StateStaged    State = "staged"
	StateUploading State = "uploading"
	StateUploaded  State = "uploaded"
	StateFailed    State = "failed"
	StateLocal     State = "local"
	StateExpired   State = "expired"
)

// A Transfer owns the goroutines that move bytes.
type Transfer struct {
	Config
	uploads uploader
	fetches fetcher
	keeps   keeper
	ahead   prefetcher
	thumbs  thumbs

	witnesses witnesses

	ctx   context.Context // ends with Close
	stop  context.CancelFunc
	ended sync.WaitGroup
}

// New makes a Transfer; Start sets it to work.
func New(c Config) *Transfer {
	if c.Uploads == 0 {
		c.Uploads = 16
	}
	if c.ReadTimeout == 0 {
		c.ReadTimeout = 30 * time.Second
	}
	if c.ThumbRetry == 0 {
		c.ThumbRetry = 30 * time.Second
	}
	if c.Keep == "" {
		c.Keep = KeepLocal
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.LocalOnly == nil {
		c.LocalOnly = func(string) time.Duration { return 0 }
	}
	if c.Changed == nil {
		c.Changed = func(index.Ino) {}
	}
	if c.Log == nil {
		c.Log = logrus.NewEntry(logrus.StandardLogger())
	}
	t := &Transfer{Config: c}
	t.ctx, t.stop = context.WithCancel(context.Background())
	t.uploads.init()
	t.fetches.init()
	t.ahead.init()
	t.thumbs.init(c.ThumbRetry)
	t.keeps.init()
	return t
}

// Start mends what a killed process has left of staged content, takes up the
// queue and begins to work it off. It is to be called before the tree is seen.
// The cache is held to its bounds from now on.
func (t *Transfer) Start() error {
	if err := t.settle(); err != nil {
		return err
	}
	queue, err := t.Index.Queue()
	if err != nil {
		return fmt.Errorf("queue of uploads: %w", err)
	}
	for i, due := range dueTimes(queue, time.Now()) {
		t.uploads.add(queue[i].Ino, due.Add(lead(queue[i].Size)))
	}
	for range t.Uploads {
		t.ended.Go(t.work)
	}
	for range thumbRequests {
		t.ended.Go(t.askThumbs)
	}
	t.Blobs.EvictUnless(t.lastCopy)
	t.ended.Go(t.watchExpiry)
	if t.Prefetch > 0 {
		t.ended.Go(t.foresee)
	}
	return nil
}

// dueTimes are when the entries were queued, made to agree with their order and
// with the present: a clock that was set since changes nobody's place.
func dueTimes(queue []index.QueueEntry, now time.Time) []time.Time {
	due := make([]time.Time, len(queue))
	for i, e := range slices.Backward(queue) {
		due[i] = now
		if e.Queued.Before(now) {
			due[i] = e.Queued
		}
		now = due[i].Add(-1)
	}
	return due
}

// Close ends all transfers at once and waits for their goroutines. The queue
// stays.
func (t *Transfer) Close() error {
	t.stop()
	t.ended.Wait()
	return nil
}
