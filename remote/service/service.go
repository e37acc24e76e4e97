package service

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"
	"golang.org/x/crypto/bcrypt"
	"golang.org/x/time/rate"

	"chatfs/internal/entity"
)

// Config says what is served, and where.
type Config struct {
	Dir      string // data, 0700; made if need be
	Org, App string
	Listen   string // address; "" is a free port of 127.0.0.1
	TLSCert  string // files in PEM form; both or none
	TLSKey   string

	MaxSize     int64         // bytes a file; 0 is entity.MaxSize
	Quota       int64         // bytes of all files, beyond which uploads are refused; 0 is no bound
	ExpireAfter time.Duration // files are forgotten after; 0 is never
	RPS         float64       // requests a second an app; 0 is no limit
	Lifetime    bool          // answer the lifetime call, as where it is bought
	HistoryRPM  int           // calls a minute for the message history; 0 is no limit
	Patience    time.Duration // between two bytes of a body, with a slow client; 0 is 30 s
	PruneEvery  time.Duration // between two removals of what has expired; 0 is an hour
	Faults      *Faults       // for tests: what goes wrong; nil is nothing

	Closed       bool     // nobody registers: the users that there are, and the app, alone
	Origins      []string // of web pages that may ask, "https://chat.example"; "*" is any; none by default
	LoopbackOnly bool     // requests whose Host is no loopback address are refused, against DNS rebinding
	FalseIsOpen  bool     // "restrict-access: false" does not restrict, as newer documents have it

	Log *logrus.Entry
	Now func() time.Time // nil is time.Now
}

// ErrInUse says that another process serves the same data.
var ErrInUse = errors.New("the service's data is in use by another process")

// A Service serves one app.
type Service struct {
	Config
	store   *store
	quota   quota
	creds   credentials
	compare func(hash, password []byte) error // bcrypt's
	appID   entity.UUID
	base    string
	server  *http.Server
	second  *http.Server // where faults redirect to; nil without faults
	other   string       // its address
	limiter *rate.Limiter
	// of the message history
	historyLimiter *rate.Limiter

	ctx    context.Context // ends when Shutdown has no more patience
	stop   context.CancelFunc
	served sync.WaitGroup
	thumbs *thumbnailer

	started  time.Time
	messages atomic.Uint64 // since then

	mu     sync.Mutex
	counts Counts
}

// Counts are what has been asked for since Start.
type Counts struct {
	Requests, Tokens, Uploads, Downloads, Thumbnails int
	Leaks                                            int // requests with credentials that followed a redirect to another host
	Faults                                           map[string]int
}

// Timeouts against slow clients, and bounds of what they may send.
const (
	headerTimeout = 20 * time.Second
	idleTimeout   = 2 * time.Minute
	slowTimeout   = 30 * time.Second // between two bytes of a body, unless Config says otherwise
	maxHeader     = 64 << 10
	maxJSON       = 1 << 20
)

func (c *Config) setDefaults() {
	if c.MaxSize == 0 {
		c.MaxSize = entity.MaxSize
	}
	if c.Listen == "" {
		c.Listen = "127.0.0.1:0"
	}
	if c.Patience == 0 {
		c.Patience = slowTimeout
	}
	if c.PruneEvery == 0 {
		c.PruneEvery = pruneEvery
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = logrus.NewEntry(logrus.StandardLogger())
	}
}

// Start opens the data, listens and serves until Shutdown.
func Start(c Config) (*Service, error) {
	c.setDefaults()
	s := &Service{Config: c, compare: bcrypt.CompareHashAndPassword, started: c.Now()}
	s.thumbs = newThumbnailer(s.makeThumbnail)
	s.ctx, s.stop = context.WithCancel(context.Background())
	if c.RPS > 0 {
		s.limiter = rate.NewLimiter(rate.Limit(c.RPS), max(int(c.RPS), 1))
	}
	if c.HistoryRPM > 0 {
		s.historyLimiter = rate.NewLimiter(rate.Limit(c.HistoryRPM)/60, c.HistoryRPM)
	}
	var err error
	if s.store, err = openStore(c.Dir); err != nil {
		return nil, err
	}
	if err = s.countQuota(); err == nil {
		err = s.loadCredentials()
	}
	if err == nil {
		err = s.listen()
	}
	if err != nil {
		s.store.close()
		return nil, err
	}
	s.served.Go(s.pruneNowAndThen)
	for range thumbsAtOnce() {
		s.served.Go(s.thumbs.work)
	}
	return s, nil
}

