package index

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"chatfs/internal/entity"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	regular   = syscall.S_IFREG | 0o644
	directory = syscall.S_IFDIR | 0o755
)

// byHand commits only when a test says so.
var byHand = Options{CommitInterval: time.Hour}

func open(t testing.TB, dir string, o Options) *Index {
	t.Helper()
	ix, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ix.Close() }) // a test that closes it itself looks at the error
	return ix
}

func must[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func noError(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func mkdir(t testing.TB, ix *Index, parent Ino, name string) Inode {
	t.Helper()
	return must[Inode](t)(ix.Create(parent, name, NewInode{Mode: directory}))
}

func touch(t testing.TB, ix *Index, parent Ino, name string) Inode {
	t.Helper()
	return must[Inode](t)(ix.Create(parent, name, NewInode{Mode: regular}))
}

func newEntity(t testing.TB, digest byte) entity.Entity {
	t.Helper()
	u := must[entity.UUID](t)(entity.NewUUID())
	return entity.Entity{UUID: u, Secret: entity.NewSecret("s-" + u.String()), Size: 7, Digest: entity.Digest{digest}}
}

// copyDir is what another process finds after kill -9 at this moment.
func copyDir(t testing.TB, dir string) string {
	t.Helper()
	to, err := os.MkdirTemp(filepath.Dir(dir), "copy")
	noError(t, err)
	for _, e := range must[[]os.DirEntry](t)(os.ReadDir(dir)) {
		b := must[[]byte](t)(os.ReadFile(filepath.Join(dir, e.Name())))
		noError(t, os.WriteFile(filepath.Join(to, e.Name()), b, 0o600))
	}
	return to
}

// lastSegment is the journal's newest file.
func lastSegment(t testing.TB, dir string) string {
	t.Helper()
	paths := must[[]string](t)(listSegments(dir))
	return paths[len(paths)-1]
}

func clean(t testing.TB, ix *Index) {
	t.Helper()
	for _, p := range ix.Check() {
		t.Errorf("check: %v", p)
	}
}

// tree lists all paths below Root.
func tree(t testing.TB, ix *Index) string {
	t.Helper()
	var b strings.Builder
	var walk func(Ino, string)
	walk = func(dir Ino, path string) {
		for _, d := range must[[]Dirent](t)(ix.ReadDir(dir, "", 0)) {
			b.WriteString(path + d.Name + " ")
			if d.Inode.IsDir() {
				walk(d.Inode.Ino, path+d.Name+"/")
			}
		}
	}
	walk(Root, "")
	return strings.TrimSpace(b.String())
}
