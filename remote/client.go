package remote

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
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
	MaxRPS       float64 // requests a second, up and down together; 0 is DefaultRPS, less is no limit
	Version      string  // for the User-Agent
	Log          *logrus.Entry

	// Patience with the service; 0 is the default.
	DialTimeout     time.Duration // to connect: 10 s
	AnswerTimeout   time.Duration // to begin the answer: 30 s
	ProgressTimeout time.Duration // to send or take the next byte: 30 s
	MinRate         int64         // of a download while that time goes by, in bytes a second: 1 KiB
	MaxTries        int           // requests an operation makes: 5
	FirstPause      time.Duration // before an operation's second request: 250 ms
	Patience        time.Duration // with a service that asks to slow down, before an operation fails: 30 s
}

// DefaultRPS is what the service's documents allow an app, up and down each. A
// service that allows less is asked less.
const DefaultRPS = 100

func (c *Config) defaults() {
	setDefault(&c.MaxRPS, DefaultRPS)
	setDefault(&c.DialTimeout, 10*time.Second)
	setDefault(&c.AnswerTimeout, 30*time.Second)
	setDefault(&c.ProgressTimeout, 30*time.Second)
	setDefault(&c.MinRate, 1<<10)
	setDefault(&c.MaxTries, 5)
	setDefault(&c.FirstPause, 250*time.Millisecond)
	setDefault(&c.Patience, 30*time.Second)
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
	base   *url.URL
	http   *http.Client
	tokens tokens
	limits *throttle
	ctx    context.Context // ends with Close
	stop   context.CancelFunc
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
	cl := &Client{Config: c, base: base, limits: newThrottle(c.MaxRPS, c.Patience)}
	cl.ctx, cl.stop = context.WithCancel(context.Background())
	cl.tokens.init(cl)
	dialer := &net.Dialer{Timeout: c.DialTimeout, KeepAlive: 30 * time.Second}
	cl.http = &http.Client{CheckRedirect: cl.checkRedirect, Transport: &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           dialer.DialContext,
		TLSHandshakeTimeout:   c.DialTimeout,
		ResponseHeaderTimeout: c.AnswerTimeout,
		TLSClientConfig:       &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		ForceAttemptHTTP2:     true,
		// A connection that died without a word is noticed, and left.
		HTTP2:               &http.HTTP2Config{SendPingTimeout: c.ProgressTimeout / 2, PingTimeout: c.DialTimeout},
		MaxIdleConns:        128,
		MaxIdleConnsPerHost: 64,
		IdleConnTimeout:     90 * time.Second,
		WriteBufferSize:     64 << 10,
		ReadBufferSize:      64 << 10,
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

// checkRedirect lets no credential go to another host. A 302 of a download
// leads to an object store that wants neither. Of other requests none is
// followed: their bodies may hold a password, and no document tells of one.
func (c *Client) checkRedirect(req *http.Request, via []*http.Request) error {
	if len(via) >= maxRedirects {
		return fmt.Errorf("%w: more than %d", errRedirect, maxRedirects)
	}
	if via[0].Method != http.MethodGet {
		return fmt.Errorf("%w of a %s", errRedirect, via[0].Method)
	}
	if req.URL.Scheme == "http" && !c.InsecureHTTP && (c.base.Scheme == "https" || !isLoopback(req.URL.Hostname())) {
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

// Close ends a request for a token that is under way, and closes idle
// connections. Other requests end with their contexts.
func (c *Client) Close() error {
	c.stop()
	c.tokens.wait()
	c.limits.close()
	c.http.CloseIdleConnections()
	return nil
}

// A call is one operation: how its requests are made, and what is done with
// an answer that is a success. use ends the exchange; its temporary errors
// count as failures.
type call struct {
	of       direction
	priority func() Priority
	make     func(context.Context) (*http.Request, error)
	use      func(*exchange) error
}

// do makes the request until it succeeds, cannot succeed or was tried often
// enough. Being told to slow down is no failure of the request, and has a
// bound of its own: Config.Patience.
func (c *Client) do(ctx context.Context, k call) error {
	began, renewed, tries := time.Now(), false, 0
	var refused time.Time // first
	for {
		token, err := c.tokens.get(ctx)
		if err == nil {
			err = c.once(ctx, k, token, began)
		}
		switch {
		case err == nil || ctx.Err() != nil && !Temporary(err):
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, ErrUnauthorized) && !renewed && !token.IsZero() && c.tokens.renews():
			renewed = true
			c.tokens.refused(token)
		case errors.Is(err, ErrThrottled): // its turn comes by the throttle
			if refused.IsZero() {
				refused = time.Now()
			}
			if !c.limits.again(err, refused) {
				return err
			}
		case Temporary(err):
			if tries++; tries >= c.MaxTries {
				return err
			}
			if err := sleep(ctx, backOff(c.FirstPause, tries)); err != nil {
				return err
			}
		default:
			return err
		}
	}
}

// once makes one request of an operation, when it may be sent.
func (c *Client) once(ctx context.Context, k call, token entity.Secret, began time.Time) error {
	falls, err := c.limits.wait(ctx, k.of, k.priority, began)
	if err != nil {
		return err
	}
	x, err := c.begin(ctx, func(ctx context.Context) (*http.Request, error) {
		req, err := k.make(ctx)
		if err == nil && !token.IsZero() {
			req.Header.Set("Authorization", "Bearer "+token.Reveal())
		}
		return req, err
	})
	if err != nil {
		c.Log.WithError(err).Debugf("%s: no answer after %s", k.of, time.Since(began).Round(time.Millisecond))
		return err
	}
	c.Log.Debugf("%s %q: %d, %d bytes up, %d down, answered after %s", x.req.Method, x.req.URL.EscapedPath(), x.resp.StatusCode,
		max(x.req.ContentLength, 0), max(x.resp.ContentLength, 0), time.Since(began).Round(time.Millisecond))
	if x.resp.StatusCode == http.StatusOK {
		c.limits.worked(k.of, falls)
		return k.use(x)
	}
	defer x.end()
	failure := x.failure()
	if errors.Is(failure, ErrThrottled) {
		c.slowDown(k.of, falls, failure, x.resp.Header.Get("Retry-After"))
	}
	return failure
}

func (c *Client) slowDown(d direction, falls int, failure *Error, header string) {
	asked := retryAfter(header, time.Now())
	rate, until := c.limits.slowDown(d, falls, asked)
	failure.RetryAt = until
	if asked > 0 {
		c.Log.WithError(failure).Warnf("%s pause until %s: the service asked for %s", d, until.Format(time.TimeOnly), asked)
	}
	if rate > 0 {
		c.Log.WithError(failure).Debugf("the service takes less: %.3g requests a second from now on", rate)
	}
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
