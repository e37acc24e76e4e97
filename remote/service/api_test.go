package service_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"mime/multipart"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sirupsen/logrus"

	"chatfs/internal/fusetest"
	"chatfs/remote/service"
)

// A served is a service with its app's token.
type served struct {
	*service.Service
	t     *testing.T
	token string
	http  *http.Client
}

func serve(t *testing.T, change ...func(*service.Config)) *served {
	t.Helper()
	fusetest.Guard(t)
	s := startIn(t, filepath.Join(t.TempDir(), "data"), change...)
	t.Cleanup(func() { s.stop() })
	return s
}

func startIn(t *testing.T, dir string, change ...func(*service.Config)) *served {
	t.Helper()
	log := logrus.New()
	log.SetOutput(io.Discard)
	c := service.Config{Dir: dir, Org: "org", App: "app", Log: log.WithField("", "")}
	for _, f := range change {
		f(&c)
	}
	s, err := service.Start(c)
	must(t, err)
	x := &served{Service: s, t: t, http: &http.Client{Transport: &http.Transport{}}}
	if c.Faults == nil {
		x.token = x.appToken()
	}
	return x
}

func (s *served) stop() {
	s.http.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(context.Background(), fusetest.Patience)
	defer cancel()
	must(s.t, s.Shutdown(ctx))
}

func (s *served) appToken() string {
	id, secret := s.Credentials()
	return s.askToken(`{"grant_type":"client_credentials","client_id":"` + id + `","client_secret":"` + secret.Reveal() + `"}`)
}

func (s *served) askToken(body string) string {
	s.t.Helper()
	var answer struct {
		Token string `json:"access_token"`
	}
	s.want(200, s.do("POST", "/token", body), &answer)
	return answer.Token
}

// user registers a user and gives its token.
func (s *served) user(name string) string {
	s.t.Helper()
	s.want(200, s.do("POST", "/users", `{"username":"`+name+`","password":"pw"}`), nil)
	return s.askToken(`{"grant_type":"password","username":"` + name + `","password":"pw"}`)
}

// do sends a request with the app's token, and headers as NAME, VALUE pairs.
func (s *served) do(method, path, body string, header ...string) *http.Response {
	s.t.Helper()
	if !strings.HasPrefix(path, "http") {
		path = s.Base() + path
	}
	req, err := http.NewRequest(method, path, strings.NewReader(body))
	must(s.t, err)
	req.Header.Set("Authorization", "Bearer "+s.token)
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := s.http.Do(req)
	must(s.t, err)
	return resp
}

// want reads an answer of a status, into v unless it is nil.
func (s *served) want(status int, resp *http.Response, v any) []byte {
	s.t.Helper()
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	must(s.t, err)
	if resp.StatusCode != status {
		s.t.Errorf("%s %s: %s, want %d: %.300s", resp.Request.Method, resp.Request.URL.Path, resp.Status, status, b)
	}
	if v != nil {
		if err := json.Unmarshal(b, v); err != nil {
			s.t.Errorf("%.300s: %v", b, err)
		}
	}
	return b
}

// wantError reads an envelope.
func (s *served) wantError(status int, code string, resp *http.Response) {
	s.t.Helper()
	var e struct {
		Error       string
		Description string `json:"error_description"`
		Timestamp   int64
		Duration    *int64
	}
	s.want(status, resp, &e)
	if e.Error != code || e.Description == "" || e.Timestamp == 0 || e.Duration == nil {
		s.t.Errorf("%+v, want %s", e, code)
	}
}

// An entity is what an upload answers.
type entity struct {
	UUID   string  `json:"uuid"`
	Type   string  `json:"type"`
	Secret *string `json:"share-secret"`
}

func (e entity) secret() string {
	if e.Secret == nil {
		return ""
	}
	return *e.Secret
}

// form is a multipart body of parts as NAME, FILENAME, CONTENT; a field has no
// filename.
func form(parts ...string) (body, contentType string) {
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for i := 0; i < len(parts); i += 3 {
		var p io.Writer
		if parts[i+1] == "" {
			p, _ = w.CreateFormField(parts[i])
		} else {
			p, _ = w.CreateFormFile(parts[i], parts[i+1])
		}
		io.WriteString(p, parts[i+2])
	}
	w.Close()
	return b.String(), w.FormDataContentType()
}

// put uploads a content, restricted, with more headers.
func (s *served) put(name, content string, header ...string) entity {
	s.t.Helper()
	body, kind := form("file", name, content)
	return s.entityOf(s.do("POST", "/chatfiles", body, append([]string{"Content-Type", kind, "restrict-access", "true"}, header...)...))
}

func (s *served) entityOf(resp *http.Response) entity {
	s.t.Helper()
	var answer struct{ Entities []entity }
	s.want(200, resp, &answer)
	if len(answer.Entities) != 1 {
		s.t.Fatalf("%d entities", len(answer.Entities))
	}
	return answer.Entities[0]
}

func (s *served) get(e entity, header ...string) string {
	s.t.Helper()
	return string(s.want(200, s.do("GET", "/chatfiles/"+e.UUID, "", append(header, "share-secret", e.secret())...), nil))
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
