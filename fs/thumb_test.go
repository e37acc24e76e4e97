package fs_test

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"chatfs/internal/fusetest"
)

func picture(t testing.TB, w, h int) []byte {
	t.Helper()
	img := image.NewRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			img.Set(x, y, color.RGBA{uint8(x * y), uint8(x ^ y), uint8(x * 7), 255})
		}
	}
	var b bytes.Buffer
	must(t, jpeg.Encode(&b, img, nil))
	return b.Bytes()
}

func TestThumbnailStandsBesideItsPicture(t *testing.T) {
	f := newFixture(t)
	f.write("photo.jpg", picture(t, 400, 300))
	f.write("text.jpg", []byte("no picture at all"))
	if got := entries(t, f.Dir); got != "[photo.jpg text.jpg]" {
		t.Logf("before the upload: %s", got)
	}
	f.drain()
	waitListed(t, f.Dir, "[photo.jpg photo.jpg.thumb text.jpg]")
	info, err := os.Stat(f.path("photo.jpg.thumb"))
	must(t, err)
	b, err := os.ReadFile(f.path("photo.jpg.thumb"))
	must(t, err)
	if info.Size() != int64(len(b)) || info.Mode() != 0o644 {
		t.Errorf("stat says %d bytes %v, read gave %d", info.Size(), info.Mode(), len(b))
	}
	c, _, err := image.DecodeConfig(bytes.NewReader(b))
	must(t, err)
	if c.Width != 170 || c.Height > 170 {
		t.Errorf("the thumbnail is %dx%d", c.Width, c.Height)
	}
	_, err = os.Stat(f.path("text.jpg.thumb"))
	wantErrno(t, "thumbnail of no image", err, syscall.ENOENT)
}

func waitListed(t testing.TB, dir, want string) {
	t.Helper()
	for end := time.Now().Add(fusetest.Patience); ; time.Sleep(time.Millisecond) {
		got := entries(t, dir)
		if got == want {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s lists %s, want %s", dir, got, want)
		}
	}
}

func TestRemovingBothIsSilentInEitherOrder(t *testing.T) {
	f := newFixture(t)
	for _, order := range [][]string{{"p.jpg", "p.jpg.thumb"}, {"p.jpg.thumb", "p.jpg"}} {
		must(t, os.Mkdir(f.path("d"), 0o755))
		f.write("d/p.jpg", picture(t, 300, 300))
		f.drain()
		waitListed(t, f.path("d"), "[p.jpg p.jpg.thumb]")
		for _, name := range order {
			must(t, os.Remove(f.path("d", name)))
		}
		must(t, os.Remove(f.path("d")))
	}
}

func TestHiddenThumbnailReturnsWithAChange(t *testing.T) {
	f := newFixture(t)
	f.write("p.jpg", picture(t, 300, 300))
	f.drain()
	waitListed(t, f.Dir, "[p.jpg p.jpg.thumb]")
	must(t, os.Remove(f.path("p.jpg.thumb")))
	f.remount()
	if got := entries(t, f.Dir); got != "[p.jpg]" {
		t.Errorf("listed: %s", got)
	}
	f.write("p.jpg", picture(t, 200, 300))
	f.drain()
	waitListed(t, f.Dir, "[p.jpg p.jpg.thumb]")
}

func TestRealFileShadowsThumbnail(t *testing.T) {
	f := newFixture(t)
	f.write("p.jpg", picture(t, 300, 300))
	f.drain()
	waitListed(t, f.Dir, "[p.jpg p.jpg.thumb]")
	must(t, os.Remove(f.path("p.jpg.thumb")))
	f.write("p.jpg.thumb", []byte("my own"))
	f.drain()
	f.wantContent("p.jpg.thumb", []byte("my own"))
	f.remount()
	f.wantContent("p.jpg.thumb", []byte("my own"))
	if got := entries(t, f.Dir); got != "[p.jpg p.jpg.thumb]" {
		t.Errorf("listed: %s", got)
	}
}

func TestWritingMakesAFileOfAThumbnail(t *testing.T) {
	f := newFixture(t)
	for _, name := range []string{"p.jpg", "q.jpg", "r.jpg"} {
		f.write(name, picture(t, 300, 300))
	}
	must(t, os.Link(f.path("r.jpg"), f.path("s.jpg")))
	f.drain()
	waitListed(t, f.Dir, "[p.jpg p.jpg.thumb q.jpg q.jpg.thumb r.jpg r.jpg.thumb s.jpg s.jpg.thumb]")
	thumb, err := os.ReadFile(f.path("p.jpg.thumb"))
	must(t, err)

	appended, err := os.OpenFile(f.path("p.jpg.thumb"), os.O_WRONLY|os.O_APPEND, 0)
	must(t, err)
	_, err = appended.Write([]byte("more"))
	must(t, errors.Join(err, appended.Close()))
	f.wantContent("p.jpg.thumb", append(thumb, "more"...))

	must(t, os.Truncate(f.path("q.jpg.thumb"), 10))
	f.wantContent("q.jpg.thumb", thumb[:10])

	f.write("r.jpg.thumb", []byte("new"))
	f.wantContent("s.jpg.thumb", []byte("new")) // it was one file under both names
	f.drain()
	f.remount()
	f.wantContent("p.jpg.thumb", append(thumb, "more"...))
	f.wantContent("s.jpg.thumb", []byte("new"))
	if got := f.xattr("p.jpg.thumb", "state"); got != "uploaded" {
		t.Errorf("its state is %q", got)
	}
}

// A tombstone, where a thumbnail was a moment ago, is read as that was, and takes
// no bytes for itself.
func TestWritingWhereAThumbnailWas(t *testing.T) {
	f := newFixture(t)
	f.write("p.jpg", picture(t, 300, 300))
	f.drain()
	waitListed(t, f.Dir, "[p.jpg p.jpg.thumb]")
	thumb, err := os.ReadFile(f.path("p.jpg.thumb"))
	must(t, err)
	must(t, os.Remove(f.path("p.jpg")))
	f.wantContent("p.jpg.thumb", thumb)
	f.write("p.jpg.thumb", []byte("kept"))
	f.wantContent("p.jpg.thumb", []byte("kept"))
	f.remount()
	f.wantContent("p.jpg.thumb", []byte("kept"))
}

// The kernel keeps listings; one that it reads while a thumbnail comes is
// not kept without it.
func TestListingReadMeanwhileIsNotKept(t *testing.T) {
	f := newFixture(t)
	for round := range 10 {
		dir := fmt.Sprint("d", round)
		must(t, os.Mkdir(f.path(dir), 0o755))
		want := ""
		for i := range 8 {
			name := fmt.Sprintf("%d.jpg", i)
			f.write(filepath.Join(dir, name), picture(t, 20, 20+10*round+i))
			want += fmt.Sprintf(" %s %s.thumb", name, name)
		}
		waitListed(t, f.path(dir), "["+want[1:]+"]")
	}
}
