package remote

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"chatfs/internal/entity"
)

// tokens keeps the one token that all requests of a Client use.
type tokens struct {
	client *Client
	flight singleflight.Group

	mu     sync.Mutex
	token  entity.Secret
	old    entity.Secret // the one before, which errors may still echo
	renew  time.Time     // half of the token's life
	failed error         // why the last request for one failed
	again  time.Time     // not before this is another asked for
	tries  int           // that failed in a row
}

// Bounds of what a service may say of a token's life.
const (
	minLife     = 10 * time.Second
	maxLife     = 60 * 24 * time.Hour
	defaultLife = time.Hour
)

// renews tells whether a new token can be had.
func (t *tokens) renews() bool { return t.client.Token.IsZero() }

func (t *tokens) known() []entity.Secret {
	t.mu.Lock()
	defer t.mu.Unlock()
	return []entity.Secret{t.token, t.old}
}

// get gives the token, a new one if need be. All that wait share one request.
func (t *tokens) get(ctx context.Context) (entity.Secret, error) {
	if !t.renews() {
		return t.client.Token, nil
	}
	t.mu.Lock()
	token, due, failed, again := t.token, time.Now().After(t.renew), t.failed, t.again
	t.mu.Unlock()
	if !token.IsZero() && !due {
		return token, nil
	}
	if failed != nil && time.Now().Before(again) {
		if !token.IsZero() {
			return token, nil // past half its life, it may well work
		}
		return token, failed // no storm of requests that fail
	}
	result := t.flight.DoChan("", func() (any, error) { return t.fetch() })
	select {
	case r := <-result:
		if r.Err != nil && !token.IsZero() {
			return token, nil
		}
		if r.Err != nil {
			return entity.Secret{}, r.Err
		}
		return r.Val.(entity.Secret), nil
	case <-ctx.Done():
		return entity.Secret{}, ctx.Err()
	}
}

// expire drops a token that the service refused, unless it was replaced
// meanwhile.
func (t *tokens) expire(token entity.Secret) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.token == token {
		t.old, t.token = t.token, entity.Secret{}
	}
}

// fetch asks for a token, on a context of its own since many wait for it.
func (t *tokens) fetch() (entity.Secret, error) {
	t.mu.Lock()
	fresh := !t.token.IsZero() && time.Now().Before(t.renew)
	token := t.token
	t.mu.Unlock()
	if fresh { // another request was first
		return token, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), t.client.DialTimeout+t.client.AnswerTimeout)
	defer cancel()
	token, life, err := t.request(ctx)
	t.mu.Lock()
	defer t.mu.Unlock()
	if err != nil {
		t.tries++
		t.failed, t.again = err, time.Now().Add(backOff(time.Second, t.tries))
		return entity.Secret{}, err
	}
	t.old, t.token, t.failed, t.tries = t.token, token, nil, 0
	t.renew = time.Now().Add(life / 2)
	return token, nil
}

func (t *tokens) request(ctx context.Context) (entity.Secret, time.Duration, error) {
	c := t.client
	body := map[string]string{"grant_type": "client_credentials", "client_id": c.ClientID, "client_secret": c.ClientSecret.Reveal()}
	if c.ClientID == "" {
		body = map[string]string{"grant_type": "password", "username": c.Username, "password": c.Password.Reveal()}
	}
	payload, err := json.Marshal(body)
	if err != nil {
		return entity.Secret{}, 0, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.address("token"), bytes.NewReader(payload))
	if err != nil {
		return entity.Secret{}, 0, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "chatfs/"+c.Version)
	resp, err := c.http.Do(req)
	if err != nil {
		// Its end is no caller's, so it counts as the service's.
		return entity.Secret{}, 0, c.broken(context.Background(), req, err)
	}
	defer drain(resp.Body)
	if resp.StatusCode != http.StatusOK {
		err := c.failure(resp)
		if err.Code == "invalid_grant" || errors.Is(err, ErrRejected) {
			err.Kind = ErrUnauthorized
		}
		return entity.Secret{}, 0, err
	}
	return parseToken(req, resp.Body)
}

// parseToken reads a token and its life in seconds, which is not believed
// beyond reason.
func parseToken(req *http.Request, body io.Reader) (entity.Secret, time.Duration, error) {
	var answer struct {
		Token   string  `json:"access_token"`
		Expires float64 `json:"expires_in"`
	}
	err := json.NewDecoder(io.LimitReader(body, maxEnvelope)).Decode(&answer)
	if err != nil || answer.Token == "" {
		return entity.Secret{}, 0, &Error{Kind: ErrMalformed, Status: http.StatusOK, Method: req.Method, Path: req.URL.Path,
			Err: fmt.Errorf("no access_token in the answer")}
	}
	life := defaultLife
	if s := answer.Expires; s > 0 {
		life = min(max(time.Duration(min(s, maxLife.Seconds())*float64(time.Second)), minLife), maxLife)
	}
	return entity.NewSecret(answer.Token), life, nil
}

// noSuchApp is the service's code for an org or app that it does not know.
const noSuchApp = "organization_application_not_found"

// Login proves the credentials: by asking for a token, or where one is given,
// by asking for an entity that cannot exist.
func (c *Client) Login(ctx context.Context) error {
	if c.tokens.renews() {
		_, err := c.tokens.get(ctx)
		return err
	}
	body, err := c.Download(ctx, entity.UUID{}, entity.Secret{}, false)
	if err == nil {
		body.Close()
	}
	var answer *Error
	if errors.As(err, &answer) && answer.Code == noSuchApp {
		return err
	}
	if errors.Is(err, ErrNotFound) || errors.Is(err, ErrExpired) || errors.Is(err, ErrRejected) {
		return nil
	}
	return err
}
