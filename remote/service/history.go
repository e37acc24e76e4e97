package service

import (
	"bytes"
	"compress/gzip"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"go.etcd.io/bbolt"
)

const (
	hourForm    = "2006010215"
	historyDays = 3
	// addressLife is how long a history file's address works.
	addressLife = 30 * time.Minute
	// historyPath leads to the history's files. It is no path of the API: the
	// real service's files lie at an object store.
	historyPath = "/history-files/"
)

var (
	errNoHistory = fail(http.StatusNotFound, "storage_object_not_found", "Failed to find storage object")
	errAppOnly   = fail(http.StatusUnauthorized, "unauthorized", "the app's own token is asked for")
	errAddress   = fail(http.StatusForbidden, "forbidden", "the address is wrong or too old")
)

// history answers GET /chatmessages/{yyyyMMddHH} with the address of the
// hour's file, for the app itself alone. Choices: hours are UTC's, as outside
// China, and an hour that goes on can be asked for already.
func (s *Service) history(w http.ResponseWriter, r *http.Request) *failure {
	user, f := s.authorize(r)
	if f == nil && user != "" {
		f = errAppOnly
	}
	if f != nil {
		return f
	}
	if s.historyLimiter != nil && !s.historyLimiter.Allow() {
		return errReachLimit
	}
	hour, err := time.ParseInLocation(hourForm, r.PathValue("hour"), time.UTC)
	if err != nil {
		return fail(http.StatusBadRequest, "illegal_argument", "the hour is not of the form yyyyMMddHH")
	}
	records, err := s.store.messages(hour)
	if err != nil {
		return errStorage
	}
	if len(records) == 0 || s.Now().Sub(hour) > historyDays*24*time.Hour {
		return errNoHistory
	}
	writeJSON(w, http.StatusOK, map[string]any{"data": []any{map[string]any{"url": s.signedAddress(r, r.PathValue("hour"))}}})
	return nil
}

// signedAddress is a history file's address, good for a while and for whoever
// has it.
func (s *Service) signedAddress(r *http.Request, hour string) string {
	expires := strconv.FormatInt(s.Now().Add(addressLife).Unix(), 10)
	q := url.Values{"expires": {expires}, "signature": {s.signature(hour, expires)}}
	return scheme(r) + "://" + r.Host + historyPath + hour + "?" + q.Encode()
}

func (s *Service) signature(hour, expires string) string {
	mac := hmac.New(sha256.New, []byte(s.creds.Secret))
	mac.Write([]byte(hour + "\x00" + expires))
	return hex.EncodeToString(mac.Sum(nil))
}

// historyFile serves an hour's messages as gzip of a JSON record a line.
func (s *Service) historyFile(w http.ResponseWriter, r *http.Request) *failure {
	name, q := r.PathValue("hour"), r.URL.Query()
	until, err := strconv.ParseInt(q.Get("expires"), 10, 64)
	if err != nil || s.Now().Unix() > until || !hmac.Equal([]byte(q.Get("signature")), []byte(s.signature(name, q.Get("expires")))) {
		return errAddress
	}
	hour, err := time.ParseInLocation(hourForm, name, time.UTC)
	if err != nil {
		return errAddress
	}
	records, err := s.store.messages(hour)
	if err != nil {
		return errStorage
	}
	w.Header().Set("Content-Type", "application/gzip")
	z := gzip.NewWriter(&slowWriter{w, http.NewResponseController(w), s.Patience})
	for _, record := range records {
		if _, err := z.Write(append(record, '\n')); err != nil {
			return nil // the client left
		}
	}
	z.Close()
	return nil
}

// messages reads the records of the hour that begins at from, as they are
// stored, the oldest first.
func (s *store) messages(from time.Time) (records [][]byte, err error) {
	end := timeKey(from.Add(time.Hour))
	err = s.db.View(func(tx *bbolt.Tx) error {
		c := tx.Bucket(bucketMessages).Cursor()
		for k, v := c.Seek(timeKey(from)); k != nil && bytes.Compare(k, end) < 0; k, v = c.Next() {
			records = append(records, bytes.Clone(v))
		}
		return nil
	})
	return records, err
}
