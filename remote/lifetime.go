package remote

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"chatfs/internal/entity"
)

// MaxLifetimes is how many entities one call of Refresh may name: the
// service's documents.
const MaxLifetimes = 100

// Refresh has the service count the days of entities anew, and answers those
// that it did so for. It is a user's to ask, where the account has bought it;
// else the error is ErrForbidden.
func (c *Client) Refresh(ctx context.Context, ids []entity.UUID) (done []entity.UUID, err error) {
	if c.Username == "" {
		return nil, fmt.Errorf("the lifetime of files is a user's to change, and the credentials are no user's: %w", ErrForbidden)
	}
	body, err := json.Marshal(map[string]any{"lifetime": "refresh", "chatfile_ids": ids})
	if err != nil {
		return nil, err
	}
	err = c.do(ctx, call{up, priorityOf(ctx, Prefetch), func(ctx context.Context) (*http.Request, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodPut, c.address("users", c.Username, "chatfiles", "lifetime"), bytes.NewReader(body))
		if err == nil {
			req.Header.Set("Content-Type", "application/json")
			req.Header.Set("Accept", "application/json")
		}
		return req, err
	}, func(x *exchange) (err error) {
		done, err = parseRefresh(x)
		return err
	}})
	return done, err
}

func parseRefresh(x *exchange) (done []entity.UUID, err error) {
	var answer struct {
		Data map[entity.UUID]string `json:"data"`
	}
	if err := x.decode(&answer); err != nil {
		return nil, err
	}
	for u, result := range answer.Data {
		if result == "success" {
			done = append(done, u)
		}
	}
	return done, nil
}

// Gone tells whether a download's failure says that the service has forgotten
// the entity for good: not that the app, or the address, is another one.
func Gone(err error) bool {
	var e *Error
	return errors.Is(err, ErrExpired) || errors.Is(err, ErrNotFound) && errors.As(err, &e) && e.Code == "entity_not_found"
}
