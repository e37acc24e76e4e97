package transfer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"chatfs/index"
	"chatfs/internal/entity"
	"chatfs/remote"
)

// That a file is forgotten is believed of a service alone that has another of
// ours. One that has none may be the wrong one: another host answers 404 for
// all, and so does an app whose storage is away.

const (
	// maxWitnesses are asked for at most, the youngest: one may have been
	// removed at the service too.
	maxWitnesses = 3
	// vouchFor is how long an answer holds, so that a thousand forgotten files
	// cost one question.
	vouchFor = time.Minute
)

// errStranger says that the service has none of our files that was asked for.
var errStranger = errors.New("nor does it have any other file of this profile, so it may be the wrong service: the file does not count as forgotten")

// witnesses is what the service was last heard to know of us.
type witnesses struct {
	asking singleflight.Group

	mu     sync.Mutex
	at     time.Time   // when that was
	which  entity.UUID // an entity that it has; zero: none was found
	silent bool        // the question had no answer: it holds for nothing
}

// noteGone notes in the index whether the service has forgotten an entity, as
// far as the end of a download tells, and answers the download's error.
func (t *Transfer) noteGone(u entity.UUID, err error) error {
	if err != nil && !remote.Gone(err) {
		return err
	}
	if err != nil && !t.hasAnother(u) {
		return fmt.Errorf("%w; %w", err, errStranger)
	}
	if err := t.Index.SetExpired(u, err != nil); err != nil {
		t.Log.WithError(err).Warnf("entity %s: that the service has forgotten it, or has it, could not be noted", u)
	}
	return err
}

// hasAnother tells whether the service has an entity of ours that is not u.
func (t *Transfer) hasAnother(u entity.UUID) bool {
	if which, known := t.vouched(u); known {
		return !which.IsZero()
	}
	which, _, _ := t.witnesses.asking.Do(u.String(), func() (any, error) {
		w := t.findWitness(u)
		return w, nil
	})
	return !which.(entity.UUID).IsZero()
}

// vouched is the answer of a moment ago, if there is one for u.
func (t *Transfer) vouched(u entity.UUID) (which entity.UUID, known bool) {
	w := &t.witnesses
	w.mu.Lock()
	defer w.mu.Unlock()
	since := t.Now().Sub(w.at)
	return w.which, !w.silent && w.which != u && since >= 0 && since < vouchFor
}

// findWitness asks for the youngest entities but u, until the service has one.
func (t *Transfer) findWitness(u entity.UUID) (which entity.UUID) {
	young, err := t.youngest(u)
	for _, k := range young {
		var has bool
		if has, err = t.asks(t.ctx, k); has {
			which = k.UUID
			break
		}
	}
	w := &t.witnesses
	w.mu.Lock()
	defer w.mu.Unlock()
	w.at, w.which, w.silent = t.Now(), which, err != nil
	return which
}

// asks asks the service whether it has an entity. The error is of no answer.
func (t *Transfer) asks(ctx context.Context, k index.Known) (bool, error) {
	body, err := t.Remote.Download(ctx, k.UUID, k.Secret, false)
	if remote.Gone(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return body.Length < 0 || body.Length == k.Size, body.Close()
}

// youngest are the entities that the service has had for the shortest time, as
// far as is known, but u.
func (t *Transfer) youngest(u entity.UUID) (young []index.Known, err error) {
	err = eachEntity(t.Index, func(k index.Known) error {
		if k.UUID == u || k.Expired || t.outlived(k) {
			return nil
		}
		at, _ := slices.BinarySearchFunc(young, k, func(a, b index.Known) int { return b.Since.Compare(a.Since) })
		if at < maxWitnesses {
			young = slices.Insert(young, at, k)
			young = young[:min(len(young), maxWitnesses)]
		}
		return t.ctx.Err()
	})
	return young, err
}
