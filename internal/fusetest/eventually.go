package fusetest

import (
	"testing"
	"time"
)

// Eventually tries again until try succeeds, and fails the test with its
// last error once Patience ends. For conditions that no channel tells of.
func Eventually(t testing.TB, what string, try func() error) {
	t.Helper()
	for end := time.Now().Add(Patience); ; time.Sleep(5 * time.Millisecond) {
		err := try()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s: %v", what, err)
		}
	}
}
