package fs_test

import (
	"os"
	"testing"

	"chatfs/fs"
	"chatfs/internal/fusetest"
	"chatfs/internal/transfer"
)

// TestShareSecretIsTheOwnersAlone has a file's owner, root and others ask for
// the share-secret of a file that all may read.
func TestShareSecretIsTheOwnersAlone(t *testing.T) {
	fusetest.NeedsRoot(t, "act as two other users")
	f := newFixture(t, func(c *fs.Config, _ *transfer.Config) { c.AllowOther = true })
	f.openTo(t)
	must(t, os.Chmod(f.Dir, 0o777))
	a := startActor(t)
	defer a.stop()
	if got := a.one(f.Dir, ann+"content f shared"); got != "" {
		t.Fatal(got)
	}
	f.drain()
	secret := f.entityOf("f").Secret.Reveal()
	for who, want := range map[string]string{ann: secret, "": secret, bob: "EACCES", "as 65533:65534 ": "EACCES"} {
		if got := a.one(f.Dir, who+"getxattr f user.chatfs.share-secret"); got != want {
			t.Errorf("%q is answered %d characters, want %d", who, len(got), len(want)) // a secret stands in no output
		}
		if got := a.one(f.Dir, who+"read f"); got != "shared" {
			t.Errorf("%q reads %q", who, got)
		}
	}
}
