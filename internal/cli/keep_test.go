package cli_test

import (
	"encoding/json"
	"errors"
	"net/url"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/pkg/xattr"

	"chatfs/internal/fusetest"
)

// served gives a place the address and credentials of a service of its own,
// and answers the address that it would have if nobody ran it.
func (p *place) served(args ...string) (away string) {
	p.t.Helper()
	base, id, secretFile := p.serve(args...)
	p.env = append(p.env, "CHATFS_REMOTE="+base, "CHATFS_CLIENT_ID="+id, "CHATFS_CLIENT_SECRET="+appSecret(p.t, secretFile))
	u, err := url.Parse(base)
	if err != nil {
		p.t.Fatal(err)
	}
	return "http://127.0.0.1:1" + u.Path
}

// TestKeptFileNeedsNoService has a file pinned before the service forgets it.
func TestKeptFileNeedsNoService(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	away := p.served("--expire-after", "1h")
	r := p.mount("--settle", "0s", "--retention", "1s")
	p.put("a.txt", "hello")
	var report struct {
		Pinned    int64 `json:"pinned_bytes"`
		Keep      string
		Retention string
	}
	fusetest.Eventually(t, "the file is pinned", func() error {
		out, _ := p.run("status", "--json", p.dir)
		if err := json.Unmarshal([]byte(out), &report); err != nil || report.Pinned == 0 {
			return errors.Join(err, errors.New(out))
		}
		return nil
	})
	if report.Keep != "local" || report.Retention != "1s" {
		t.Errorf("status: %+v", report)
	}
	if at, err := xattr.Get(p.dir+"/a.txt", "user.chatfs.expires"); err != nil || !strings.HasSuffix(string(at), "Z") {
		t.Errorf("expires: %q, %v", at, err)
	}
	r.signal(syscall.SIGINT)
	r.wait(ok, "")
	if err := os.RemoveAll(p.path("cache")); err != nil {
		t.Fatal(err)
	}
	p.expect(ok, "pinned", "status", "--profile", "demo-chatfs")
	r = p.mount("--remote", away, "--keep", "none")
	p.want("a.txt", "hello")
	r.signal(syscall.SIGINT)
	r.wait(ok, "")
}

// TestServiceThatForgetsAtOnce is no reason to spin or to fail.
func TestServiceThatForgetsAtOnce(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	r := p.mount("--settle", "0s", "--retention", "1ns")
	p.put("a.txt", "hello")
	p.sync()
	p.want("a.txt", "hello")
	r.signal(syscall.SIGINT)
	r.wait(ok, "everything is uploaded")
}

func TestBadRetention(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	for _, bad := range [][]string{{"--retention", "x"}, {"--retention", "-1h"}, {"--history", "7 days"}, {"--keep", "all"}} {
		p.expect(usage, bad[0], append([]string{"mount", p.dir}, bad...)...)
	}
}
