package fs

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"chatfs/internal/transfer"
)

// kindNames are the words of docs/semantics.md for the rows of errnoOf.
var kindNames = []string{"interrupted", "timeout", "too large", "expired", "not found", "plan limit",
	"forbidden", "unauthorized", "throttled", "unavailable", "malformed"}

func TestErrnoTableIsDocumented(t *testing.T) {
	doc, err := os.ReadFile("../docs/semantics.md")
	if err != nil {
		t.Fatal(err)
	}
	var documented []string
	for _, m := range regexp.MustCompile(`(?m)^\| ([a-z ]+) \| (E[A-Z]+) \|`).FindAllStringSubmatch(string(doc), -1) {
		documented = append(documented, m[1]+" "+m[2])
	}
	var coded []string
	for i, row := range errnoOf {
		coded = append(coded, kindNames[i]+" "+unix.ErrnoName(row.errno))
		if got := toErrno(fmt.Errorf("wrapped: %w", row.kind)); got != row.errno {
			t.Errorf("%s: %v, want %v", kindNames[i], got, row.errno)
		}
	}
	if got, want := strings.Join(documented, "\n"), strings.Join(coded, "\n"); got != want {
		t.Errorf("documented:\n%s\nin the code:\n%s", got, want)
	}
}

func TestErrnoInTheChainIsItself(t *testing.T) {
	for _, e := range []unix.Errno{unix.ENOSPC, unix.EIO, unix.ENOTEMPTY} {
		if got := toErrno(fmt.Errorf("a: %w", fmt.Errorf("b: %w", e))); got != e {
			t.Errorf("%v, want %v", got, e)
		}
	}
	if got := toErrno(fmt.Errorf("%w: %w", transfer.ErrExpired, unix.EIO)); got != unix.ESTALE {
		t.Errorf("%v, want ESTALE", got)
	}
}
