package remote_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/jpeg"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"chatfs/internal/entity"
	"chatfs/internal/fusetest"
	"chatfs/remote"
	"chatfs/remote/service"
)

// TestSuite is what the client needs of a service. It runs on the embedded
// one, and, where CHATFS_TEST_REMOTE is an address https://HOST/ORG/APP, on
// that account instead, with the credentials of CHATFS_TOKEN, or of
// CHATFS_CLIENT_ID and CHATFS_CLIENT_SECRET, or of CHATFS_USERNAME and
// CHATFS_PASSWORD. It uploads less than 2 MB, which expires there.
func TestSuite(t *testing.T) {
	fusetest.Guard(t)
	c := suiteConfig(t)
	client, err := remote.New(c)
	must(t, err)
	defer client.Close()
	s := &suite{client}
	for _, x := range []struct {
		name string
		test func(*testing.T)
	}{
		{"credentials", func(t *testing.T) { must(t, client.Login(context.Background())) }},
		{"wrong credentials", func(t *testing.T) { wrongCredentials(t, c) }},
		{"a restricted file", s.restricted}, {"an open file", s.open}, {"sizes and names", s.sizes},
		{"a thumbnail", s.thumbnail}, {"an unknown file", s.unknown},
	} {
		t.Run(x.name, x.test)
	}
}

func suiteConfig(t *testing.T) remote.Config {
	if base := os.Getenv("CHATFS_TEST_REMOTE"); base != "" {
		return remote.Config{Base: base, Token: secretOf("CHATFS_TOKEN"), ClientID: os.Getenv("CHATFS_CLIENT_ID"), ClientSecret: secretOf("CHATFS_CLIENT_SECRET"),
			Username: os.Getenv("CHATFS_USERNAME"), Password: secretOf("CHATFS_PASSWORD"), MaxRPS: 2}
	}
	log := logrus.New()
	log.SetOutput(io.Discard)
	served, err := service.Start(service.Config{Dir: filepath.Join(t.TempDir(), "data"), Org: "org", App: "app", Log: log.WithField("", "")})
	must(t, err)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), fusetest.Patience)
		defer cancel()
		must(t, served.Shutdown(ctx))
	})
	id, secret := served.Credentials()
	return remote.Config{Base: served.Base(), ClientID: id, ClientSecret: secret}
}

func secretOf(variable string) entity.Secret { return entity.NewSecret(os.Getenv(variable)) }

func wrongCredentials(t *testing.T, c remote.Config) {
	for _, bad := range []remote.Config{
		{Base: c.Base, Token: entity.NewSecret("YWMtnone")},
		{Base: c.Base, ClientID: "none", ClientSecret: entity.NewSecret("none")},
		{Base: c.Base, Username: "none", Password: entity.NewSecret("none")},
	} {
		client, err := remote.New(bad)
		must(t, err)
		defer client.Close()
		err = client.Login(context.Background())
		if !errors.Is(err, remote.ErrUnauthorized) && !errors.Is(err, remote.ErrNotFound) || remote.Temporary(err) {
			t.Errorf("got %v", err)
		}
	}
}

type suite struct{ *remote.Client }

func (s *suite) put(t *testing.T, name, content string, restricted bool) entity.Entity {
	t.Helper()
	u := request(content)
	u.Name, u.Restricted = name, restricted
	e, err := s.Upload(context.Background(), u)
	must(t, err)
	if at := e.UUID.Time(); time.Since(at).Abs() > 10*time.Minute {
		t.Errorf("its uuid is of %s", at)
	}
	return e
}

func (s *suite) get(u entity.UUID, secret entity.Secret, thumb bool) (string, error) {
	body, err := s.Download(context.Background(), u, secret, thumb)
	if err != nil {
		return "", err
	}
	defer body.Close()
	b, err := io.ReadAll(body)
	return string(b), err
}

func (s *suite) restricted(t *testing.T) {
	e := s.put(t, "a.txt", "restricted", true)
	if !e.Restricted() {
		t.Fatal("it has no share-secret")
	}
	if got, err := s.get(e.UUID, e.Secret, false); got != "restricted" {
		t.Errorf("%q, %v", got, err)
	}
	for _, secret := range []entity.Secret{{}, entity.NewSecret("wrong")} {
		if got, err := s.get(e.UUID, secret, false); err == nil || remote.Temporary(err) {
			t.Errorf("without its secret: %q, %v", got, err)
		}
	}
}

func (s *suite) open(t *testing.T) {
	e := s.put(t, "a.txt", "open", false)
	if got, err := s.get(e.UUID, entity.Secret{}, false); got != "open" || e.Restricted() {
		t.Errorf("%q, %v", got, err)
	}
}

func (s *suite) sizes(t *testing.T) {
	r := rand.NewChaCha8([32]byte{1})
	for i, name := range []string{"a", "тест 🎉.bin", "a\"b;c.bin", "a\nb", strings.Repeat("n", 255), ".hidden", "50%.bin"} {
		b := make([]byte, []int{1, 1000, 10 << 10, 64 << 10, 65537, 32 << 10, 1 << 20}[i])
		r.Read(b)
		e := s.put(t, name, string(b), true)
		if got, err := s.get(e.UUID, e.Secret, false); got != string(b) {
			t.Errorf("%q: %d bytes of %d, %v", name, len(got), len(b), err)
		}
	}
}

func (s *suite) thumbnail(t *testing.T) {
	img := image.NewGray(image.Rect(0, 0, 400, 200))
	rand.NewChaCha8([32]byte{2}).Read(img.Pix)
	var photo bytes.Buffer
	must(t, jpeg.Encode(&photo, img, nil))
	e := s.put(t, "a.jpg", photo.String(), true)
	got, err := s.get(e.UUID, e.Secret, true)
	must(t, err)
	small, _, err := image.DecodeConfig(strings.NewReader(got))
	if err != nil || max(small.Width, small.Height) != 170 {
		t.Errorf("%d bytes: %+v, %v", len(got), small, err)
	}
}

func (s *suite) unknown(t *testing.T) {
	u, err := entity.NewUUID()
	must(t, err)
	if _, err := s.get(u, entity.Secret{}, false); !errors.Is(err, remote.ErrNotFound) {
		t.Error(fmt.Errorf("got %w", err))
	}
}
