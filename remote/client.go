package remote

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/sirupsen/logrus"

	"chatfs/internal/entity"
)

// Config says which service, with which credentials.
type Config struct {
	Base string // https://HOST/ORG/APP

	// One of: a token; the app's id and secret; a user's name and password.
	Token        entity.Secret
	ClientID     string
	ClientSecret entity.Secret
	Username     string
	Password     entity.Secret

	InsecureHTTP bool    // speak plain http to other machines too
	CACert       string  // a file of PEM certificates to trust as well
	MaxRPS       float64 // requests a second, up and down each; 0 is DefaultRPS, less is no limit
	Version      string  // for the User-Agent
	Log          *logrus.Entry

	// Patience with the service; 0 is the default.
	DialTimeout     time.Duration // to connect: 10 s
	AnswerTimeout   time.Duration // to begin the answer: 30 s
	ProgressTimeout time.Duration // to send or take the next byte: 30 s
	MaxTries        int           // requests an operation makes: 5
	FirstPause      time.Duration // before an operation's second request: 250 ms
}

// DefaultRPS keeps well below the 100 requests a second that the service's
// documents allow an app, up and down each.
const DefaultRPS = 50

func (c *Config) defaults() {
	setDefault(&c.MaxRPS, DefaultRPS)
	setDefault(&c.DialTimeout, 10*time.Second)
	setDefault(&c.AnswerTimeout, 30*time.Second)
	setDefault(&c.ProgressTimeout, 30*time.Second)
	setDefault(&c.MaxTries, 5)
	setDefault(&c.FirstPause, 250*time.Millisecond)
	setDefault(&c.Version, "devel")
	if c.Log == nil {
		c.Log = logrus.NewEntry(logrus.StandardLogger())
	}
}

func setDefault[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

// A Client speaks to one app of a service. It is safe for concurrent use.
type Client struct {
	Config
	base     *url.URL
	http     *http.Client
	tokens   tokens
	up, down *throttle
}

// New makes a Client; nothing is sent. An address that has no org or app, or
// is plain http to another machine, is ErrBadBase.
func New(c Config) (*Client, error) {
	c.defaults()
	base, err := parseBase(c.Base, c.InsecureHTTP)
	if err != nil {
		return nil, err
	}
	roots, err := trusted(c.CACert)
	if err != nil {
		return nil, err
	}
	shared := new(pauses)
	cl := &Client{Config: c, base: base, up: newThrottle(c.MaxRPS, shared), down: newThrottle(c.MaxRPS, shared)}
	cl.tokens.client = cl
	dialer := &net.Dialer{Timeout: c.DialTimeout, KeepAlive: 30 * time.Second}
	cl.http = &http.Client{CheckRedirect: cl.checkRedirect, Transport: &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           dialer.DialContext,
		TLSHandshakeTimeout:   c.DialTimeout,
		ResponseHeaderTimeout: c.AnswerTimeout,
		TLSClientConfig:       &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		ForceAttemptHTTP2:     true,
		MaxIdleConns:          128,
		MaxIdleConnsPerHost:   64,
		IdleConnTimeout:       90 * time.Second,
		WriteBufferSize:       64 << 10,
		ReadBufferSize:        64 << 10,
		// The bytes of a file, not what a gateway makes of them.
		DisableCompression: true,
	}}
	return cl, nil
}

func parseBase(base string, insecure bool) (*url.URL, error) {
	u, err := url.Parse(strings.TrimRight(base, "/"))
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return nil, ErrBadBase
	}
	if u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("%w: without user, ? and #", ErrBadBase)
	}
	if parts := strings.Split(strings.Trim(u.Path, "/"), "/"); len(parts) != 2 || parts[0] == "" || parts[1] == "" {
		return nil, fmt.Errorf("%w: it lacks the org or the app", ErrBadBase)
	}
	if u.Scheme == "http" && !insecure && !isLoopback(u.Hostname()) {
		return nil, fmt.Errorf("%w: plain http to another machine shows credentials and files to the network; use https, or --insecure-http if you must", ErrBadBase)
	}
	return u, nil
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func trusted(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("CA certificates: %w", err)
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("CA certificates: %s holds none in PEM form", file)
	}
	return pool, nil
}