func (s *Service) listen() error {
	var config *tls.Config
	if s.TLSCert != "" {
		cert, err := tls.LoadX509KeyPair(s.TLSCert, s.TLSKey)
		if err != nil {
			return fmt.Errorf("TLS certificate: %w", err)
		}
		config = &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
	}
	ln, err := net.Listen("tcp", s.Listen)
	if err != nil {
		return err
	}
	s.server = s.newServer(s.routes())
	scheme := "http"
	serve := func() error { return s.server.Serve(ln) }
	if config != nil {
		scheme = "https"
		s.server.TLSConfig = config
		serve = func() error { return s.server.ServeTLS(ln, "", "") }
	}
	s.base = fmt.Sprintf("%s://%s/%s/%s", scheme, ln.Addr(), s.Org, s.App)
	if s.Faults != nil {
		other, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			ln.Close()
			return err
		}
		s.second, s.other = s.newServer(http.HandlerFunc(s.objectStore)), "http://"+other.Addr().String()
		s.run(func() error { return s.second.Serve(other) })
	}
	s.run(serve)
	return nil
}

func (s *Service) newServer(h http.Handler) *http.Server {
	return &http.Server{Handler: h, ReadHeaderTimeout: headerTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeader}
}

func (s *Service) run(serve func() error) {
	s.served.Go(func() {
		if err := serve(); err != nil && !errors.Is(err, http.ErrServerClosed) {
			s.Log.WithError(err).Error("the service ended")
		}
	})
}

// Base is the app's address.
func (s *Service) Base() string { return s.base }

// Credentials are the app's own, made at the first start and kept in
// Dir/credentials.json, 0600.
func (s *Service) Credentials() (clientID string, clientSecret entity.Secret) {
	return s.creds.ID, entity.NewSecret(s.creds.Secret)
}

// Shutdown ends the service once the requests under way have ended, or ctx
// has.
func (s *Service) Shutdown(ctx context.Context) error {
	err := s.server.Shutdown(ctx)
	s.stop()
	s.thumbs.close()
	if err != nil {
		s.server.Close()
	}
	if s.second != nil {
		s.second.Close()
	}
	s.served.Wait()
	return errors.Join(err, s.store.close())
}

// Counts tells what has been asked for.
func (s *Service) Counts() Counts {
	s.mu.Lock()
	c := s.counts
	s.mu.Unlock()
	if s.Faults != nil {
		c.Faults = s.Faults.Counts()
	}
	return c
}

func (s *Service) count(f func(*Counts)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(&s.counts)
}

// CredentialsFile is where the app's credentials are kept.
func (s *Service) CredentialsFile() string { return filepath.Join(s.Dir, "credentials.json") }

type credentials struct {
	ID     string      `json:"client_id"`
	Secret string      `json:"client_secret"`
	App    entity.UUID `json:"application"`
}

func (s *Service) loadCredentials() error {
	path := s.CredentialsFile()
	b, err := os.ReadFile(path)
	if err == nil {
		if err = json.Unmarshal(b, &s.creds); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		s.appID = s.creds.App
		return nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if s.appID, err = entity.NewUUID(); err != nil {
		return err
	}
	s.creds = credentials{"YXA6" + random(18), "YXA6" + random(24), s.appID}
	if b, err = json.MarshalIndent(s.creds, "", "  "); err != nil {
		return err
	}
	return writeWhole(path, b)
}

// writeWhole makes a file, 0600, whole or not at all.
func writeWhole(path string, b []byte) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*") // 0600
	if err != nil {
		return err
	}
	_, err = tmp.Write(b)
	err = errors.Join(err, tmp.Sync(), tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(tmp.Name()))
	}
	return syncDir(filepath.Dir(path))
}

// random is n bytes of crypto/rand, URL-safe.
func random(n int) string {
	b := make([]byte, n)
	rand.Read(b) // never fails
	return base64.RawURLEncoding.EncodeToString(b)
}
