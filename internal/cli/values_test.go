package cli

import (
	"testing"
	"time"

	"chatfs/internal/transfer"
)

func TestByteSize(t *testing.T) {
	for text, want := range map[string]int64{
		"0": 0, "1048576": 1 << 20, "10GiB": 10 << 30, "10 gib": 10 << 30, "500M": 500 << 20,
		"1.5k": 1536, "2MB": 2e6, "7b": 7, "9.5 MiB": 9961472,
	} {
		var b byteSize
		if err := b.Set(text); err != nil || int64(b) != want {
			t.Errorf("Set(%q) = %d, %v; want %d", text, b, err, want)
		}
	}
	for _, bad := range []string{"", "x", "-1", "1PiB", "10 GiB!", "1e40", "NaN", "InfG"} {
		var b byteSize
		if err := b.Set(bad); err == nil {
			t.Errorf("Set(%q) took it as %d", bad, b)
		}
	}
	for n, want := range map[int64]string{0: "0 B", 1023: "1023 B", 1024: "1 KiB", 9961472: "9.5 MiB", 10 << 30: "10 GiB"} {
		if got := formatSize(n); got != want {
			t.Errorf("formatSize(%d) = %q, want %q", n, got, want)
		}
	}
}

func TestFraction(t *testing.T) {
	for text, want := range map[string]fraction{"5%": 0.05, "0.05": 0.05, "0": 0, "99.5%": 0.995} {
		var f fraction
		if err := f.Set(text); err != nil || f != want {
			t.Errorf("Set(%q) = %v, %v; want %v", text, float64(f), err, float64(want))
		}
	}
	for _, bad := range []string{"", "5", "100%", "-1%", "NaN", "x%"} {
		var f fraction
		if err := f.Set(bad); err == nil {
			t.Errorf("Set(%q) took it", bad)
		}
	}
}

func TestOptionalID(t *testing.T) {
	id, mask := &optionalID{}, &optionalID{octal: true}
	if id.value != nil || id.String() != "" {
		t.Error("unset, it is set")
	}
	if err := id.Set("1000"); err != nil || *id.value != 1000 || id.String() != "1000" {
		t.Errorf("1000: %v, %v", id, err)
	}
	if err := mask.Set("022"); err != nil || *mask.value != 0o22 || mask.String() != "022" {
		t.Errorf("022: %v, %v", mask, err)
	}
	for _, bad := range []string{"", "-1", "root", "4294967295"} {
		if err := id.Set(bad); err == nil {
			t.Errorf("uid %q was taken", bad)
		}
	}
	for _, bad := range []string{"8", "1777", "rwx"} {
		if err := mask.Set(bad); err == nil {
			t.Errorf("umask %q was taken", bad)
		}
	}
}

func TestLocalOnly(t *testing.T) {
	local, err := localOnly([]string{"*.iso"})
	if err != nil {
		t.Fatal(err)
	}
	forever := transfer.Forever
	for name, want := range map[string]time.Duration{
		".~lock.letter.odt#": forever, "~$letter.docx": forever, ".notes.txt.swp": forever, ".x.swx": forever, "4913": forever,
		"notes.txt~": forever, ".goutputstream-AB12CD": forever, ".DS_Store": forever, "._photo.jpg": forever, "Thumbs.db": forever,
		"film.part": forever, "film.crdownload": forever, ".photo.jpg.Xa81bQ": time.Hour, ".bashrc.241125": time.Hour, "photo.jpg.trashinfo": forever, "debian.iso": forever,
		"photo.jpg": 0, ".app.config": 0, ".config.backup": 0, ".bashrc.old": 0, ".bashrc": 0, "letter.odt": 0, "49130": 0,
		"part": 0, "a.b.Xa81bQ": 0, ".gitignore": 0, "photo.jpg.thumb": 0,
	} {
		if got := local(name); got != want {
			t.Errorf("local(%q) = %v", name, got)
		}
	}
	if _, err := localOnly([]string{"[a"}); exitCode(err) != exitUsage {
		t.Errorf("a bad pattern: %v", err)
	}
}

func TestProfileOf(t *testing.T) {
	for base, want := range map[string]string{
		"": "default", "https://a1.example.com/org/app": "org-app", "https://a41.example.com/org/app/": "org-app",
		"http://127.0.0.1:4711/demo/chatfs": "demo-chatfs", "https://h/o/a%20b": "o-a_b", "https://h": "default",
	} {
		if got := profileOf(base); got != want {
			t.Errorf("profileOf(%q) = %q, want %q", base, got, want)
		}
	}
}

func TestPickCredentials(t *testing.T) {
	env := layer{"the environment", map[string]any{"password": "p"}}
	file := layer{"a file", map[string]any{"username": "u", "client-id": "c", "client-secret": "s"}}
	c, err := pickCredentials([]layer{env, file})
	if err != nil || c.kind != "user" || c.username != "u" || c.password.Reveal() != "p" {
		t.Errorf("the environment's password belongs to the file's user: %v, %v", c, err)
	}
	c, err = pickCredentials([]layer{file})
	if err != nil || c.kind != "client" || c.clientID != "c" {
		t.Errorf("in one layer the client goes first: %v, %v", c, err)
	}
	if _, err = pickCredentials([]layer{env}); exitCode(err) != exitUsage {
		t.Errorf("half of the credentials: %v", err)
	}
	if c, err = pickCredentials(nil); err != nil || c.kind != "" {
		t.Errorf("none: %v, %v", c, err)
	}
}
