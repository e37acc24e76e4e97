package service

import (
	"errors"
	"io"
	"net/http"
	"runtime/debug"
	"time"

	"github.com/sirupsen/logrus"
)

type handler func(http.ResponseWriter, *http.Request) *failure

// routes are the API's paths.
func (s *Service) routes() http.Handler {
	mux := http.NewServeMux()
	handle := func(pattern string, h handler) { mux.Handle(pattern, s.serve(h)) }
	handle("POST /{org}/{app}/token", s.faulty("token", s.token))
	handle("POST /{org}/{app}/users", s.register)
	handle("POST /{org}/{app}/chatfiles", s.faulty("upload", s.authorized(s.upload)))
	handle("GET /{org}/{app}/chatfiles/{uuid}", s.faulty("download", s.authorized(s.download)))
	handle("PUT /{org}/{app}/users/{user}/chatfiles/lifetime", s.authorized(s.lifetime))
	handle("POST /{org}/{app}/messages/users", s.faulty("message", s.authorized(s.sendMessage("chat"))))
	handle("POST /{org}/{app}/messages/chatgroups", s.faulty("message", s.authorized(s.sendMessage("groupchat"))))
	handle("POST /{org}/{app}/messages/chatrooms", s.faulty("message", s.authorized(s.sendMessage("chatroom"))))
	handle("GET /{org}/{app}/chatmessages/{hour}", s.faulty("history", s.history))
	handle("GET "+historyPath+"{hour}", s.historyFile)
	handle("OPTIONS /", preflight)
	handle("/", func(http.ResponseWriter, *http.Request) *failure { return errNoResource })
	return mux
}

// serve counts and bounds a request, and answers its failure.
func (s *Service) serve(h handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		s.count(func(c *Counts) { c.Requests++ })
		r.Body = &slowBody{ReadCloser: r.Body, control: http.NewResponseController(w), patience: s.Patience, began: began}
		if s.Log.Logger.IsLevelEnabled(logrus.DebugLevel) {
			a := &answered{ResponseWriter: w, status: http.StatusOK}
			defer func() { s.tell(r, a, began) }()
			w = a
		}
		defer func() {
			if p := recover(); p != nil && p != http.ErrAbortHandler {
				s.Log.Errorf("%s %s panicked: %v\n%s", r.Method, r.URL.Path, p, debug.Stack())
				panic(http.ErrAbortHandler)
			} else if p != nil {
				panic(p)
			}
		}()
		if f := s.allow(w, r); f != nil {
			f.write(w, began)
		} else if f := s.check(r); f != nil {
			f.write(w, began)
		} else if f := h(w, r); f != nil {
			f.write(w, began)
		}
	})
}

// check refuses what is for another app, and what comes too fast.
func (s *Service) check(r *http.Request) *failure {
	org := r.PathValue("org")
	if org == "" { // a preflight, or none of the app's
		return nil
	}
	if org != s.Org || r.PathValue("app") != s.App {
		return errNoApp
	}
	if s.limiter != nil && !s.limiter.Allow() {
		return errReachLimit
	}
	return nil
}

func (s *Service) authorized(h handler) handler {
	return func(w http.ResponseWriter, r *http.Request) *failure {
		if _, f := s.authorize(r); f != nil {
			return f
		}
		return h(w, r)
	}
}

// preflight answers the browsers of pages that may ask.
func preflight(w http.ResponseWriter, r *http.Request) *failure {
	if r.Header.Get("Origin") == "" {
		return nil
	}
	h := w.Header()
	h.Set("Access-Control-Allow-Methods", "GET, POST, PUT, OPTIONS")
	h.Set("Access-Control-Allow-Headers", "authorization, content-type, accept, restrict-access, share-secret, thumbnail, thumbnail-width, thumbnail-height, x-requested-with")
	h.Set("Access-Control-Max-Age", "86400")
	w.WriteHeader(http.StatusOK)
	return nil
}

// slowestBody is what a client has to send on the whole, in bytes a second: one
// byte now and then would hold a connection for ever.
const slowestBody = 1 << 10

// slowBody ends a request whose client sends nothing for too long, or too
// little.
type slowBody struct {
	io.ReadCloser
	control  *http.ResponseController
	patience time.Duration
	began    time.Time
	n        int64 // bytes
}

func (b *slowBody) Read(p []byte) (int, error) {
	deadline := time.Now().Add(b.patience)
	if whole := b.began.Add(2*b.patience + time.Duration(b.n)*time.Second/slowestBody); whole.Before(deadline) {
		deadline = whole
	}
	if err := b.control.SetReadDeadline(deadline); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return 0, err
	}
	n, err := b.ReadCloser.Read(p)
	b.n += int64(n)
	if errors.Is(err, io.EOF) {
		_ = b.control.SetReadDeadline(time.Time{}) // the answer may take its time
	}
	return n, err
}

// envelope is what a success is told in; without entities, in none.
func (s *Service) envelope(r *http.Request, path string, entities []any) map[string]any {
	e := map[string]any{
		"action": "post", "application": s.appID, "path": path,
		"uri":       scheme(r) + "://" + r.Host + "/" + s.Org + "/" + s.App + path,
		"timestamp": s.Now().UnixMilli(), "duration": 0,
		"organization": s.Org, "applicationName": s.App,
	}
	if entities != nil {
		e["entities"] = entities
	}
	return e
}

// scheme is that of a request.
func scheme(r *http.Request) string {
	if r.TLS != nil {
		return "https"
	}
	return "http"
}
