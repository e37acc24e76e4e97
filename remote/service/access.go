package service

import (
	"net"
	"net/http"
	"slices"
	"time"
)

// allow tells who may ask at all, before anything is read of a request, and
// what web pages may see of the answer.
func (s *Service) allow(w http.ResponseWriter, r *http.Request) *failure {
	if s.LoopbackOnly && !isLoopback(r.Host) {
		return errHost
	}
	origin := r.Header.Get("Origin")
	switch {
	case origin == "":
	case slices.Contains(s.Origins, "*"):
		w.Header().Set("Access-Control-Allow-Origin", "*")
	case slices.Contains(s.Origins, origin):
		w.Header().Set("Access-Control-Allow-Origin", origin)
		w.Header().Add("Vary", "Origin")
	default: // a browser sends some requests without asking first
		return errOrigin
	}
	return nil
}

// isLoopback tells whether a Host header names this machine by an address, or
// as localhost: a page's own name that leads here does not.
func isLoopback(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// An answered remembers what of an answer the log tells.
type answered struct {
	http.ResponseWriter
	status int
	bytes  int64
}

// WriteHeader learns the status.
func (a *answered) WriteHeader(status int) {
	a.status = status
	a.ResponseWriter.WriteHeader(status)
}

// Write counts the bytes.
func (a *answered) Write(p []byte) (int, error) {
	n, err := a.ResponseWriter.Write(p)
	a.bytes += int64(n)
	return n, err
}

// Unwrap is for http.ResponseController.
func (a *answered) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// tell logs a request in one line. Its query may hold a share-secret, and stays
// out.
func (s *Service) tell(r *http.Request, a *answered, began time.Time) {
	s.Log.Debugf("%s %q: %d, %d bytes in, %d bytes out, %s", r.Method, r.URL.EscapedPath(), a.status, max(r.ContentLength, 0), a.bytes,
		time.Since(began).Round(time.Millisecond))
}
