package transfer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"chatfs/index"
	"chatfs/remote"
)

// checksAtOnce bounds how many entities are asked for at once; how many a
// second is the client's to bound.
const checksAtOnce = 8

// A remoteCheck compares the index with the service.
type remoteCheck struct {
	index   *index.Index
	service Remote
	tell    func(done, of int)
	ask     []index.Known

	mu    sync.Mutex
	done  int
	has   int     // entities that the service has
	gone  []Fault // those that it says it has not
	other []Fault
}

// CheckRemote asks the service for each entity that it has not forgotten as
// far as the index knows, and for those that files have all the same; tell
// hears how many were asked for. It answers how many of them the service has,
// and what is wrong. A service that has none is taken for the wrong one, and
// not believed.
func CheckRemote(ctx context.Context, x *index.Index, service Remote, tell func(done, of int)) (has int, found []Fault, err error) {
	c := &remoteCheck{index: x, service: service, tell: tell}
	if err := eachEntity(x, c.choose); err != nil {
		return 0, nil, err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(checksAtOnce)
	for _, k := range c.ask {
		g.Go(func() error { return c.check(ctx, k) })
	}
	err = g.Wait()
	return c.has, c.found(), err
}

// choose puts an entity on the list.
func (c *remoteCheck) choose(k index.Known) error {
	used := true
	var err error
	if k.Expired {
		used, err = c.index.References(k.UUID)
	}
	if used {
		c.ask = append(c.ask, k)
	}
	return err
}

// check asks for one entity; the error means that the service is not there.
func (c *remoteCheck) check(ctx context.Context, k index.Known) error {
	f, err := c.faultOf(ctx, k)
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case f != nil && f.Kind == EntityGone:
		c.gone = append(c.gone, *f)
	case f != nil:
		c.other = append(c.other, *f)
	}
	c.done++
	c.tell(c.done, len(c.ask))
	return err
}

// faultOf is what is wrong with an entity, or nil.
func (c *remoteCheck) faultOf(ctx context.Context, k index.Known) (*Fault, error) {
	body, err := c.service.Download(ctx, k.UUID, k.Secret, false)
	if err == nil {
		c.mu.Lock()
		c.has++
		c.mu.Unlock()
		err = body.Close()
		if !k.Expired {
			return nil, err
		}
		return c.fault(EntityBack, k, "the service has it, and it counts as forgotten",
			func() error { return c.index.SetExpired(k.UUID, false) }), err
	}
	switch {
	case remote.Gone(err):
		if k.Expired {
			return nil, nil
		}
		return c.fault(EntityGone, k, "the service has forgotten it",
			func() error { return c.index.SetExpired(k.UUID, true) }), nil
	case errors.Is(err, remote.ErrForbidden):
		return c.fault(EntityRefused, k, err.Error(), nil), nil
	case errors.Is(err, remote.ErrUnavailable), errors.Is(err, remote.ErrUnauthorized), ctx.Err() != nil:
		return nil, fmt.Errorf("ask the service: %w", err)
	}
	return c.fault(EntityUnknown, k, err.Error(), nil), nil
}

func (c *remoteCheck) fault(kind FaultKind, k index.Known, what string, mend func() error) *Fault {
	where := "no file has it now"
	if users, err := c.index.Users(k.UUID, 1); err == nil && len(users) > 0 {
		where = pathOf(c.index, users[0])
	}
	return &Fault{Kind: kind, Text: fmt.Sprintf("entity %s (%s): %s", k.UUID, where, what), Mend: mend}
}

// found lists the faults. Who has nothing of ours is not believed.
func (c *remoteCheck) found() []Fault {
	all := append(c.other, c.gone...)
	if len(c.gone) > 0 && c.has == 0 {
		all = append(c.other, Fault{Kind: EntityStrange, Text: fmt.Sprintf("the service has none of the %d files that it was asked for: "+
			"either it is the wrong one (see chatfs config), or it has forgotten them all; nothing is noted", len(c.ask))})
	}
	slices.SortFunc(all, func(a, b Fault) int { return strings.Compare(a.String(), b.String()) })
	return all
}
