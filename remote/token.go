package remote

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
	"golang.org/x/time/rate"

	"chatfs/internal/entity"
)

// tokens keeps the one token that all requests of a Client use.
type tokens struct {
	client *Client
	flight singleflight.Group
	// believed bounds how often a 401 makes the client ask for a new token:
	// a service that refuses each one must not be asked without end.
	believed *rate.Limiter

	mu     sync.Mutex
	token  entity.Secret
	renew  time.Time // half of the token's life
	failed error     // why the last request for one failed
	again  time.Time // not before this is another asked for
	tries  int       // that failed in a row
}

// Bounds of what a service may say of a token's life.
const (
	minLife     = 10 * time.Second
	maxLife     = 60 * 24 * time.Hour
	defaultLife = time.Hour
)

// Of the tokens that the service refused, a few are replaced at once, others
// not before the time: an account that asks too often gets blocked.
const (
	replacedAtOnce = 3
	replacedEvery  = 30 * time.Second
)

// unanswered caps the pause between requests that never reached the service:
// they cost it nothing, and the network may be back any moment.
const unanswered = 2 * time.Second

func (t *tokens) init(c *Client) {
	t.client = c
	t.believed = rate.NewLimiter(rate.Every(replacedEvery), replacedAtOnce)
}

// renews tells whether a new token can be had.
func (t *tokens) renews() bool { return t.client.Token.IsZero() }

// get gives the token. All that need a new one share one request, which is
// made in the background where the token they have may still work. After a
// failure another request waits for its time; one that was refused for good
// is answered with that meanwhile.
func (t *tokens) get(ctx context.Context) (entity.Secret, error) {
	if !t.renews() {
		return t.client.Token, nil
	}
	t.mu.Lock()
	token, failed, rest, due := t.token, t.failed, time.Until(t.again), !time.Now().Before(t.renew)
	t.mu.Unlock()
	switch {
	case !token.IsZero():
		if due && rest <= 0 {
			t.flight.DoChan("", t.fetch)
		}
		return token, nil
	case rest > 0 && (!Temporary(failed) || rest > t.client.Patience && errors.Is(failed, ErrThrottled)):
		return entity.Secret{}, failed
	case rest > 0:
		if err := sleep(ctx, rest); err != nil {
			return entity.Secret{}, err
		}
	}
	select {
	case r := <-t.flight.DoChan("", t.fetch):
		if r.Err != nil {
			return entity.Secret{}, r.Err
		}
		return r.Val.(entity.Secret), nil
	case <-ctx.Done():
		return entity.Secret{}, ctx.Err()
	}
}

// refused drops a token that the service does not accept, unless it was
// replaced meanwhile, or too many were.
func (t *tokens) refused(token entity.Secret) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.token == token && t.believed.Allow() {
		t.token = entity.Secret{}
	}
}

// wait returns once no request for a token is under way.
func (t *tokens) wait() {
	<-t.flight.DoChan("", func() (any, error) { return nil, errClosed })
}

// fetch asks for a token, on the client's context since many wait for it.
func (t *tokens) fetch() (any, error) {
	t.mu.Lock()
	token, again := t.token, time.Until(t.again)
	fresh := !token.IsZero() && time.Now().Before(t.renew)
	failed := t.failed
	t.mu.Unlock()
	if fresh { // another request was first
		return token, nil
	}
	if again > 0 {
		return nil, failed
	}
	token, life, err := t.request()
	t.mu.Lock()
	defer t.mu.Unlock()
	if err != nil {
		t.tries++
		t.failed, t.again = err, time.Now().Add(t.pause(err))
		if answer := (*Error)(nil); errors.Is(err, ErrThrottled) && errors.As(err, &answer) {
			answer.RetryAt = t.again
		}
		return nil, err
	}
	t.token, t.failed, t.again, t.tries = token, nil, time.Time{}, 0
	t.renew = time.Now().Add(life / 2)
	return token, nil
}

// pause is what the next request for a token waits after a failure. The
// caller holds mu.
func (t *tokens) pause(err error) time.Duration {
	d := backOff(4*t.client.FirstPause, t.tries)
	var answer *Error
	switch errors.As(err, &answer); {
	case answer == nil:
	case !answer.RetryAt.IsZero():
		d = max(d, time.Until(answer.RetryAt))
	case answer.Status == 0:
		d = min(d, unanswered)
	}
	return d
}

// request makes one request for a token.
func (t *tokens) request() (token entity.Secret, life time.Duration, err error) {
	c := t.client
	ctx := c.ctx
	err = c.once(ctx, call{asking, priorityOf(ctx, Reads), t.makeRequest, func(x *exchange) (err error) {
		token, life, err = parseToken(x)
		return err
	}}, entity.Secret{}, time.Now())
	var answer *Error
	if errors.As(err, &answer) && (answer.Code == "invalid_grant" || errors.Is(err, ErrRejected)) {
		answer.Kind = ErrUnauthorized
	}
	if err != nil && ctx.Err() != nil { // Close is no caller's own end
		err = &Error{Kind: ErrUnavailable, Method: http.MethodPost, Path: c.base.JoinPath("token").Path, Err: errClosed}
	}
	return token, life, err
}

var errClosed = errors.New("the client is closed")

func (t *tokens) makeRequest(ctx context.Context) (*http.Request, error) {
	c := t.client
	body := map[string]string{"grant_type": "client_credentials", "client_id": c.ClientID, "client_secret": c.ClientSecret.Reveal()}
	if c.ClientID == "" {
		body = map[string]string{"grant_type": "password", "username": c.Username, "password": c.Password.Reveal()}
	}
	payload, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.address("token"), bytes.NewReader(payload))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json")
	return req, nil
}

// parseToken reads a token and its life in seconds, which is not believed
// beyond reason.
func parseToken(x *exchange) (entity.Secret, time.Duration, error) {
	var answer struct {
		Token   string          `json:"access_token"`
		Expires json.RawMessage `json:"expires_in"`
	}
	if err := x.decode(&answer); err != nil {
		return entity.Secret{}, 0, err
	}
	if answer.Token == "" {
		return entity.Secret{}, 0, x.malformed("no access_token in the answer")
	}
	return entity.NewSecret(answer.Token), lifeOf(string(answer.Expires)), nil
}

// lifeOf reads a number of seconds, quoted or not.
func lifeOf(seconds string) time.Duration {
	s, err := strconv.ParseFloat(strings.Trim(seconds, `"`), 64)
	if err != nil || !(s > 0) {
		return defaultLife
	}
	return max(time.Duration(min(s, maxLife.Seconds())*float64(time.Second)), minLife)
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
