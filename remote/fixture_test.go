package remote_test

import (
	"context"
	"fmt"
	"io"
	stdlog "log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"chatfs/internal/entity"
	"chatfs/internal/fusetest"
	"chatfs/remote"
)

// Secrets of the tests, which no error may tell.
const (
	theToken  = "YWMt-token-0123456789"
	theSecret = "share-secret-0123456789"
	theKey    = "client-secret-0123456789"
)

var someFile = entity.UUID{0xaa, 0xbb, 15: 1}

// A script is a service that answers as a test says.
type script struct {
	*httptest.Server
	token, file func(n int, w http.ResponseWriter, r *http.Request) // n counts from 1; nil answers well
	tokens      atomic.Int32
	files       atomic.Int32
	over        chan struct{} // closed with the test, for what hangs
}

func scripted(t *testing.T) *script {
	t.Helper()
	s := unstarted(t)
	s.Start()
	return s
}

// guarded is the test that is guarded against leaks.
var guarded *testing.T

func unstarted(t *testing.T) *script {
	t.Helper()
	if guarded != t { // once a test: each look for goroutines takes its time
		guarded = t
		fusetest.Guard(t)
	}
	s := &script{over: make(chan struct{})}
	s.Server = httptest.NewUnstartedServer(s)
	t.Cleanup(func() { close(s.over); s.Close() })
	return s
}

// ServeHTTP answers well where the test does not say otherwise.
func (s *script) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	answer, n, well := s.file, s.files.Add, fileAnswer
	if strings.HasSuffix(r.URL.Path, "/token") {
		answer, n, well = s.token, s.tokens.Add, tokenAnswer
	}
	if i := n(1); answer != nil {
		answer(int(i), w, r)
	} else {
		well(w, r)
	}
}

func tokenAnswer(w http.ResponseWriter, _ *http.Request) {
	fmt.Fprintf(w, `{"access_token":%q,"expires_in":3600}`, theToken)
}

const theContent = "the content of a file"

func fileAnswer(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodGet {
		io.WriteString(w, theContent)
		return
	}
	io.Copy(io.Discard, r.Body)
	fmt.Fprintf(w, `{"entities":[{"uuid":%q,"type":"chatfile","share-secret":%q}]}`, someFile, theSecret)
}

// hang answers nothing until the client leaves, or the test ends.
func (s *script) hang(r *http.Request) {
	select {
	case <-r.Context().Done():
	case <-s.over:
	}
}

// fail answers an envelope.
func fail(w http.ResponseWriter, status int, code, text string) {
	w.WriteHeader(status)
	fmt.Fprintf(w, `{"error":%q,"error_description":%q,"timestamp":1,"duration":0}`, code, text)
}

// newClient makes a client that loses no time, and closes it with the test.
func newClient(t *testing.T, base string, change ...func(*remote.Config)) *remote.Client {
	t.Helper()
	log := logrus.New()
	log.SetOutput(io.Discard)
	c := remote.Config{Base: base + "/org/app", ClientID: "id", ClientSecret: entity.NewSecret(theKey), MaxRPS: -1,
		FirstPause: time.Millisecond, Log: log.WithField("", "")}
	for _, f := range change {
		f(&c)
	}
	client, err := remote.New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return client
}

func upload(c *remote.Client) (entity.Entity, error) { return uploadBytes(c, theContent) }

func uploadBytes(c *remote.Client, content string) (entity.Entity, error) {
	return c.Upload(context.Background(), request(content))
}

func request(content string) remote.UploadRequest {
	return remote.UploadRequest{Name: "a.txt", Size: int64(len(content)), Restricted: true,
		Open: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(content)), nil }}
}

// download reads an entity's whole content.
func download(ctx context.Context, c *remote.Client) (string, error) {
	body, err := c.Download(ctx, someFile, entity.NewSecret(theSecret), false)
	if err != nil {
		return "", err
	}
	defer body.Close()
	b, err := io.ReadAll(body)
	return string(b), err
}

func get(c *remote.Client) error {
	_, err := download(context.Background(), c)
	return err
}

func put(c *remote.Client) error {
	_, err := upload(c)
	return err
}

// quiet keeps what a test provokes out of its output.
func quiet() *stdlog.Logger { return stdlog.New(io.Discard, "", 0) }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
