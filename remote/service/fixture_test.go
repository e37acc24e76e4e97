package service_test

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"chatfs/internal/fusetest"
	"chatfs/remote/service"
)

// A fixture is a service and a person at a shell with curl.
type fixture struct {
	*testing.T
	dir     string
	service *service.Service
	token   string // the app's
}

func start(t *testing.T, adjust ...func(*service.Config)) *fixture {
	t.Helper()
	fusetest.Guard(t)
	f := &fixture{T: t, dir: t.TempDir()}
	f.restart(adjust...)
	t.Cleanup(f.stop)
	return f
}

// restart starts the service, after an end of it or for the first time.
func (f *fixture) restart(adjust ...func(*service.Config)) {
	f.Helper()
	log := logrus.New()
	log.SetOutput(testWriter{f.T})
	c := service.Config{Dir: filepath.Join(f.dir, "data"), Org: "org", App: "app", Log: logrus.NewEntry(log)}
	for _, a := range adjust {
		a(&c)
	}
	var err error
	if f.service, err = service.Start(c); err != nil {
		f.Fatal(err)
	}
	id, secret := f.service.Credentials()
	f.token = f.tokenFor(`{"grant_type": "client_credentials", "client_id": "` + id + `", "client_secret": "` + secret.Reveal() + `"}`)
}

func (f *fixture) stop() {
	f.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), fusetest.Patience)
	defer cancel()
	if err := f.service.Shutdown(ctx); err != nil {
		f.Error(err)
	}
}

type testWriter struct{ t *testing.T }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Log(strings.TrimSpace(string(p)))
	return len(p), nil
}

// tokenFor asks for a token; the grant goes by a file, since a command line
// is read by all.
func (f *fixture) tokenFor(grant string) string {
	f.Helper()
	f.put("grant.json", []byte(grant))
	answer := f.json(`curl -sS -X POST -H 'Content-Type: application/json' -H 'Accept: application/json' -d @grant.json $BASE/token`)
	token, _ := answer["access_token"].(string)
	if !strings.HasPrefix(token, "YWMt") {
		f.Fatalf("no token in an answer with %d fields", len(answer))
	}
	return token
}

func (f *fixture) put(name string, content []byte) {
	f.Helper()
	if err := os.WriteFile(filepath.Join(f.dir, name), content, 0o600); err != nil {
		f.Fatal(err)
	}
}

func (f *fixture) get(name string) []byte {
	f.Helper()
	b, err := os.ReadFile(filepath.Join(f.dir, name))
	if err != nil {
		f.Fatal(err)
	}
	return b
}

// sh runs a command in the fixture's directory, with $BASE, $TOKEN and what
// else env has, and gives what it prints.
func (f *fixture) sh(script string, env ...string) string {
	f.Helper()
	cmd := exec.Command("bash", "-euo", "pipefail", "-c", script)
	cmd.Dir = f.dir
	cmd.Env = append(append(os.Environ(), "BASE="+f.service.Base(), "TOKEN="+f.token, "LC_ALL=C.UTF-8"), env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		f.Fatalf("%s\n%v\n%s", script, err, out)
	}
	return string(out)
}

// json runs a command that prints a JSON object.
func (f *fixture) json(script string, env ...string) map[string]any {
	f.Helper()
	out := f.sh(script, env...)
	var v map[string]any
	if err := json.Unmarshal([]byte(out), &v); err != nil {
		f.Fatalf("%s\nprints no JSON: %v\n%s", script, err, out)
	}
	return v
}

// An upload's answer, as far as clients read it.
type uploaded struct {
	UUID   string `json:"uuid"`
	Type   string `json:"type"`
	Secret string `json:"share-secret"`
}

// upload runs a command that uploads, and gives the entity that it made.
func (f *fixture) upload(script string, env ...string) uploaded {
	f.Helper()
	out := f.sh(script, env...)
	var answer struct{ Entities []uploaded }
	if err := json.Unmarshal([]byte(out), &answer); err != nil || len(answer.Entities) != 1 {
		f.Fatalf("%s\nmakes no entity: %v", script, err)
	}
	return answer.Entities[0]
}

func (e uploaded) env() []string { return []string{"UUID=" + e.UUID, "SECRET=" + e.Secret} }

// A clock is the time that a service goes by.
type clock struct{ at atomic.Int64 }

func newClock(t time.Time) *clock {
	c := new(clock)
	c.at.Store(t.UnixNano())
	return c
}

func (c *clock) Now() time.Time      { return time.Unix(0, c.at.Load()) }
func (c *clock) add(d time.Duration) { c.at.Add(int64(d)) }
