package remote_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/sirupsen/logrus"

	"chatfs/remote"
)

// TestEachTransferIsOneLine of the debugging log, without a secret.
func TestEachTransferIsOneLine(t *testing.T) {
	var said bytes.Buffer
	log := logrus.New()
	log.SetOutput(&said)
	log.SetLevel(logrus.DebugLevel)
	s := scripted(t)
	c := newClient(t, s.URL, func(c *remote.Config) { c.Log = log.WithField("", "") })
	must(t, put(c))
	must(t, get(c))
	text := said.String()
	for _, want := range []string{"POST", "/org/app/chatfiles", "GET", someFile.String(), "200, 0 bytes up, 21 down"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in:\n%s", want, text)
		}
	}
	for _, secret := range []string{theToken, theSecret, theKey} {
		if strings.Contains(text, secret) {
			t.Error("a secret is in the log")
		}
	}
	if n := strings.Count(text, "\n"); n != 3 {
		t.Errorf("%d lines for a token, an upload and a download", n)
	}
}

// TestUploadBearsItsType: the file's part has the content's own type, small or
// large, and the content is whole behind it.
func TestUploadBearsItsType(t *testing.T) {
	for want, begin := range map[string]string{"image/png": "\x89PNG\r\n\x1a\n", "application/pdf": "%PDF-1.7\n", "text/plain": "hello ", "text/plain; charset=utf-8": ""} {
		for _, size := range []int{len(begin), 4 << 10, 1 << 20} {
			content := begin + strings.Repeat("x", size-len(begin))
			var kind string
			var got []byte
			s := scripted(t)
			s.file = func(n int, w http.ResponseWriter, r *http.Request) {
				if reader, err := r.MultipartReader(); err == nil {
					if part, err := reader.NextPart(); err == nil {
						kind = part.Header.Get("Content-Type")
						got, _ = io.ReadAll(part)
					}
				}
				fileAnswer(w, r)
			}
			_, err := newClient(t, s.URL).Upload(context.Background(), remote.UploadRequest{Name: "a", Size: int64(len(content)),
				Open: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(content)), nil }})
			if err != nil || !strings.HasPrefix(kind, strings.Split(want, ";")[0]) || !bytes.Equal(got, []byte(content)) {
				t.Errorf("%d bytes of %s: sent as %q, %d bytes came: %v", size, want, kind, len(got), err)
			}
		}
	}
}
