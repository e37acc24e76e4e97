package remote_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"chatfs/internal/entity"
	"chatfs/remote"
)

func TestOneTokenForAllRequests(t *testing.T) {
	s := scripted(t)
	c := newClient(t, s.URL)
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			if err := get(c); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if n := s.tokens.Load(); n != 1 {
		t.Errorf("%d tokens were asked for", n)
	}
}

func TestTokenRequests(t *testing.T) {
	for name, change := range map[string]func(*remote.Config){
		"grant_type=client_credentials": func(*remote.Config) {},
		"grant_type=password": func(c *remote.Config) {
			c.ClientID, c.Username, c.Password = "", "ann", entity.NewSecret(theKey)
		},
		"given": func(c *remote.Config) { c.Token = entity.NewSecret(theToken) },
	} {
		t.Run(name, func(t *testing.T) {
			s := scripted(t)
			var asked string
			s.token = func(_ int, w http.ResponseWriter, r *http.Request) {
				b, _ := io.ReadAll(r.Body)
				asked = strings.NewReplacer(`"`, "", ":", "=").Replace(string(b))
				tokenAnswer(w, r)
			}
			s.file = func(_ int, w http.ResponseWriter, r *http.Request) {
				if got := r.Header.Get("Authorization"); got != "Bearer "+theToken {
					t.Errorf("Authorization: %s", got)
				}
				fileAnswer(w, r)
			}
			must(t, get(newClient(t, s.URL, change)))
			if want := name != "given"; want != strings.Contains(asked, name) || want != (s.tokens.Load() == 1) {
				t.Errorf("asked %d times, with %s", s.tokens.Load(), asked)
			}
		})
	}
}

// TestExpiryIsNotBelieved has odd lives of a token, which works all the same.
func TestExpiryIsNotBelieved(t *testing.T) {
	for _, life := range []string{`"expires_in":"3600"`, `"expires_in":0`, `"expires_in":-5`, `"expires_in":1e300`, `"expires_in":null`,
		`"expires_in":"soon"`, `"expires_in":{}`, `"x":1`} {
		s := scripted(t)
		s.token = func(_ int, w http.ResponseWriter, _ *http.Request) {
			fmt.Fprintf(w, `{"access_token":%q,%s}`, theToken, life)
		}
		c := newClient(t, s.URL)
		for range 10 {
			if err := get(c); err != nil {
				t.Errorf("%s: %v", life, err)
			}
		}
		if n := s.tokens.Load(); n != 1 {
			t.Errorf("%s: %d tokens were asked for", life, n)
		}
	}
}

func TestRefusedTokenIsReplacedOnce(t *testing.T) {
	s := scripted(t)
	s.file = func(n int, w http.ResponseWriter, r *http.Request) {
		if n == 1 {
			fail(w, 401, "auth_bad_access_token", "expired")
			return
		}
		fileAnswer(w, r)
	}
	must(t, get(newClient(t, s.URL)))
	if n := s.tokens.Load(); n != 2 {
		t.Errorf("%d tokens were asked for, want a second", n)
	}
}

// TestServiceThatRefusesEachTokenIsNotStormed reports, and goes easy.
func TestServiceThatRefusesEachTokenIsNotStormed(t *testing.T) {
	s := scripted(t)
	s.file = func(_ int, w http.ResponseWriter, _ *http.Request) { fail(w, 401, "auth_bad_access_token", "blocked") }
	c := newClient(t, s.URL)
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			for range 10 {
				if err := get(c); !errors.Is(err, remote.ErrUnauthorized) {
					t.Errorf("got %v", err)
				}
			}
		})
	}
	all.Wait()
	if files, tokens := s.files.Load(), s.tokens.Load(); files != 400 || tokens > 5 {
		t.Errorf("%d requests with %d tokens for 200 operations", files, tokens)
	}
}

// TestWrongCredentialsAreNotTriedAgain has many operations and one request.
func TestWrongCredentialsAreNotTriedAgain(t *testing.T) {
	for _, code := range []string{"invalid_grant", "illegal_argument"} {
		s := scripted(t)
		s.token = func(_ int, w http.ResponseWriter, _ *http.Request) { fail(w, 400, code, "no such client") }
		c := newClient(t, s.URL, func(c *remote.Config) { c.FirstPause = time.Minute })
		for range 20 {
			if err := put(c); !errors.Is(err, remote.ErrUnauthorized) {
				t.Errorf("got %v", err)
			}
		}
		if n := s.tokens.Load(); n != 1 {
			t.Errorf("%d tokens were asked for", n)
		}
	}
}

// TestCloseEndsATokenRequest leaves no goroutine.
func TestCloseEndsATokenRequest(t *testing.T) {
	s := scripted(t)
	asked := make(chan struct{})
	s.token = func(_ int, _ http.ResponseWriter, r *http.Request) { close(asked); s.hang(r) }
	c := newClient(t, s.URL)
	end := make(chan error)
	go func() { end <- get(c) }()
	<-asked
	must(t, c.Close())
	if err := <-end; !errors.Is(err, remote.ErrUnavailable) {
		t.Errorf("got %v", err)
	}
}

func TestLoginProvesTheCredentials(t *testing.T) {
	given := func(c *remote.Config) { c.Token = entity.NewSecret(theToken) }
	for _, x := range []struct {
		name   string
		change func(*remote.Config)
		status int
		code   string
		want   error
	}{
		{"a token that works", given, 404, "entity_not_found", nil},
		{"a token that does not", given, 401, "auth_bad_access_token", remote.ErrUnauthorized},
		{"no such app", given, 404, "organization_application_not_found", remote.ErrNotFound},
		{"an app", func(*remote.Config) {}, 0, "", nil},
	} {
		s := scripted(t)
		s.file = func(_ int, w http.ResponseWriter, _ *http.Request) { fail(w, x.status, x.code, "") }
		if err := newClient(t, s.URL, x.change).Login(context.Background()); !errors.Is(err, x.want) {
			t.Errorf("%s: %v", x.name, err)
		}
	}
}
