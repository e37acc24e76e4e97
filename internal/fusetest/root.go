package fusetest

import (
	"fmt"
	"os"
	"testing"
)

// NeedsRoot skips a test that only root can do, and says so in one line: what
// is the end of "only root can".
func NeedsRoot(t testing.TB, what string) {
	t.Helper()
	if os.Geteuid() != 0 {
		Skip(t, "only root can "+what)
	}
}

// Skip ends a test that this machine or this user does not let do, and says
// why in one line.
func Skip(t testing.TB, why string) {
	t.Helper()
	Untested(t, why)
	t.SkipNow()
}

// Untested says in one line what a test leaves out here, and why. The file
// that CHATFS_TEST_UNTESTED names gets the line too, as go test shows none of
// a package that passes.
func Untested(t testing.TB, why string) {
	t.Helper()
	t.Log("not tested: " + why)
	path := os.Getenv("CHATFS_TEST_UNTESTED")
	if path == "" {
		return
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := fmt.Fprintf(f, "%s: %s\n", t.Name(), why); err != nil {
		t.Fatal(err)
	}
}
