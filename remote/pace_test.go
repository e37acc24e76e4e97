package remote_test

import (
	"context"
	"io"
	"path/filepath"
	"sync"
	"testing"

	"github.com/sirupsen/logrus"

	"chatfs/internal/fusetest"
	"chatfs/remote"
	"chatfs/remote/service"
)

// TestLimitOfARealServiceIsFound sends to one that lets 20 requests a second
// through: no upload fails, and few are sent in vain.
func TestLimitOfARealServiceIsFound(t *testing.T) {
	fusetest.Guard(t)
	log := logrus.New()
	log.SetOutput(io.Discard)
	served, err := service.Start(service.Config{Dir: filepath.Join(t.TempDir(), "data"), Org: "org", App: "app", RPS: 20, Log: log.WithField("", "")})
	must(t, err)
	defer served.Shutdown(context.Background())
	id, secret := served.Credentials()
	c, err := remote.New(remote.Config{Base: served.Base(), ClientID: id, ClientSecret: secret, Log: log.WithField("", "")})
	must(t, err)
	defer c.Close()
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			for range 6 {
				if _, err := c.Upload(context.Background(), request(theContent)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	p := c.Pace()
	t.Logf("%+v", p)
	if p.Most != remote.DefaultRPS || p.Rate > 60 || p.Refused == 0 || p.Refused > 60 || p.Held == 0 || len(p.Pauses) != 0 {
		t.Errorf("96 uploads at 20/s: %+v", p)
	}
}
