package service_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"chatfs/internal/fusetest"
	"chatfs/remote/service"
)

// TestQuotaIsKept: what goes beyond it is refused as a plan's limit is, also
// after a new start, and what has expired makes room.
func TestQuotaIsKept(t *testing.T) {
	c := newClock(time.Now())
	config := func(conf *service.Config) {
		conf.Quota, conf.ExpireAfter, conf.PruneEvery, conf.Now = 100_000, time.Hour, time.Millisecond, c.Now
	}
	f := start(t, config)
	for name, size := range map[string]int{"large": 90_000, "small": 5_000, "least": 5_001} {
		f.put(name, make([]byte, size))
	}
	const post = `curl -sS -H "Authorization: Bearer $TOKEN" $BASE/chatfiles -F file=@`
	f.upload(post + "large")
	f.upload(post + "small")
	f.wantError("resource_limited", 429, "$BASE/chatfiles -F file=@least")
	f.stop()
	f.restart(config)
	f.wantError("resource_limited", 429, "$BASE/chatfiles -F file=@least")
	c.add(2 * time.Hour)
	f.stop() // its token has expired with the files
	f.restart(config)
	fusetest.Eventually(t, "room", func() error {
		if out := f.sh(post + "large"); !strings.Contains(out, `"uuid"`) {
			return errors.New(out)
		}
		return nil
	})
	f.wantError("resource_limited", 429, "$BASE/chatfiles -F file=@large")
}
