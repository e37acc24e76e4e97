package e2e

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// mayImport is the shape of the house: which of our packages each may reach,
// directly or not. Arrows run down only.
var mayImport = map[string][]string{
	"chatfs/internal/entity":   {},
	"chatfs/internal/picture":  {},
	"chatfs/internal/blob":     {"chatfs/internal/entity"},
	"chatfs/index":             {"chatfs/internal/entity"},
	"chatfs/remote":            {"chatfs/internal/entity"},
	"chatfs/remote/service":    {"chatfs/internal/entity", "chatfs/internal/picture"},
	"chatfs/internal/transfer": {"chatfs/index", "chatfs/internal/blob", "chatfs/internal/picture", "chatfs/remote", "chatfs/internal/entity"},
	"chatfs/fs":                {"chatfs/internal/transfer", "chatfs/internal/blob", "chatfs/internal/picture", "chatfs/index", "chatfs/remote", "chatfs/internal/entity"},
	"chatfs/internal/control":  {},
}

func TestArrowsRunDownOnly(t *testing.T) {
	for pkg, allowed := range mayImport {
		for _, dep := range deps(t, pkg) {
			if dep != pkg && strings.HasPrefix(dep, "chatfs") && !slices.Contains(allowed, dep) {
				t.Errorf("%s reaches %s", pkg, dep)
			}
		}
	}
}

// fs speaks no HTTP and alone speaks FUSE: what it imports itself is held
// more narrowly than what it reaches.
func TestOnlyFSImportsFUSE(t *testing.T) {
	out, err := exec.Command("go", "list", "-f", `{{.ImportPath}}: {{join .Imports " "}}`, "chatfs/...").Output()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(out)) {
		pkg, imports, _ := strings.Cut(strings.TrimSpace(line), ": ")
		for _, i := range strings.Fields(imports) {
			if strings.HasPrefix(i, "github.com/hanwen/go-fuse") && pkg != "chatfs/fs" && pkg != "chatfs/bench" {
				t.Errorf("%s imports %s", pkg, i)
			}
			if pkg == "chatfs/fs" && (i == "chatfs/remote" || i == "net/http") {
				t.Errorf("%s imports %s", pkg, i)
			}
		}
	}
}

func deps(t *testing.T, pkg string) []string {
	t.Helper()
	out, err := exec.Command("go", "list", "-deps", pkg).Output()
	if err != nil {
		t.Fatalf("go list -deps %s: %v", pkg, err)
	}
	return strings.Fields(string(out))
}
