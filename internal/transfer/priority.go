package transfer

import (
	"context"

	"chatfs/remote"
)

type forNobodyKey struct{}

// forNobody is ctx for work that nobody waits for: its requests come last.
func forNobody(ctx context.Context) context.Context {
	ctx = context.WithValue(ctx, forNobodyKey{}, true)
	return remote.WithPriority(ctx, func() remote.Priority { return remote.Prefetch })
}

func isForNobody(ctx context.Context) bool { return ctx.Value(forNobodyKey{}) != nil }

// priority is that of d's requests. It rises when a reader comes to what was
// fetched for nobody.
func (d *download) priority() func() remote.Priority {
	return func() remote.Priority {
		switch {
		case !d.wanted.Load():
			return remote.Prefetch
		case d.k.Thumb:
			return remote.Thumbnails
		}
		return remote.Reads
	}
}
