package service

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"
)

// A failure is an answer of the table of errors in the API's documents.
type failure struct {
	status int
	code   string
	text   string
}

func (f *failure) Error() string { return f.code + ": " + f.text }

func fail(status int, code, text string) *failure { return &failure{status, code, text} }

var (
	errUnauthorized = fail(http.StatusUnauthorized, "unauthorized", "Unable to authenticate (OAuth)")
	errBadToken     = fail(http.StatusUnauthorized, "auth_bad_access_token", "Unable to authenticate due to corrupt or expired access token")
	errNoApp        = fail(http.StatusNotFound, "organization_application_not_found", "Could not find application for this org and app")
	errNoResource   = fail(http.StatusNotFound, "service_resource_not_found", "Service resource not found")
	errNoEntity     = fail(http.StatusNotFound, "entity_not_found", "Entity not found")
	errExpired      = fail(http.StatusNotFound, "file_expired", "file has expired")
	errNoFile       = fail(http.StatusBadRequest, "illegal_argument", "file must be provided.")
	errCut          = fail(http.StatusBadRequest, "illegal_argument", "the body is cut, or a part of it is too large")
	errTooLarge     = fail(http.StatusRequestEntityTooLarge, "file exceeding maximum limit", "file exceeding maximum limit")
	errPlan         = fail(http.StatusTooManyRequests, "resource_limited", "the plan's limit is reached")
	errReachLimit   = fail(http.StatusTooManyRequests, "reach_limit", "This request has reached api limit, please try again later")
	errClosed       = fail(http.StatusUnauthorized, "unauthorized", "registration is not open, please contact the app admin")
	errHost         = fail(http.StatusForbidden, "forbidden", "this service is asked by a loopback address alone")
	errOrigin       = fail(http.StatusForbidden, "forbidden", "pages of this origin may not ask this service")
	// Choice: the documents name no code for a wrong share-secret.
	errSecret  = fail(http.StatusForbidden, "forbidden", "the share-secret is missing or wrong")
	errGrant   = fail(http.StatusBadRequest, "invalid_grant", "invalid username or password")
	errStorage = fail(http.StatusInternalServerError, "internal_error", "the service's disk failed")
)

// writeJSON answers v with a status.
func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json;charset=UTF-8")
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // what is answered is made of strings and numbers
	}
	b = append(b, '\n')
	w.Header().Set("Content-Length", strconv.Itoa(len(b)))
	w.WriteHeader(status)
	w.Write(b)
}

func (f *failure) write(w http.ResponseWriter, began time.Time) {
	writeJSON(w, f.status, map[string]any{
		"error": f.code, "exception": "chatfs.service", "error_description": f.text,
		"timestamp": time.Now().UnixMilli(), "duration": time.Since(began).Milliseconds(),
	})
}