// maxRedirects bounds a chain of redirects.
const maxRedirects = 5

var errRedirect = errors.New("refused a redirect")

// checkRedirect lets no credential go to another host. A 302 of the service
// leads to an object store that wants neither.
func (c *Client) checkRedirect(req *http.Request, via []*http.Request) error {
	if len(via) >= maxRedirects {
		return fmt.Errorf("%w: more than %d", errRedirect, maxRedirects)
	}
	if req.URL.Scheme == "http" && !c.InsecureHTTP && !isLoopback(req.URL.Hostname()) {
		return fmt.Errorf("%w to plain http", errRedirect)
	}
	if req.URL.Scheme != c.base.Scheme || req.URL.Host != c.base.Host {
		req.Header.Del("Authorization")
		req.Header.Del("share-secret")
	}
	req.Header.Del("Referer")
	return nil
}

// URL is an entity's address.
func (c *Client) URL(u entity.UUID) string { return c.address("chatfiles", u.String()) }

func (c *Client) address(elem ...string) string { return c.base.JoinPath(elem...).String() }

// Close closes idle connections.
func (c *Client) Close() error {
	c.http.CloseIdleConnections()
	return nil
}

// redact takes the client's own secrets out of a text that a server sent.
func (c *Client) redact(s string) string {
	for _, secret := range append(c.tokens.known(), c.ClientSecret, c.Password, c.Token) {
		if !secret.IsZero() {
			s = strings.ReplaceAll(s, secret.Reveal(), "[redacted]")
		}
	}
	return s
}

// A call is one operation: how to make its request, and how often to try.
type call struct {
	throttle *throttle
	make     func(context.Context) (*http.Request, error)
}

// do makes the request until it succeeds, cannot succeed or was tried often
// enough. use gets each success; its temporary errors count as failures.
func (c *Client) do(ctx context.Context, k call, use func(*http.Response) error) error {
	renewed := false
	for try := 1; ; try++ {
		token, err := c.tokens.get(ctx)
		if err != nil {
			return err
		}
		err = c.once(ctx, k, token, use)
		switch {
		case err == nil || ctx.Err() != nil:
			return err
		case errors.Is(err, ErrUnauthorized) && !renewed && c.tokens.renews():
			c.tokens.expire(token)
			renewed = true
			continue
		case !Temporary(err) || try >= c.MaxTries:
			return err
		}
		if !errors.Is(err, ErrThrottled) { // that pause is the throttle's
			if err := sleep(ctx, backOff(c.FirstPause, try)); err != nil {
				return err
			}
		}
	}
}

func (c *Client) once(ctx context.Context, k call, token entity.Secret, use func(*http.Response) error) error {
	if err := k.throttle.wait(ctx); err != nil {
		return err
	}
	req, err := k.make(ctx)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+token.Reveal())
	req.Header.Set("User-Agent", "chatfs/"+c.Version)
	resp, err := c.http.Do(req)
	if err != nil {
		return c.broken(ctx, req, err)
	}
	if resp.StatusCode != http.StatusOK {
		defer drain(resp.Body)
		err := c.failure(resp)
		if errors.Is(err, ErrThrottled) {
			k.throttle.slowDown(retryAfter(resp.Header.Get("Retry-After"), time.Now()))
		}
		return err
	}
	k.throttle.worked()
	return use(resp)
}

// drain reads the rest of a body, within a bound, so that its connection can
// be used again.
func drain(body io.ReadCloser) {
	io.Copy(io.Discard, io.LimitReader(body, 256<<10))
	body.Close()
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
