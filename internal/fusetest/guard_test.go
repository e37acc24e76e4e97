package fusetest

import (
	"os"
	"testing"
)

// recorder is a TB that keeps cleanups and failures to itself.
type recorder struct {
	testing.TB
	cleanups []func()
	failed   bool
}

func (r *recorder) Helper()               {}
func (r *recorder) Failed() bool          { return r.failed }
func (r *recorder) Cleanup(f func())      { r.cleanups = append(r.cleanups, f) }
func (r *recorder) Errorf(string, ...any) { r.failed = true }
func (r *recorder) finish() {
	for _, f := range r.cleanups {
		f()
	}
}

func TestGuardPassesWhatIsClean(t *testing.T) {
	r := &recorder{TB: t}
	Guard(r)
	if r.finish(); r.failed {
		t.Error("Guard failed a test that left nothing behind")
	}
}

func TestGuardSeesAnOpenFile(t *testing.T) {
	before := descriptors(t)
	f, err := os.Create(t.TempDir() + "/left")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var left int
	for k := range descriptors(t) {
		if !before[k] {
			left++
		}
	}
	if left != 1 {
		t.Errorf("saw %d new descriptors, want 1", left)
	}
}
