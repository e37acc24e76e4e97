package control_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"chatfs/internal/control"
	"chatfs/internal/fusetest"
)

type coded struct{ error }

func (coded) ExitCode() int { return 9 }

// stateDir is one whose path does not fit a socket address.
func stateDir(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), strings.Repeat("long", 40))
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}

func listen(t *testing.T, dir string, h control.Handler) *control.Server {
	t.Helper()
	goleak.VerifyNone(t)
	s, err := control.Listen(dir, h)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { goleak.VerifyNone(t) })
	return s
}

func TestAnswerOfSeveralEvents(t *testing.T) {
	dir := stateDir(t)
	s := listen(t, dir, func(_ context.Context, r control.Request, send func(control.Event) error) error {
		if r.Op != control.OpSync || !r.Retry {
			t.Errorf("request %+v", r)
		}
		return errors.Join(send(control.Event{Line: "one"}), send(control.Event{Status: json.RawMessage(`{"a":1}`)}))
	})
	var got []control.Event
	err := control.Ask(t.Context(), dir, control.Request{Op: control.OpSync, Retry: true}, func(e control.Event) error {
		got = append(got, e)
		return nil
	})
	if err != nil || len(got) != 2 || got[0].Line != "one" || string(got[1].Status) != `{"a":1}` {
		t.Errorf("%+v, %v", got, err)
	}
	info, err := os.Stat(filepath.Join(dir, "control.sock"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the socket: %v, %v", info, err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(filepath.Join(dir, "control.sock")); !os.IsNotExist(err) {
		t.Errorf("the socket is left: %v", err)
	}
}

func TestErrorCarriesItsCode(t *testing.T) {
	dir := stateDir(t)
	s := listen(t, dir, func(context.Context, control.Request, func(control.Event) error) error {
		return coded{errors.New("some failed")}
	})
	defer s.Close()
	err := control.Ask(t.Context(), dir, control.Request{}, nil)
	var told *control.RemoteError
	if !errors.As(err, &told) || told.Code != 9 || told.Text != "some failed" {
		t.Errorf("%v", err)
	}
}

func TestNobody(t *testing.T) {
	dir := stateDir(t)
	for _, d := range []string{dir, dir + "/none"} {
		if err := control.Ask(t.Context(), d, control.Request{}, nil); !errors.Is(err, control.ErrNobody) || control.Answers(d) {
			t.Errorf("%s: %v", d, err)
		}
	}
	s := listen(t, dir, nil)
	if !control.Answers(dir) {
		t.Error("it does not answer")
	}
	s.Close()
	if control.Answers(dir) {
		t.Error("it answers after Close")
	}
}

func TestClientThatLeavesEndsItsRequest(t *testing.T) {
	dir := stateDir(t)
	began, ended := make(chan struct{}), make(chan struct{})
	s := listen(t, dir, func(ctx context.Context, _ control.Request, _ func(control.Event) error) error {
		close(began)
		<-ctx.Done()
		close(ended)
		return ctx.Err()
	})
	defer s.Close()
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-began; cancel() }()
	if err := control.Ask(ctx, dir, control.Request{}, nil); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	<-ended
}

func TestShutdownLetsRequestsEnd(t *testing.T) {
	dir := stateDir(t)
	began, finish := make(chan struct{}), make(chan struct{})
	s := listen(t, dir, func(context.Context, control.Request, func(control.Event) error) error {
		close(began)
		<-finish
		return nil
	})
	answer := make(chan error)
	go func() { answer <- control.Ask(context.Background(), dir, control.Request{}, nil) }()
	<-began
	close(finish)
	if err := s.Shutdown(fusetest.Patience); err != nil {
		t.Error(err)
	}
	if err := <-answer; err != nil {
		t.Errorf("the request was cut: %v", err)
	}
}

func TestCloseEndsRequests(t *testing.T) {
	dir := stateDir(t)
	began := make(chan struct{})
	s := listen(t, dir, func(ctx context.Context, _ control.Request, _ func(control.Event) error) error {
		close(began)
		<-ctx.Done()
		return ctx.Err()
	})
	answer := make(chan error)
	go func() { answer <- control.Ask(context.Background(), dir, control.Request{}, nil) }()
	<-began
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if err := <-answer; err == nil {
		t.Error("a request that was cut off succeeded")
	}
}
